"""The entry point: parse, run one subcommand, and turn every way it can end into an exit status."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from pdp.bundle.layout import printable
from pdp.cli.failure import CommandError
from pdp.cli.parser import build_parser
from pdp.cli.terminal import (
    OutputError,
    answer_json,
    flush_answer,
    forget_answer,
    prepare_streams,
    problem_forms,
    problem_line,
    tell,
    tell_error,
)
from pdp.errors import BundleError, ConfigError

_FINDINGS = 1
_FAILURE = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (of this process if None) and return its exit status.

    0 ok or allow, 1 findings or deny, 2 wrong usage or failure. What is neither a yes nor a no never ends with 0 or 1.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - stays open like the real one
    if sys.stdout is None:
        tell_error("standard output is closed")
        return _FAILURE
    prepare_streams()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        flush_answer()
    except OutputError as error:
        forget_answer()
        if error.cause:
            tell_error(f"standard output cannot be written: {error.cause}")
        return _FAILURE
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _run(argv: Sequence[str]) -> int:
    parser = build_parser()
    try:
        arguments, rest = parser.parse_known_args(argv)
        if rest:
            parser.error(f"unknown arguments: {', '.join(f'`{argument}`' for argument in rest)}")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _FAILURE
    if arguments.command is None:
        arguments.parser.print_help(sys.stderr)
        return _FAILURE
    return _run_command(arguments)


def _run_command(arguments: Namespace) -> int:
    as_json = getattr(arguments, "json", False)
    try:
        # What a subcommand needs is loaded only now: `pdp --help` is to answer at once.
        run: Callable[[Namespace], int] = importlib.import_module(f"pdp.cli.{arguments.command}").run
        return run(arguments)
    except CommandError as error:
        _report(as_json, {"error": {"message": error.message, **error.facts}}, error.message)
        return error.status
    except ConfigError as error:
        message = "the configuration is wrong"
        _report(as_json, {"error": {"message": message, "problems": error.problems}}, *error.problems)
        return _FAILURE
    except BundleError as error:
        if as_json:
            answer_json({"problems": problem_forms(error.problems)})
        for problem in error.problems:
            tell(problem_line(problem, sys.stderr))
        return _FINDINGS
    except OutputError:
        raise
    except Exception:  # noqa: BLE001 - a bug: told in full, and with a status that says neither yes nor no
        for line in traceback.format_exc().splitlines():
            tell(printable(line))
        return _FAILURE


def _report(as_json: bool, document: object, *messages: str) -> None:
    if as_json:
        answer_json(document)
    for message in messages:
        tell_error(message)
