"""What MCP over HTTP wraps messages in: media types, and server-sent events. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from pdp.servicers.gateways.mcp_messages import Message, MessageError

JSON = "application/json"
EVENTS = "text/event-stream"

_LINE_END = re.compile(rb"\r\n|\n|\r")
_UTF_8 = re.compile(r"[ \t]*charset=(\"?)utf-8\1[ \t]*", re.IGNORECASE)
_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")
_BREAKS = re.compile(r"[\r\n]+")
#: Fields of an event that are handed on; the others mean nothing, or are its data.
_KEPT_FIELDS = ("id", "retry")
_COMMENT = b":\n\n"
#: What keeping a line takes, beside its text.
_LINE_BYTES = 64


def media_type(header: str | None) -> str:
    """The media type in lower case; empty where there is none, or where it says more than that the text is UTF-8.

    Whoever goes by another `charset` reads another message than the one that was decided about.
    """
    kind, *parameters = (header or "").split(";")
    plain = all(not parameter.strip() or _UTF_8.fullmatch(parameter) for parameter in parameters)
    return kind.strip().lower() if plain else ""


def is_plain(encoding: str | None) -> bool:
    """Whether a `content-encoding` leaves the content as it is."""
    return (encoding or "identity").strip().lower() in ("", "identity")


def require_mirrored(message: Message, method: str | None, name: str | None) -> None:
    """Refuse a message of which `Mcp-Method` and `Mcp-Name`, where they are given, say something else than the body.

    A server that goes by them would do what nobody decided about. Raises MessageError.
    """
    if method is not None and method != message.method:
        raise MessageError("the header `mcp-method` says something else than the message")
    if name is not None:
        params = message.value.get("params", {})
        if _decoded(name) not in (params.get("name"), params.get("uri")):
            raise MessageError("the header `mcp-name` says something else than the message")


def _decoded(value: str) -> str:
    match = _SENTINEL.fullmatch(value)
    if match is None:
        return value
    try:
        return base64.b64decode(match.group(1), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise MessageError("the header `mcp-name` is not readable") from None


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event. `data` is None where it has none, and is no message then."""

    data: bytes | None
    kept: tuple[tuple[str, str], ...] = ()
    is_message: bool = True


def written(event: Event, data: bytes | None) -> bytes:
    """The event with other data; without data what only keeps the connection alive or tells where it is."""
    fields = [f"{name}: {value}" for name, value in event.kept]
    if data is not None:
        # Line breaks stand between the parts of JSON only, never in a string.
        fields += ["event: message", f"data: {_BREAKS.sub(' ', data.decode())}"]
    elif event.data is not None:
        fields.append("data:")
    return "".join(f"{line}\n" for line in fields).encode() + b"\n" if fields else _COMMENT


class EventReader:
    """Takes a stream of events apart as it comes, in any pieces."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        #: Where the line's end has not been looked for yet.
        self._searched = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._after_return = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in this piece. Raises MessageError: an event is too large, or not text."""
        if self._after_return and chunk:
            # The line break that began with the last piece may end here.
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        self._line += chunk
        events, start = [], 0
        while (end := _LINE_END.search(self._line, max(start, self._searched))) is not None:
            self._after_return = end.group() == b"\r" and end.end() == len(self._line)
            event = self._ended(bytes(self._line[start : end.start()]))
            events += [event] if event is not None else []
            start = self._searched = end.end()
        del self._line[:start]
        self._searched = len(self._line)
        if self._size + len(self._line) > self._max_bytes:
            raise MessageError(f"an event of the server is longer than {self._max_bytes} bytes")
        return events

    def _ended(self, line: bytes) -> Event | None:
        """Take a line; gives the event that an empty one ends."""
        if self._at_start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._at_start = False
        if line:
            self._lines.append(line)
            self._size += len(line) + _LINE_BYTES
            return None
        lines, self._lines, self._size = self._lines, [], 0
        return _event(lines) if lines else None


def _event(lines: list[bytes]) -> Event:
    data: list[bytes] = []
    kept: list[tuple[str, str]] = []
    kind = "message"
    for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = _text(value)
        elif _text(name) in _KEPT_FIELDS:
            kept.append((_text(name), _text(value)))
    return Event(b"\n".join(data) if data else None, tuple(kept), kind == "message")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MessageError("an event of the server is not UTF-8") from None
