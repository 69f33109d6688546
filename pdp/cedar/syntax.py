"""Where things stand in Cedar text.

Cedar's own parser (through cedarpy) says what is wrong but not where, so this module finds the place: it splits a
policy file into statements and locates the token that an error message speaks of. It never decides whether text is
valid; Cedar does.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BOUNDARY = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|;', re.DOTALL)
_BLANK = re.compile(r"(?:\s+|//[^\n]*)*")
_TOKEN = re.compile(
    r'\s+|//[^\n]*|(?P<token>"(?:[^"\\]|\\.)*"|\?\w+|\w+|::|==|!=|<=|>=|&&|\|\||.)',
    re.DOTALL,
)
_QUOTED = re.compile(r"`([^`]+)`")
_UNEXPECTED = re.compile(r"unexpected token `(.*)`", re.DOTALL)


_SKIP = r'"(?:[^"\\]|\\.)*"|//[^\n]*'
_POLICY_STRUCTURE = re.compile(
    _SKIP + r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<condition>\bif\b)|(?P<has>\bhas\b)|(?P<operator>[.+*<>|&=!-]+)",
    re.DOTALL,
)
_SCHEMA_STRUCTURE = re.compile(_SKIP + r"|(?P<open>[(\[{<])|(?P<close>[)\]}>])", re.DOTALL)

#: Cedar's parser recurses without a bound: about a thousand nested brackets, or some ten thousand chained operators,
#: end the process. `has a.b.c` stands for a test of each step, and a long one takes all memory. These bounds are far
#: beyond any readable policy and far below that.
MAX_NESTING = 64
_MAX_COUNTS = {"condition": 256, "operator": 4_000}
_MAX_STEPS, _NO_PATH = 64, -(10**9)


def find_excess(text: str, structure: re.Pattern[str]) -> int | None:
    """The offset at which `text` nests or chains more than Cedar's parser can be trusted with, or None."""
    depth = 0
    counts = dict(_MAX_COUNTS)
    steps, closed = _NO_PATH, -1
    for match in structure.finditer(text):
        kind = match.lastgroup
        if kind == "open":
            depth, steps = depth + 1, _NO_PATH
            if closed >= 0 and match.group() != "{" and _BLANK.fullmatch(text, closed, match.start()):
                kind = "operator"  # `a["b"]["c"]` is as long a chain as `a.b.c`
        elif kind == "close":
            depth, steps = depth - 1, _NO_PATH
            closed = match.end()
        if kind in counts:
            counts[kind] -= 1
            steps = steps + 1 if match.group() == "." else _NO_PATH
        elif kind == "has":
            steps = 0
        if depth > MAX_NESTING or steps > _MAX_STEPS or (kind in counts and counts[kind] < 0):
            return match.start()
    return None


def find_policy_excess(statement: str) -> int | None:
    """Like `find_excess`, for one policy statement; to be asked before Cedar sees it."""
    return find_excess(statement, _POLICY_STRUCTURE)


def find_schema_excess(text: str) -> int | None:
    """Like `find_excess`, for a Cedar schema; to be asked before Cedar sees it."""
    return find_excess(text, _SCHEMA_STRUCTURE)


class LineIndex:
    """Offsets of a text to line and column, both counted from 1; columns count characters."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of the character at `offset`."""
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy's text, from its first token to its `;`, and its offset in the file."""

    text: str
    offset: int


def split_statements(text: str) -> list[Statement]:
    """Split policy text at each `;` that is outside strings and comments.

    What follows the last `;` is a statement too unless it is blank, so an unfinished policy is not lost.
    """
    statements = []
    start = 0
    ends = [match.end() for match in _BOUNDARY.finditer(text) if match.group() == ";"]
    for end in [*ends, len(text)]:
        first = _first_token(text, start, end)
        if first < end:
            statements.append(Statement(text[first:end], first))
        start = end
    return statements


def _first_token(text: str, start: int, end: int) -> int:
    match = _BLANK.match(text, start, end)
    return match.end() if match else start


def tokens(text: str) -> Iterator[tuple[int, str]]:
    """The tokens of Cedar text with their offsets, without white space and comments."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup:
            yield match.start(), match.group()


def locate_error(text: str, message: str, parse: Callable[[str], object]) -> int:
    """The offset in `text` that `message`, Cedar's parse error for `text`, speaks of; 0 where it does not say.

    An unexpected token is found by parsing the text up to each place where that token stands: the first cut that
    still fails on the token holds the one that Cedar met. Other messages quote a name; its first use is the place.
    """
    unexpected = _UNEXPECTED.search(message)
    if unexpected is not None:
        return _locate_token(text, unexpected.group(1), message, parse)
    names = [*_QUOTED.findall(message), message.rsplit(": ", 1)[-1]]
    places = list(tokens(text))
    for name in names:
        for offset, token in places:
            if token in (name, f'"{name}"') or (name.startswith(token) and text.startswith(name, offset)):
                return offset
    return _end_of_last_token(text) if "end of input" in message else 0


def _locate_token(text: str, token: str, message: str, parse: Callable[[str], object]) -> int:
    candidates = [offset for offset, found in tokens(text) if found == token]
    if not candidates:
        return max(text.find(token), 0)

    def fails_there(offset: int) -> bool:
        try:
            # Without an end Cedar may complain about that, and not about the token.
            parse(text[: offset + len(token)] + ";")
        except ValueError as error:
            return str(error) == message
        return False

    # Every longer cut meets the same token first, so the predicate is monotone.
    found = bisect.bisect_left(candidates, True, key=fails_there)
    return candidates[min(found, len(candidates) - 1)]


def _end_of_last_token(text: str) -> int:
    end = 0
    for offset, token in tokens(text):
        end = offset + len(token) - 1
    return end
