"""`pdp log verify`: whether a decision log is what was written."""

from __future__ import annotations

import sys
import zlib
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pdp.bundle.layout import printable
from pdp.cli.failure import CommandError
from pdp.cli.terminal import answer, answer_json, counted, painted
from pdp.decision_log.reading import open_logs
from pdp.decision_log.signing_key import read_public_key
from pdp.decision_log.verifying import Finding, Verification, Writer

_FINDING_KEYS = ("kind", "message", "file", "line", "writer", "seq")
_WRITER_KEYS = (
    "id", "first_seq", "records", "lost", "refused", "gaps", "checkpoints", "vouched_seq", "vouched_time", "closed"
)  # fmt: skip


def run(arguments: Namespace) -> int:
    """Verify. Raises CommandError, or ConfigError for a key that is none."""
    keys = [read_public_key(Path(path)) for path in arguments.public_key]
    verification = Verification(keys, partial=arguments.partial)
    for file, number, line in log_lines(arguments.paths):
        verification.feed(file, number, line)
    findings = verification.finish()
    writers = list(verification.writers.values())
    if not writers and not findings:
        raise CommandError("there are no records")
    if arguments.json:
        answer_json(
            {
                "findings": [{name: getattr(each, name) for name in _FINDING_KEYS} for each in findings],
                "writers": [_form(writer) for writer in writers],
                "signatures_checked": bool(keys),
            }
        )
    else:
        for line_text in _text(findings, writers, signed=bool(keys)):
            answer(line_text)
    return 1 if findings else 0


def log_lines(paths: list[str]) -> Iterator[tuple[str, int, bytes]]:
    """Every line of these logs with its file and number; `-` is standard input. Raises CommandError."""
    try:
        with ExitStack() as stack:
            if "-" in paths:
                yield from (("-", number, line) for number, line in enumerate(sys.stdin.buffer, start=1))
            files = open_logs(Path(path) for path in paths if path != "-")
            for each in files:
                stack.callback(each.file.close)
            for each in files:
                yield from ((str(each.path), number, line) for number, line in each.lines())
    except (OSError, EOFError, zlib.error) as error:
        name = getattr(error, "filename", None)
        place = f"`{name}`" if name else "the log"
        cause = (getattr(error, "strerror", None) or str(error)).lower()
        raise CommandError(f"{place} cannot be read: {cause}") from error


def _form(writer: Writer) -> dict[str, Any]:
    form = {name: getattr(writer, name) for name in _WRITER_KEYS}
    return {**form, "last_seq": writer.head.seq, "not_yet_vouched_for": writer.not_vouched}


def _text(findings: Iterable[Finding], writers: Iterable[Writer], *, signed: bool) -> Iterator[str]:
    wrong = 0
    for each in findings:
        wrong += 1
        place = f"{printable(each.file)}:{each.line}: " if each.line else ""
        record = f"record {each.seq} of writer {each.writer}" if each.seq else f"writer {each.writer}"
        who = f"{record}: " if each.writer else ""
        yield f"{place}{painted(each.kind.replace('_', ' '), 'red')}: {who}{printable(each.message)}"
    for writer in writers:
        yield f"writer {writer.id}: {counted(writer.records, 'record')}, {writer.first_seq} to {writer.head.seq}"
        if writer.gaps:
            times = counted(writer.gaps, "time")
            yield f"  {counted(writer.lost, 'record')} could not be written, {times}, as the log itself says"
        if writer.refused:
            yield f"  {counted(writer.refused, 'record')} refused by the sink, with a line that says so in each place"
        yield f"  {_vouched(writer, signed=signed)}"
    if not signed:
        yield "signatures were not checked: give `--public-key`"
    yield painted(counted(wrong, "finding"), "red") if wrong else painted("nothing is wrong", "green")


def _vouched(writer: Writer, *, signed: bool) -> str:
    if not signed:
        return f"{counted(writer.checkpoints, 'checkpoint')}; whoever could write the files could make them all anew"
    if not writer.vouched_time:
        return "no signed checkpoint"
    last = f"the last signed checkpoint is of {printable(writer.vouched_time)}"
    if writer.closed:
        return f"{last}, made when the writer stopped; records of a later start would be missed by nothing here"
    rest = f"{counted(writer.not_vouched, 'record')} after it not yet vouched for"
    return f"{last}; {rest}; what was cut off after it would not be missed"
