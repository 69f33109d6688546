"""What hostile peers send: each attack ends in a refusal, and the service answers the next caller."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from pdp.limits_config import LimitsConfig
from tests.gateways.authzen_service import (
    BODY,
    EVALUATION,
    EVALUATIONS,
    HEAD,
    LENGTH,
    AuthZenService,
    answer,
    asked,
    chunk,
    read_all,
    serving,
)

LIMITS = LimitsConfig(message_bytes=100_000)


@pytest.fixture(scope="module")
def service() -> Iterator[AuthZenService]:
    with serving(limits=LIMITS) as found:
        yield found


@pytest.fixture(autouse=True)
def _still_there(service: AuthZenService) -> Iterator[None]:
    yield
    assert service.ask(EVALUATION, asked()).decision is True


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def with_context(text: str) -> bytes:
    return json.dumps(asked(context="here")).replace('"here"', text).encode()


DOCUMENTS: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"   ",
    "truncated": json.dumps(asked()).encode()[:-1],
    "text after it": json.dumps(asked()).encode() + b"{}",
    "two documents": json.dumps(asked()).encode() * 2,
    "array": json.dumps([asked()]).encode(),
    "string": b'"x"',
    "null": b"null",
    "number": b"1",
    "not UTF-8": b'{"subject": "\xff"}',
    "UTF-16": json.dumps(asked()).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(asked()).encode(),
    "NaN": with_context("NaN"),
    "lone surrogate": with_context(r'{"a": "\ud800"}'),
    "huge exponent": with_context('{"a": 1e999999999999999999999999}'),
    "duplicate subject": json.dumps(asked()).replace('{"subject"', '{"subject": {}, "subject"', 1).encode(),
    "duplicate in an escape": with_context(r'{"a": 1, "\u0061": 2}'),
    "duplicate in a property": json.dumps(asked()).replace('"id": "a"', '"id": "a", "id": "admin"').encode(),
    "deep": with_context(deep(65)),
    "very deep": with_context(deep(10_000)),
    "deep arrays": with_context('{"a":' + "[" * 20_000 + "]" * 20_000 + "}"),
    "unfinished depth": b'{"a":' * 15_000,
    "many members": with_context("{" + ",".join(f'"{n:x}":1' for n in range(8_000)) + "}"),
    "no object": with_context("1"),
}


@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(service: AuthZenService, name: str, path: str) -> None:
    """What is no acceptable JSON object is a 400, and nothing is decided."""
    before = len(service.log.records)
    response = service.ask(path, DOCUMENTS[name])
    if name == "many members":
        # Not too many for a list of questions; then the core says what it thinks of it.
        assert response.status in (200, 400)
        return
    assert response.error["status"] == 400
    assert len(response.body) < 2_000
    assert len(service.log.records) == before


CHUNKED = "Transfer-Encoding: chunked\r\n"
OLD = f"POST {EVALUATION} HTTP/1.0\r\nContent-Type: application/json\r\n"

REQUESTS: dict[str, tuple[str, int]] = {
    "no request": ("hello\r\n\r\n", 400),
    "binary": ("\x00\x01\x02\x16\x03\r\n\r\n", 400),
    "TLS to a clear port": ("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),
    "HTTP/2": ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9": ("GET /\r\n\r\n", 400),
    "HTTP/3.1": ("GET / HTTP/3.1\r\nHost: x\r\n\r\n", 505),
    "no host": (f"POST {EVALUATION} HTTP/1.1\r\n{LENGTH}\r\n{BODY}", 400),
    "two hosts": (f"{HEAD}Host: y\r\n{LENGTH}\r\n{BODY}", 400),
    "two lengths": (f"{HEAD}{LENGTH}Content-Length: 1\r\n\r\n{BODY}", 400),
    "a list of lengths": (f"{HEAD}Content-Length: {len(BODY)}, 1\r\n\r\n{BODY}", 400),
    "negative length": (f"{HEAD}Content-Length: -1\r\n\r\n{BODY}", 400),
    "length with a sign": (f"{HEAD}Content-Length: +{len(BODY)}\r\n\r\n{BODY}", 400),
    "endless length": (f"{HEAD}Content-Length: {'9' * 30}\r\n\r\n", 400),
    "great length": (f"{HEAD}Content-Length: 100001\r\n\r\n", 413),
    "length and chunks": (f"{HEAD}{LENGTH}Transfer-Encoding: chunked\r\n\r\n{chunk(BODY)}0\r\n\r\n", 400),
    "chunked twice": (f"{HEAD}Transfer-Encoding: chunked, chunked\r\n\r\n{chunk(BODY)}0\r\n\r\n", 501),
    "gzip": (f"{HEAD}Transfer-Encoding: gzip\r\n\r\n{BODY}", 501),
    "folded header": (f"{HEAD}X: a\r\n b\r\n{LENGTH}\r\n{BODY}", 400),
    "folded length": (f"{HEAD}Content-Length:\r\n {len(BODY)}\r\n\r\n{BODY}", 400),
    "bare line feed": (f"{HEAD}X: a\n{LENGTH}\r\n{BODY}", 400),
    "header behind a bare line feed": (f"{HEAD}X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "bare line feeds": (f"{HEAD}{LENGTH}\r\n".replace("\r", "") + BODY, 400),
    "chunks in HTTP/1.0": (f"{OLD}Transfer-Encoding: chunked\r\n\r\n{chunk(BODY)}0\r\n\r\n", 400),
    "chunks in two headers": (f"{HEAD}{CHUNKED}{CHUNKED}\r\n{chunk(BODY)}0\r\n\r\n", 501),
    "chunks and identity": (f"{HEAD}Transfer-Encoding: identity, chunked\r\n\r\n{chunk(BODY)}0\r\n\r\n", 501),
    "chunk with bare line feeds": (f"{HEAD}{CHUNKED}\r\n{chunk(BODY)}0\r\n\r\n".replace("}\r\n", "}\n"), 400),
    "chunk longer than it says": (f"{HEAD}{CHUNKED}\r\n1\r\n{BODY}\r\n0\r\n\r\n", 400),
    "headers behind the body": (f"{HEAD}{CHUNKED}\r\n{chunk(BODY)}0\r\nX-Request-ID: a\r\n\r\n", 400),
    "endless chunk size": (f"{HEAD}{CHUNKED}\r\n{'0' * 40_000}", 431),
    "endless chunk extension": (f"{HEAD}{CHUNKED}\r\n1;{'x' * 40_000}", 431),
    "endless headers behind the body": (
        f"{HEAD}{CHUNKED}\r\n0\r\n{'A: b' + chr(13) + chr(10)}" + "A: b\r\n" * 9_000,
        431,
    ),
    "asterisk": ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "blank in the target": (f"POST {EVALUATION} x HTTP/1.1\r\nHost: x\r\n{LENGTH}\r\n{BODY}", 400),
    "preflight of a browser": (f"OPTIONS {EVALUATION} HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n", 405),
    "odd chunk": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n0\r\n\r\n", 400),
    "huge chunk": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{'f' * 30}\r\n{BODY}", 400),
    "too many chunks": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunk('x' * 1_000) * 120}0\r\n\r\n", 413),
    "truncated body": (f"{HEAD}Content-Length: {len(BODY) + 1}\r\n\r\n{BODY}", 400),
    "truncated chunks": (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunk(BODY)}", 400),
    "truncated head": (f"{HEAD}{LENGTH}", 400),
    "huge header": (f"{HEAD}X: {'x' * 40_000}\r\n{LENGTH}\r\n{BODY}", 431),
    "many headers": (f"{HEAD}{'A: b' + chr(13) + chr(10)}" + "A: b\r\n" * 20_000 + f"{LENGTH}\r\n{BODY}", 431),
    "long target": (f"POST /{'a' * 40_000} HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "blank before the colon": (f"{HEAD}X : y\r\n{LENGTH}\r\n{BODY}", 400),
    "NUL in a header": (f"{HEAD}X: a\x00b\r\n{LENGTH}\r\n{BODY}", 400),
    "return in a header": (f"{HEAD}X: a\rb\r\n{LENGTH}\r\n{BODY}", 400),
    "content type twice": (f"{HEAD}Content-Type: text/plain\r\n{LENGTH}\r\n{BODY}", 400),
    "request id twice": (f"{HEAD}X-Request-ID: a\r\nX-Request-ID: b\r\n{LENGTH}\r\n{BODY}", 400),
    "long request id": (f"{HEAD}X-Request-ID: {'a' * 257}\r\n{LENGTH}\r\n{BODY}", 400),
    "request id with a tab": (f"{HEAD}X-Request-ID: a\tb\r\n{LENGTH}\r\n{BODY}", 400),
    "request id beyond ASCII": (f"{HEAD}X-Request-ID: a\xe9\r\n{LENGTH}\r\n{BODY}", 400),
    "unknown path": ("POST /access/v1/evaluation/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    "path with dots": ("POST /access/v1/../v1/evaluation HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    "escaped path": ("POST /access/v1/evaluatio%6e HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    "whole url": (f"POST http://x{EVALUATION} HTTP/1.1\r\nHost: x\r\n{LENGTH}\r\n{BODY}", 404),
    "subject search": ("POST /access/v1/search/subject HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 404),
    "CONNECT": ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    "GET": (f"GET {EVALUATION} HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "PUT": (f"PUT {EVALUATION} HTTP/1.1\r\nHost: x\r\n{LENGTH}\r\n{BODY}", 405),
    "lower case": (f"post {EVALUATION} HTTP/1.1\r\nHost: x\r\n{LENGTH}\r\n{BODY}", 405),
    "POST to the metadata": ("POST /.well-known/authzen-configuration HTTP/1.1\r\nHost: x\r\n\r\n", 405),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(service: AuthZenService, name: str) -> None:
    """What is no request to this service gets the status that HTTP has for it, and nothing is decided."""
    text, status = REQUESTS[name]
    before = len(service.log.records)
    received = service.raw(text.encode("latin-1"))
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [str(status).encode()]
    head, _, body = received.partition(b"\r\n\r\n")
    assert json.loads(body)["error"]["status"] == status
    assert b"content-type: application/json" in head.lower()
    assert len(service.log.records) == before


@pytest.mark.parametrize("rest", ["HTTP/3.1\r\n", "HTTP/1.1\r\nX: a\r\n b\r\n", "HTTP/1.1\r\nX: a\n"])
def test_a_head_request_that_is_refused(
    service: AuthZenService, logs: list[MutableMapping[str, Any]], rest: str
) -> None:
    """The answer to HEAD has no body, also to one that is no request; it is no bug of the service."""
    received = service.raw(f"HEAD {EVALUATION} {rest}Host: x\r\n\r\n".encode())
    head, _, body = received.partition(b"\r\n\r\n")
    assert (head[:10], body) in ((b"HTTP/1.1 4", b""), (b"HTTP/1.1 5", b""))
    assert logs == []


def test_a_method_that_is_not_allowed_names_the_one_that_is(service: AuthZenService) -> None:
    """A 405 says which method is taken; an answer to HEAD has no body."""
    assert service.request("DELETE", EVALUATION).headers["allow"] == "POST"
    response = service.request("HEAD", EVALUATION)
    assert (response.status, response.body) == (405, b"")


def test_chunks(service: AuthZenService) -> None:
    """A body in chunks, down to single bytes, is read as one."""
    for size in (1, 7, 1_000):
        parts = "".join(chunk(BODY[at : at + size]) for at in range(0, len(BODY), size))
        received = service.raw(
            f"{HEAD}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{parts}0\r\n\r\n".encode()
        )
        assert b" 200 " in received.split(b"\r\n")[0]


def test_old_clients(service: AuthZenService) -> None:
    """HTTP/1.0 is answered, and the connection closed."""
    text = f"POST {EVALUATION} HTTP/1.0\r\nContent-Type: application/json\r\n{LENGTH}\r\n{BODY}"
    assert b'"decision":true' in service.raw(text.encode())


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_no_other_protocol(service: AuthZenService, protocol: str) -> None:
    """An offer to speak something else is passed over, and the question is answered as it stands."""
    offer = f"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABk\r\n"
    received = service.raw(f"{HEAD}{offer}{LENGTH}\r\n{BODY}".encode())
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [b"200"]


def test_the_same_length_twice(service: AuthZenService) -> None:
    """A length that is said twice, and the same, is one length."""
    received = service.raw(f"{HEAD}{LENGTH}{LENGTH}\r\n{BODY}".encode())
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [b"200"]


def test_continue(service: AuthZenService) -> None:
    """A body that waits to be asked for is asked for once the caller is admitted, and not before."""
    with service.socket() as peer:
        peer.sendall(f"{HEAD}Connection: close\r\nExpect: 100-continue\r\n{LENGTH}\r\n".encode())
        assert peer.recv(1_000).startswith(b"HTTP/1.1 100 ")
        peer.sendall(BODY.encode())
        assert b'"decision":true' in read_all(peer)
    with service.socket() as peer:
        peer.sendall(f"POST /nowhere HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{LENGTH}\r\n".encode())
        assert peer.recv(1_000).startswith(b"HTTP/1.1 404 ")


def test_one_after_another(service: AuthZenService) -> None:
    """One connection serves many requests, mistakes among them."""
    connection = service.connection()
    headers = {"Content-Type": "application/json"}
    statuses = []
    for body, path in ((BODY, EVALUATION), ("{", EVALUATION), (BODY, "/nowhere"), (BODY, EVALUATION)) * 3:
        connection.request("POST", path, body, headers)
        statuses.append(answer(connection.getresponse()).status)
    connection.close()
    assert statuses == [200, 400, 404, 200] * 3


def test_pipelined(service: AuthZenService) -> None:
    """Requests that come at once are answered in order, up to the first that is none."""
    good = f"{HEAD}{LENGTH}\r\n{BODY}"
    received = service.raw(f"{good}{good}junk\r\n\r\n{good}".encode())
    assert re.findall(rb"HTTP/1\.1 (\d+) ", received) == [b"200", b"200", b"400"]


def test_a_refused_body_is_no_request(service: AuthZenService) -> None:
    """What follows a refused head is never taken for the next request."""
    hidden = f"{HEAD}{LENGTH}\r\n{BODY}"
    text = f"POST {EVALUATION} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 90000\r\n\r\n{hidden}"
    before = len(service.log.records)
    received = service.raw(text.encode())
    assert received.count(b"HTTP/1.1 ") == 1
    assert len(service.log.records) == before


def test_a_great_body_gets_its_answer(service: AuthZenService) -> None:
    """A caller that sends far too much still learns why it was refused."""
    assert service.ask(EVALUATION, b"{" * 1_000_000).error["status"] == 413


def test_request_ids_of_what_was_not_read(service: AuthZenService) -> None:
    """A refusal before the body was read has the request's id too."""
    response = service.ask(EVALUATION, b"{" * 200_000, X_Request_ID="big-1")
    assert response.headers["x-request-id"] == "big-1"
