"""JSON text to values, with nothing left to interpretation.

Two parsers that disagree about a document see two documents, and what a policy saw would not be what the tool got.
So everything on which parsers differ is refused: duplicate keys, lone surrogates, byte order marks, `NaN`, text
after the value. Good text is read fast, by the standard library's scanner; text that was refused is read again,
slowly, to say where it is wrong.
"""

from __future__ import annotations

import decimal
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from pdp.cedar.json_places import NUMBER, JsonPlaceError, after_blanks, locate, pointer, segments_of, walk
from pdp.errors import PdpError

__all__ = ["DEFAULT_LIMITS", "JsonError", "JsonLimits", "kind_of", "locate", "parse_object", "parse_value"]

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1

_OUTSIDE_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[^"\[\]{}]+', re.DOTALL)
#: Text in which every escaped surrogate stands in a pair.
_PAIRED = re.compile(
    r"(?:[^\\]++|\\(?!u[dD][89a-fA-F]).|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How much JSON is read: bytes of text, nested objects and arrays, and object members plus array items."""

    max_bytes: int = 1 << 20
    max_depth: int = 32
    max_nodes: int = 10_000


DEFAULT_LIMITS = JsonLimits()


class JsonError(PdpError):
    """Text that is not acceptable JSON. `path` is a JSON Pointer to what is wrong, cut where very long."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path or '(document)'}: {message}")
        self.path = path
        self.message = message


class _RefusedError(Exception):
    """The fast reader met something; the slow one says what and where."""


def parse_object(data: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Read one JSON object; see `parse_value`."""
    value = parse_value(data, limits)
    if type(value) is not dict:
        raise JsonError("", f"must be a JSON object, not {kind_of(value)}")
    return value


def parse_value(data: bytes, limits: JsonLimits = DEFAULT_LIMITS) -> Any:
    """Read one JSON value: dict, list, str, bool, None, `int` for integers of 64 bits, `Decimal` for other numbers.

    Numbers are exact. A `Decimal` may have any exponent, so it must not be expanded before a look at its size.
    Raises JsonError, and nothing else, whatever the bytes are.
    """
    if len(data) > limits.max_bytes:
        raise JsonError("", f"is {len(data)} bytes long; at most {limits.max_bytes} are read")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise JsonError("", f"is not UTF-8 at byte {error.start}") from None
    if text.count("[") + text.count("{") > limits.max_depth and _is_too_deep(text, limits.max_depth):
        _explain(text, limits)
    if "\\" in text and ("\\ud" in text or "\\uD" in text) and _PAIRED.fullmatch(text) is None:
        _explain(text, limits)
    try:
        value, end = _DECODER.raw_decode(text, 0 if text[:1] in _OPENING else after_blanks(text, 0))
    except (ValueError, RecursionError, _RefusedError):
        _explain(text, limits)
    if end != len(text) and after_blanks(text, end) != len(text):
        _explain(text, limits)
    if len(text) > 2 * limits.max_nodes and _has_too_many_nodes(text, value, limits.max_nodes):
        _explain(text, limits)
    return value


def kind_of(value: Any) -> str:
    """The JSON word for a value, with its article, for messages."""
    if value is None:
        return "null"
    words = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}
    return words.get(type(value), "a number")


def _is_too_deep(text: str, max_depth: int) -> bool:
    # Asked before the scanner runs: it recurses, and a thread's stack may be small.
    depth = 0
    for bracket in _OUTSIDE_BRACKETS.sub("", text):
        depth += 1 if bracket in "[{" else -1
        if depth > max_depth:
            return True
    return False


def _has_too_many_nodes(text: str, value: Any, max_nodes: int) -> bool:
    # n items have n-1 commas, so commas and brackets bound the count; only strings full of them need the walk.
    if text.count(",") + text.count("[") + text.count("{") <= max_nodes:
        return False
    count, pending = 0, [value]
    while pending:
        container = pending.pop()
        if type(container) in (dict, list):
            count += len(container)
            pending.extend(container.values() if type(container) is dict else container)
    return count > max_nodes


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RefusedError
    return members


def _integer(text: str) -> int | Decimal:
    # int() takes quadratic time and refuses 4,300 digits; Decimal does neither.
    if len(text) <= 18:
        return int(text)
    if len(text) <= 20 and _LONG_MIN <= (value := int(text)) <= _LONG_MAX:
        return value
    return _exact(text)


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except decimal.InvalidOperation:
        raise _RefusedError from None


def _constant(_: str) -> NoReturn:
    raise _RefusedError


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_exact, parse_int=_integer, parse_constant=_constant
)
_OPENING = frozenset("{[")


def _explain(text: str, limits: JsonLimits) -> NoReturn:
    """Raise the JsonError that says what is wrong with a refused text."""
    if text.startswith("\ufeff"):
        raise JsonError("", "starts with a byte order mark")
    if after_blanks(text, 0) == len(text):
        raise JsonError("", "is empty")
    try:
        for nodes, (containers, at) in enumerate(walk(text)):
            if len(containers) >= limits.max_depth and text[at : at + 1] in ("{", "["):
                raise JsonPlaceError(segments_of(containers), f"nests deeper than {limits.max_depth} levels")
            if nodes > limits.max_nodes:
                raise JsonPlaceError(
                    segments_of(containers), f"there are more than {limits.max_nodes} members and items"
                )
            if (number := NUMBER.match(text, at)) and not _is_exact(number.group()):
                raise JsonPlaceError(segments_of(containers), "the number's exponent is out of range")
    except JsonPlaceError as error:
        raise JsonError(pointer(error.segments), error.message) from None
    raise JsonError("", "is not acceptable JSON")


def _is_exact(number: str) -> bool:
    try:
        _exact(number)
    except _RefusedError:
        return False
    return True
