"""Answers to standard output, everything else to standard error; nothing that a terminal could act on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from pdp.bundle.layout import printable
from pdp.errors import Problem

_COLORS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
#: What guests log, by its level.
_LEVELS = ("debug", "info", "warning", "error")
_LEVEL_COLORS = ("dim", "dim", "yellow", "red")


class OutputError(Exception):
    """Standard output takes nothing any more; `cause` is empty where its reader has simply gone away."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.cause = "" if isinstance(error, BrokenPipeError) else (error.strerror or str(error)).lower()


def prepare_streams() -> None:
    """Let characters that the terminal's encoding does not have come out as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def answer(line: str = "") -> None:
    """One line of the answer. What came from elsewhere in it has to be `printable` already. Raises OutputError."""
    try:
        print(line)
    except OSError as error:
        raise OutputError(error) from error


def answer_json(document: Any) -> None:
    """The answer as JSON; all of it is ASCII, and without control characters. Raises OutputError."""
    answer(json.dumps(document, indent=2))


def flush_answer() -> None:
    """Hand over what was answered. Raises OutputError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(error) from error


def forget_answer() -> None:
    """Let the interpreter's own flush at the end go nowhere instead of failing once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def tell(line: str = "") -> None:
    """One line for the person at the terminal, if anybody is there."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def tell_error(message: str) -> None:
    """One line that says what is wrong."""
    tell(f"{painted('error', 'red', sys.stderr)}: {printable(message)}")


def painted(text: str, color: str, stream: TextIO | None = None) -> str:
    """`text` in a color where `stream` (standard output if None) shows colors."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m" if shows_colors(stream or sys.stdout) else text


def shows_colors(stream: TextIO) -> bool:
    """Whether the stream is a terminal whose user wants colors (see https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def problem_line(problem: Problem, stream: TextIO) -> str:
    """A bundle's problem as `file:line:column: error: message`."""
    place = f"{problem.path}:{problem.line}:{problem.column}" if problem.line else problem.path
    severity = painted(problem.severity, "red" if problem.severity == "error" else "yellow", stream)
    return f"{printable(place)}: {severity}: {printable(problem.message)}"


def problem_forms(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems for JSON; `line` and `column` are 0 where the problem is the file itself."""
    names = ("path", "line", "column", "severity", "message")
    return [{name: getattr(problem, name) for name in names} for problem in problems]


def tell_guest(name: str, level: int, text: str) -> None:
    """What an interceptor logged; `level` is from 0 (debug) to 3 (error)."""
    word = painted(_LEVELS[level], _LEVEL_COLORS[level], sys.stderr)
    for line in text.splitlines():
        tell(f"`{printable(name)}` logs {word}: {printable(line)}")


def duration_text(nanoseconds: int) -> str:
    """`84 us`, `1.2 ms`: as precise as anybody reads it."""
    microseconds = nanoseconds / 1_000
    return f"{microseconds:.0f} us" if microseconds < 1_000 else f"{microseconds / 1_000:.1f} ms"


def counted(number: int, noun: str) -> str:
    """`1 policy`, `2 policies`, `2 matches`."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{number} {noun[:-1]}ies"
    return f"{number} {noun}es" if noun.endswith("ch") else f"{number} {noun}s"
