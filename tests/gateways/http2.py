"""HTTP/2 without any help, as far as Envoy's listener needs it: a client that sends any frames."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
END_STREAM, _END_HEADERS = 1, 4

Headers = Sequence[tuple[str, str]]

POST: Headers = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/mcp"),
    (":authority", "tools.example"),
    ("content-type", "application/json"),
    ("x-agent", "coder"),
)


def head(headers: Headers, flags: int = 0) -> bytes:
    """A frame of headers, or of trailers."""
    fields = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
    return _frame(_HEADERS, flags | _END_HEADERS, 1, fields)


def data(body: bytes, flags: int = 0) -> bytes:
    """A frame of a body."""
    return _frame(_DATA, flags, 1, body)


def converse(address: str, *frames: bytes) -> bytes:
    """Send these frames as the first stream; gives the body of the answer, empty if the stream is broken off."""
    host, _, port = address.rpartition(":")
    body = b""
    with socket.create_connection((host, int(port)), 60) as connection, connection.makefile("rb") as answers:
        connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + b"".join(frames))
        while prefix := answers.read(9):
            length, kind, flags = int.from_bytes(prefix[:3], "big"), prefix[3], prefix[4]
            payload = answers.read(length)
            if kind == _DATA:
                body += payload
            if kind in (_RESET, _GOAWAY):
                return b""
            if kind in (_DATA, _HEADERS) and flags & END_STREAM:
                return body
    return b""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: str) -> bytes:
    """A string of HPACK, as it is; short enough for one byte of length."""
    encoded = value.encode()
    assert len(encoded) < 127
    return bytes([len(encoded)]) + encoded
