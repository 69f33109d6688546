"""Where things stand in JSON text: a slow, strict reader that knows at every moment which value it is at.

The fast reader (`strict_json`) asks it only about text that was refused, and the bundle loader about places to
report. It walks without recursion, so no depth of nesting harms it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from pdp.cedar.syntax import LineIndex

#: Characters of a path, or of user input in a message, before it is cut: a key can be as long as its document.
_SHOWN = 200

_BLANKS = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_WORD = re.compile("true|false|null")
_CONSTANT = re.compile(r"-?Infinity|NaN")


class JsonPlaceError(Exception):
    """What is wrong with the text, at the value that `segments` leads to."""

    def __init__(self, segments: list[str], message: str) -> None:
        self.segments = segments
        self.message = message


class Container:
    """An object or array being read: the key or index that the reader is at, and the keys seen."""

    __slots__ = ("index", "key", "keys")

    def __init__(self, is_object: bool) -> None:
        self.keys: set[str] | None = set() if is_object else None
        self.key = ""
        self.index = -1

    @property
    def segment(self) -> str:
        """The step that leads to the current member, for a JSON Pointer."""
        return str(self.index) if self.keys is None else self.key

    @property
    def closer(self) -> str:
        """The bracket that ends it."""
        return "]" if self.keys is None else "}"


def pointer(segments: list[str]) -> str:
    """The JSON Pointer (RFC 6901) for `segments`, cut where very long."""
    text = "".join("/" + escape_segment(segment[: _SHOWN + 1]) for segment in segments)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def escape_segment(segment: str) -> str:
    """One segment of a JSON Pointer."""
    return segment.replace("~", "~0").replace("/", "~1")


def shown(text: str) -> str:
    """User input for a message: in backticks, cut where long."""
    return f"`{text}`" if len(text) <= _SHOWN else f"`{text[:_SHOWN]}…`"


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def after_blanks(text: str, at: int) -> int:
    """The offset of the first character from `at` on that is not JSON white space."""
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def segments_of(containers: list[Container]) -> list[str]:
    """The way to the value that stands in `containers`."""
    return [container.segment for container in containers]


def walk(text: str) -> Iterator[tuple[list[Container], int]]:
    """Every value of `text` in order: the containers that it is in (one list, changed in place), and its offset.

    Raises JsonPlaceError at the first thing that is not strict JSON.
    """
    containers: list[Container] = []
    at = after_blanks(text, 0)
    while True:
        yield containers, at
        if text[at : at + 1] in ("{", "["):
            containers.append(Container(text[at] == "{"))
            at = after_blanks(text, at + 1)
            if text[at : at + 1] != containers[-1].closer:
                at = _enter_member(text, at, containers)
                continue
        else:
            at = after_blanks(text, _scalar_end(text, at, containers))
        while containers and text[at : at + 1] == containers[-1].closer:
            containers.pop()
            at = after_blanks(text, at + 1)
        if not containers:
            break
        if text[at : at + 1] != ",":
            raise JsonPlaceError(segments_of(containers), f"expected `,` or `{containers[-1].closer}` after this value")
        at = _enter_member(text, after_blanks(text, at + 1), containers)
    if at != len(text):
        raise JsonPlaceError([], "there is text after the JSON value")


def _enter_member(text: str, at: int, containers: list[Container]) -> int:
    """Step to the next member of the innermost container; returns the offset of its value."""
    container = containers[-1]
    if container.keys is None:
        container.index += 1
        return at
    if text[at : at + 1] != '"':
        raise JsonPlaceError(segments_of(containers[:-1]), "expected a key in double quotes")
    container.key, at = _string(text, at, containers[:-1], "a key")
    if container.key in container.keys:
        raise JsonPlaceError(segments_of(containers), f"the key {shown(container.key)} is given twice")
    container.keys.add(container.key)
    at = after_blanks(text, at)
    if text[at : at + 1] != ":":
        raise JsonPlaceError(segments_of(containers), "expected `:` after the key")
    return after_blanks(text, at + 1)


def _scalar_end(text: str, at: int, containers: list[Container]) -> int:
    if text[at : at + 1] == '"':
        return _string(text, at, containers, "the string")[1]
    match = NUMBER.match(text, at) or _WORD.match(text, at)
    if match is None:
        constant = _CONSTANT.match(text, at)
        found = f"`{constant.group()}` is not JSON" if constant else "expected a JSON value"
        raise JsonPlaceError(segments_of(containers), found)
    return match.end()


def _string(text: str, at: int, containers: list[Container], what: str) -> tuple[str, int]:
    match = _STRING.match(text, at)
    if match is None:
        raise JsonPlaceError(segments_of(containers), f"{what} has no end")
    try:
        value: str = json.loads(match.group())
    except ValueError:
        message = f"{what} has an invalid escape or a control character"
        raise JsonPlaceError(segments_of(containers), message) from None
    if not is_unicode(value):
        raise JsonPlaceError(segments_of(containers), f"{what} has half of a surrogate pair")
    return value, match.end()


def locate_all(text: str, json_pointers: Iterable[str]) -> dict[str, tuple[int, int]]:
    """What `locate` says for each of many pointers, from reading the text once."""
    wanted = {pointer: _segments(pointer) for pointer in json_pointers}
    ways = {tuple(segments[:end]) for segments in wanted.values() for end in range(len(segments) + 1)}
    offsets: dict[tuple[str, ...], int] = {}
    try:
        for containers, at in walk(text):
            way = tuple(segments_of(containers))
            if way in ways:
                offsets.setdefault(way, at)
    except JsonPlaceError:
        pass  # the text is refused elsewhere; what was found before stands
    lines = LineIndex(text)
    places = {}
    for pointer, segments in wanted.items():
        found = next(
            (offsets[way] for end in range(len(segments), -1, -1) if (way := tuple(segments[:end])) in offsets), 0
        )
        places[pointer] = lines.position(found)
    return places


def _segments(json_pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in json_pointer.split("/")[1:]]


def locate(text: str, json_pointer: str) -> tuple[int, int]:
    """Line and column, counted from 1, of the value that `json_pointer` names in JSON text.

    Where there is no such value, or the text is not JSON up to there: the place of the innermost value around it.
    """
    wanted = _segments(json_pointer)
    best, found = -1, 0
    try:
        for containers, at in walk(text):
            depth = len(containers)
            if best < depth <= len(wanted) and segments_of(containers) == wanted[:depth]:
                best, found = depth, at
                if depth == len(wanted):
                    break
    except JsonPlaceError:
        pass  # the text is refused elsewhere; here the best place so far stands
    line_start = text.rfind("\n", 0, found) + 1
    return text.count("\n", 0, found) + 1, found - line_start + 1
