"""`pdp log query`: find records of a decision log."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pdp.bundle.layout import printable
from pdp.cli.failure import CommandError
from pdp.cli.log_verify import log_lines
from pdp.cli.terminal import answer, flush_answer, painted, tell
from pdp.decision_log.chain import stated

Record = Mapping[str, Any]
_FOLLOW_SECONDS = 0.2
_MARKS = ("checkpoint",)


def run(arguments: Namespace) -> int:
    """Print what matches. 0 if anything did, 1 if nothing. Raises CommandError."""
    found = False
    matches = _matcher(arguments)
    lines = (line for _, _, line in log_lines(arguments.paths))
    for line in and_new_ones(lines, arguments):
        record = record_of(line)
        if record is None:
            tell("a line is no record; `pdp log verify` says which")
        elif matches(record):
            found = True
            answer(line.decode().rstrip("\n") if arguments.json else shown(record))
            if arguments.follow:
                flush_answer()
    return 0 if found else 1


def record_of(line: bytes) -> Record | None:
    """What a line of a log says, None where that is no record."""
    try:
        record = json.loads(line) if line.isascii() else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def and_new_ones(lines: Iterator[bytes], arguments: Namespace) -> Iterator[bytes]:
    """These lines, and where that is wanted those that come into the file later, each once. Raises CommandError."""
    if not arguments.follow:
        yield from lines
        return
    [name] = arguments.paths
    if name == "-":
        yield from lines
        return
    with contextlib.closing(Follower(Path(name))) as follower:
        # What came while the first lines were read is among them and is told once more.
        last: dict[str, int] = {}
        for line in lines:
            if (place := stated(line.rstrip(b"\n"))) is not None:
                last[place.writer] = max(place.seq, last.get(place.writer, 0))
            yield line
        for line in follower.lines():
            place = stated(line)
            if place is None or place.seq > last.get(place.writer, 0):
                yield line


class Follower:
    """The lines that come into a file from now on, also after it was put aside, or emptied, and begun anew.

    Raises CommandError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise CommandError(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}") from error
        self._file.seek(0, os.SEEK_END)
        self._rest = b""

    def lines(self) -> Iterator[bytes]:
        """As they come, for ever."""
        while True:
            lines = self.new_lines()
            yield from lines
            if not lines:
                time.sleep(_FOLLOW_SECONDS)

    def new_lines(self) -> list[bytes]:
        """What came since the last time."""
        gone = self._is_gone()  # asked first: what is read then is all that the old file will ever have
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            # It was copied and emptied.
            self._file.seek(0)
            self._rest = b""
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        if gone:
            # One that is gone again by now is looked for the next time.
            with contextlib.suppress(FileNotFoundError):
                new = self._path.open("rb")
                self._file.close()
                self._file, self._rest = new, b""
        return whole

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _is_gone(self) -> bool:
        try:
            named, mine = self._path.stat(), os.fstat(self._file.fileno())
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino)


def _matcher(arguments: Namespace) -> Callable[[Record], bool]:
    tests: list[Callable[[Record], bool]] = []
    if arguments.since is not None:
        tests.append(lambda record: str(record.get("time")) >= arguments.since)
    if arguments.until is not None:
        tests.append(lambda record: str(record.get("time")) < arguments.until)
    if arguments.kind is None:
        tests.append(lambda record: record.get("kind") not in _MARKS)
    for option, has in _HAS.items():
        wanted = getattr(arguments, option)
        if wanted is not None:
            tests.append(lambda record, has=has, wanted=wanted: has(record, wanted))  # type: ignore[misc]
    return lambda record: all(test(record) for test in tests)


_HAS: Mapping[str, Callable[[Record, str], bool]] = {
    "subject": lambda record, wanted: wanted in (_uid(record, "subject"), _uid(record, "on_behalf_of")),
    "tool": lambda record, wanted: fnmatch.fnmatchcase(_tool(record), wanted),
    "decision": lambda record, wanted: record.get("decision") == wanted.upper(),
    "code": lambda record, wanted: record.get("code") == wanted.upper(),
    "policy": lambda record, wanted: wanted in _policies(record),
    "caller": lambda record, wanted: record.get("caller") == wanted,
    "id": lambda record, wanted: wanted in _ids(record),
    "kind": lambda record, wanted: record.get("kind") == wanted,
}


def _uid(record: Record, key: str) -> str:
    uid = record.get(key)
    return f'{uid.get("type")}::"{uid.get("id")}"' if isinstance(uid, dict) else ""


def _tool(record: Record) -> str:
    action = record.get("action")
    return str(action.get("id", "")) if isinstance(action, dict) else ""


def _policies(record: Record) -> list[Any]:
    policies, errors = record.get("policies"), record.get("errors")
    found = list(policies) if isinstance(policies, list) else []
    told = errors if isinstance(errors, list) else []
    return found + [each.get("policy") for each in told if isinstance(each, dict)]


def _ids(record: Record) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in ("decision_id", "for_decision_id", "request_id", "session_id"))


def shown(record: Record) -> str:
    """A record on one line for people: time, decision, subject, tool, code, policies."""
    if record.get("kind") == "gap":
        lost = f"{record.get('lost')} records lost since {record.get('since')}"
        return f"{printable(str(record.get('time')))} {painted('GAP', 'red')} {printable(lost)}"
    if record.get("kind") == "refused":
        text = f"record {record.get('seq')} refused by the sink: {record.get('cause')}"
        return f"{printable(str(record.get('time')))} {painted('REFUSED', 'red')} {printable(text)}"
    decision = str(record.get("decision", record.get("kind")))
    color = {"ALLOW": "green", "DENY": "red"}.get(decision, "dim")
    policies = ", ".join(map(str, _policies(record)))
    parts = (
        _uid(record, "subject") or "nobody",
        _tool(record),
        str(record.get("code", "")),
        f"by {policies}" if policies else "",
        f"({record['kind']})" if record.get("kind") in ("intercept", "candidate") else "",
    )
    text = " ".join(printable(part) for part in parts if part)
    return f"{printable(str(record.get('time')))} {painted(printable(decision), color)} {text}"
