"""A real Envoy with the example's configuration: ways of HTTP in which a call could slip through unseen."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import http2
from tests.gateways.envoy import configured, running_envoy
from tests.gateways.raw import call, note, request, result, send, send_bytes, serving_upstream
from tests.gateways.worlds import ENVOY, World, killable, opened
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.usefixtures("real_envoy")]

OK = 200
EVENTS = "text/event-stream"


@pytest.fixture(scope="module")
def shared(real_envoy: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("envoy")) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.upstream.reset()
    return shared


HIDDEN, JSON = call("hidden"), "content-type: application/json"
NOTE = note("notifications/progress", progressToken=1, progress=1)
LENGTH = f"content-length: {len(HIDDEN)}"


def chunked(body: bytes, *trailers: str) -> bytes:
    """A body in two chunks."""
    middle = len(body) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:middle], body[middle:]))
    return chunks + b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"


#: Requests that carry a call which no policy permits.
DENIED = {
    "as usual": request(HIDDEN, JSON, LENGTH),
    "chunked": request(chunked(HIDDEN), JSON, "transfer-encoding: chunked"),
    "chunked with trailers": request(chunked(HIDDEN, "x-agent: admin"), JSON, "transfer-encoding: chunked"),
    "chunked and with a length": request(chunked(HIDDEN), JSON, LENGTH, "transfer-encoding: chunked"),
    "compressed on the way": request(chunked(HIDDEN), JSON, "transfer-encoding: gzip, chunked"),
    "after a promise": request(HIDDEN, JSON, LENGTH, "expect: 100-continue"),
    "with another promise": request(HIDDEN, JSON, LENGTH, "expect: 200-ok"),
    "as HTTP/1.0": request(HIDDEN, JSON, LENGTH, line="POST /mcp HTTP/1.0"),
    "two content types": request(HIDDEN, "content-type: text/plain", JSON, LENGTH),
    "two encodings": request(HIDDEN, JSON, LENGTH, "content-encoding: identity", "content-encoding: gzip"),
    "a websocket": request(HIDDEN, JSON, LENGTH, "connection: upgrade", "upgrade: websocket"),
    "an upgrade": request(HIDDEN, JSON, LENGTH, "connection: upgrade, http2-settings", "upgrade: h2c"),
    "more than it says": request(call(), JSON, f"content-length: {len(call())}") + request(HIDDEN, JSON, LENGTH),
    "an absolute target": request(HIDDEN, JSON, LENGTH, line="POST http://tools.example/mcp HTTP/1.1"),
    "another method in a header": request(HIDDEN, JSON, LENGTH, "x-http-method-override: DELETE"),
    "no agent, but a trailer": request(chunked(HIDDEN, "x-agent: coder"), JSON, "transfer-encoding: chunked"),
}
DENIED |= {
    f"the path `{path}`": request(HIDDEN, JSON, LENGTH, line=f"POST {path} HTTP/1.1")
    for path in (
        "/mcp/",
        "/MCP",
        "//mcp",
        "/x/../mcp",
        "/mcp%2f",
        "/%6dcp",
        "/mcp;x",
        "/mcp?x=1",
        "/./mcp",
        "/mcp/../x",
    )
}
DENIED |= {
    f"the method {method}": request(HIDDEN, JSON, LENGTH, line=f"{method} /mcp HTTP/1.1")
    for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "CONNECT", "post", "QUERY", "X")
}


@pytest.mark.parametrize("sent", DENIED.values(), ids=DENIED)
def test_a_denied_call_reaches_the_server_in_no_disguise(world: World, sent: bytes) -> None:
    """However a call that is denied is wrapped in HTTP, the server does not get it."""
    answer = send_bytes(world.address, sent)
    assert HIDDEN not in world.upstream.bodies
    assert len(world.upstream.requests) <= (call() in world.upstream.bodies)
    assert answer == b"" or answer.startswith(b"HTTP/1.")


ALLOWED = {
    "chunked": request(chunked(call()), JSON, "transfer-encoding: chunked"),
    "after a promise": request(call(), JSON, f"content-length: {len(call())}", "expect: 100-continue"),
    "in UTF-8": request(call(), "content-type: application/json; charset=UTF-8", f"content-length: {len(call())}"),
}


@pytest.mark.parametrize("sent", ALLOWED.values(), ids=ALLOWED)
def test_an_allowed_call_passes_in_every_wrapping(world: World, sent: bytes) -> None:
    """Chunks, a promise and a named UTF-8 are no reason to refuse."""
    assert send_bytes(world.address, sent).endswith(result() + b"\r\n0\r\n\r\n")
    assert world.upstream.bodies == [call()]


#: Bodies that say one thing in UTF-8 and could say another to a server that goes by the header.
FOREIGN = {
    "UTF-16": (call().decode().encode("utf-16"), "application/json; charset=utf-16"),
    "UTF-16 unsaid": (call().decode().encode("utf-16"), "application/json"),
    "UTF-7": (call("+AGgAaQBkAGQAZQBu-"), "application/json; charset=utf-7"),
    "UTF-7 beside UTF-8": (call(), "application/json; charset=utf-8; charset=utf-7"),
    "quoted": (call(), 'application/json; charset="utf-7"'),
    "a second type": (call(), "application/json; x, text/plain"),
    "a byte order mark": (b"\xef\xbb\xbf" + call(), "application/json"),
    "a byte that is no text": (call(x="?").replace(b"?", b"\xff"), "application/json"),
    "an overlong byte": (call(x="?").replace(b"?", b"\xc0\xaf"), "application/json"),
    "half a pair": (call(x="?").replace(b"?", b"\\ud800"), "application/json"),
}


@pytest.mark.parametrize(("body", "content_type"), FOREIGN.values(), ids=FOREIGN)
def test_another_encoding_is_refused(world: World, body: bytes, content_type: str) -> None:
    """A call that is not UTF-8, or is declared as anything else, goes no further: a server could read another one."""
    assert send(world.address, body, content_type=content_type).error
    assert world.upstream.requests == []


def test_answers_in_another_encoding_are_not_passed_on(world: World) -> None:
    """An answer that is declared as anything but UTF-8 could say to an agent what no interceptor saw."""
    for kind, part in (("application/json", result("mark")), (EVENTS, b"data: %s\n\n" % result("mark"))):
        world.upstream.answers(part, content_type=f"{kind}; charset=utf-7")
        assert b"mark" not in send(world.address, call()).body


def test_http_2_is_decided_about(world: World) -> None:
    """HTTP/2 is no way around: an allowed call passes, a denied one does not."""
    body = call()
    frames = (http2.head(http2.POST), http2.data(body[:9]), http2.data(body[9:], http2.END_STREAM))
    assert http2.converse(world.address, *frames) == result()
    assert world.upstream.bodies == [body]
    told = http2.converse(world.address, http2.head(http2.POST), http2.data(HIDDEN, http2.END_STREAM))
    assert b'"isError":true' in told
    assert world.upstream.bodies == [body]


BROKEN_FRAMES = {
    "trailers": (http2.head(http2.POST), http2.data(call()), http2.head((("x-a", "b"),), http2.END_STREAM)),
    "a length that is too short": (
        http2.head((*http2.POST, ("content-length", "9"))),
        http2.data(call(), http2.END_STREAM),
    ),
    "a length that is too long": (
        http2.head((*http2.POST, ("content-length", "9999"))),
        http2.data(call(), http2.END_STREAM),
    ),
    "no body": (http2.head(http2.POST, http2.END_STREAM),),
    "a body after the end": (http2.head(http2.POST, http2.END_STREAM), http2.data(call(), http2.END_STREAM)),
    "a method twice": (
        http2.head((*http2.POST, (":method", "DELETE"))),
        http2.data(call(), http2.END_STREAM),
    ),
}


@pytest.mark.parametrize("frames", BROKEN_FRAMES.values(), ids=BROKEN_FRAMES)
def test_frames_that_do_not_fit_are_refused(world: World, frames: tuple[bytes, ...]) -> None:
    """A request of HTTP/2 whose body is not one whole message by its frames does not reach the server."""
    http2.converse(world.address, *frames)
    assert world.upstream.requests == []


def test_a_message_that_the_service_does_not_take_is_denied(tmp_path: Path) -> None:
    """A call that is larger than what the service takes over gRPC is denied, though Envoy sees the stream end."""
    with opened(tmp_path, limits={"message_bytes": 16_384}) as world:
        assert send(world.address, call()).status == OK
        for _ in range(20):
            assert send(world.address, call(x="x" * 60_000)).status >= 400
        assert world.upstream.bodies == [call()]


def test_a_body_that_does_not_come_makes_room(tmp_path: Path) -> None:
    """An agent that begins a request and sends no body keeps its place for no longer than Envoy waits."""
    change = ("request_timeout: 30s", "request_timeout: 2s")
    with opened(tmp_path, change, envoy={**ENVOY, "streams": 1}) as world:
        started = request(b"", JSON, "content-length: 99")
        assert b" 408 " in send_bytes(world.address, started).splitlines()[0]
        assert send(world.address, call()).status == OK


def test_an_agent_that_is_gone_makes_room(tmp_path: Path) -> None:
    """A result on which nothing is said any more keeps its place for no longer than Envoy waits."""
    change = ("stream_idle_timeout: 900s", "stream_idle_timeout: 2s")
    with opened(tmp_path, change, envoy={**ENVOY, "streams": 1}) as world:
        world.upstream.answers(b"data: %s\n\n" % NOTE, b"data: %s\n\n" % result(), content_type=EVENTS)
        world.upstream.go_on.clear()
        broken_off = send_bytes(world.address, request(call(), JSON, f"content-length: {len(call())}"))
        assert NOTE in broken_off
        assert b"done" not in broken_off
        world.upstream.reset()
        wait_until(lambda: send(world.address, call()).status == OK, "room for another stream")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_service_that_goes_takes_open_results_with_it(tmp_path: Path, how: signal.Signals) -> None:
    """What a server says after the service went away does not reach the agent on a stream that was open already."""
    with serving_upstream() as upstream, killable(tmp_path) as (process, pdp):
        upstream.answers(b"data: %s\n\n" % NOTE, b"data: %s\n\n" % result("mellon"), content_type=EVENTS)
        upstream.go_on.clear()
        with running_envoy(tmp_path, configured(upstream.port, int(pdp.rpartition(":")[2]))) as address:
            connection = http.client.HTTPConnection(address, timeout=60)
            headers = {"content-type": "application/json", "x-agent": "coder"}
            connection.request("POST", "/mcp", call("secret"), headers)
            response = connection.getresponse()
            assert response.readline() == b"event: message\n"
            process.send_signal(how)
            process.wait(30)
            threading.Timer(0.2, upstream.go_on.set).start()
            try:
                rest = response.read()
            except (OSError, http.client.HTTPException) as error:
                rest = getattr(error, "partial", b"")
            connection.close()
            assert b"mellon" not in rest
