"""Where the parts of a JSON text stand, so that one part can be replaced and every other byte stays as it was.

For text that `strict_json.parse_value` has taken: nothing is checked again here. Spans are offsets in characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pdp.cedar.json_places import after_blanks

Span = tuple[int, int]

#: Finds ends, so it makes nothing of numbers; the interpreter refuses to read those of many digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def whole(text: str) -> Span:
    """The value that the text is, without the blanks around it."""
    return _value(text, 0)


def members(text: str, span: Span) -> dict[str, Span]:
    """The values of the object at `span`, by key."""
    found: dict[str, Span] = {}
    at = after_blanks(text, span[0] + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        value = _value(text, after_blanks(text, at) + 1)
        found[key] = value
        at = _next(text, value[1])
    return found


def items(text: str, span: Span) -> Iterator[Span]:
    """The values of the array at `span`, in order."""
    at = after_blanks(text, span[0] + 1)
    while text[at] != "]":
        value = _value(text, at)
        yield value
        at = _next(text, value[1])


def replaced(text: str, changes: Iterable[tuple[Span, str]]) -> str:
    """`text` with other text at these spans, which do not overlap."""
    parts, at = [], 0
    for (start, end), new in sorted(changes):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def _value(text: str, at: int) -> Span:
    start = after_blanks(text, at)
    return start, _DECODER.raw_decode(text, start)[1]


def _next(text: str, at: int) -> int:
    """The next member or item, or the bracket that ends them."""
    at = after_blanks(text, at)
    return after_blanks(text, at + 1) if text[at] == "," else at
