"""Coverage-guided fuzzing of the readers, with atheris: `python -m tests.fuzz.coverage_guided READER -runs=100000`.

Each reader takes what it is given or raises the one error that says why not; anything else is found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import gettempdir

import atheris

with atheris.instrument_imports(include=["pdp"]):
    from pdp.bundle.manifest import parse_manifest
    from pdp.cedar.arguments import parse_type
    from pdp.cedar.json_text import canonical_text
    from pdp.cedar.strict_json import JsonError, parse_object, parse_value
    from pdp.cli.config import toml_text
    from pdp.cli.log_query import record_of, shown
    from pdp.config import load_config
    from pdp.decision_log.verifying import Verification
    from pdp.errors import ConfigError, InvalidArgumentsError
    from pdp.identity.compact_tokens import read_compact
    from pdp.sandbox.model import GuestFailureError, Phase
    from pdp.sandbox.reply import read_reply

from pdp.errors import InvalidTokenError

_TYPES = [parse_type(text) for text in ("Long", "String", "Bool", "decimal", "Set<String>", "datetime")]


def _strict_json(data: bytes) -> None:
    """What is read is what another reader reads, and its one form reads as the same."""
    try:
        value = parse_value(data)
    except JsonError:
        return
    assert json.loads(data, parse_float=Decimal) == value
    assert parse_value(canonical_text(value).encode()) == value


def _arguments(data: bytes) -> None:
    try:
        document = parse_object(data)
    except JsonError:
        return
    for value in document.values():
        for wanted in _TYPES:
            try:
                json.dumps(wanted.convert(value))
            except InvalidArgumentsError:
                continue


def _manifest(data: bytes) -> None:
    _, problems = parse_manifest(data)
    assert all(problem.message for problem in problems)


def _reply(data: bytes) -> None:
    phases: tuple[Phase, ...] = ("request", "response")
    for phase in phases:
        try:
            reply = read_reply(data, phase, True, {"risk": parse_type("Long")})
        except GuestFailureError:
            continue
        assert reply.verdict == json.loads(data)["verdict"]


def _configuration(data: bytes) -> None:
    file = Path(gettempdir()) / "pdp.toml"
    file.write_bytes(data)
    told: Sequence[str] | None = None
    try:
        toml_text(load_config(file, {}))
    except ConfigError as error:
        told = error.problems
    assert told is None or (told and all(told))


def _log(data: bytes) -> None:
    """Nothing that came after what was written passes for it, and every record can be shown."""
    verification = Verification()
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        verification.feed("log", number, line)
        record = record_of(line)
        if record is not None:
            assert shown(record).isprintable()
    assert verification.finish() or not data


def _token(data: bytes) -> None:
    try:
        read_compact(data.decode("latin-1"))
    except InvalidTokenError:
        return


READERS: dict[str, Callable[[bytes], None]] = {
    "json": _strict_json,
    "arguments": _arguments,
    "manifest": _manifest,
    "reply": _reply,
    "token": _token,
    "configuration": _configuration,
    "log": _log,
}


def main() -> None:
    """Fuzz the reader that the first argument names; the others are libFuzzer's."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], READERS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
