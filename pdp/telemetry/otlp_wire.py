"""Spans as OTLP's protobuf messages. Pure.

Written by hand, because the packages that have these messages exclude each other: `xds-protos`, which Envoy's protocols
need, brings its own old copies of them under the same names. The numbers are those of opentelemetry/proto/trace/v1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

Value = str | bool | float

#: What callers, agents and modules write is told up to this length.
_MAX_TEXT: Final = 256
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_ERROR: Final = 2


class Event(NamedTuple):
    """Something that happened within a span, at a Unix time in nanoseconds."""

    name: str
    time_ns: int
    attributes: Mapping[str, Value]


class SpanRecord(NamedTuple):
    """A span that has ended. Ids are hexadecimal, `parent_id` is empty for none; times are Unix time in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    events: tuple[Event, ...] = ()
    failed: bool = False


def export_request(resource: Mapping[str, Value], scope: tuple[str, str], spans: Iterable[SpanRecord]) -> bytes:
    """An ExportTraceServiceRequest; `scope` is name and version of what made the spans."""
    name, version = scope
    described = _field(1, b"".join(_attributes(1, resource)))
    made = _field(1, _text(1, name) + _text(2, version))
    return _field(1, described + _field(2, made + b"".join(_field(2, _span(span)) for span in spans)))


def _span(span: SpanRecord) -> bytes:
    parts = [
        _field(1, bytes.fromhex(span.trace_id)),
        _field(2, bytes.fromhex(span.span_id)),
        _field(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
        _text(5, span.name),
        _number(6, span.kind),
        _time(7, span.began_ns),
        _time(8, span.ended_ns),
        *_attributes(9, span.attributes),
        *(_field(11, _event(event)) for event in span.events),
        _field(15, _number(3, _ERROR)) if span.failed else b"",
    ]
    return b"".join(parts)


def _event(event: Event) -> bytes:
    return _time(1, event.time_ns) + _text(2, event.name) + b"".join(_attributes(3, event.attributes))


def _attributes(number: int, attributes: Mapping[str, Value]) -> Iterable[bytes]:
    return (_field(number, _text(1, key) + _field(2, _value(value))) for key, value in attributes.items())


def _value(value: Value) -> bytes:
    if isinstance(value, bool):
        return _number(2, value)
    if isinstance(value, str):
        return _text(1, value)
    return bytes([4 << 3 | _FIXED64]) + struct.pack("<d", value)


def _text(number: int, text: str) -> bytes:
    return _field(number, text[:_MAX_TEXT].encode("utf-8", "backslashreplace"))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3 | _VARINT]) + _varint(value)


def _time(number: int, nanoseconds: int) -> bytes:
    return bytes([number << 3 | _FIXED64]) + struct.pack("<Q", nanoseconds)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
