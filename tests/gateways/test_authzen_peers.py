"""Peers that take their time, come in numbers, or are there when the service stops."""

from __future__ import annotations

import gc
import http.client
import json
import select
import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from pdp.servicers.gateways.authzen import Decisions
from pdp.servicers.gateways.authzen_connection import ConnectionLimits, Head, Response
from pdp.servicers.gateways.authzen_server import HttpServer, ServerOptions, TlsContexts
from pdp.tls import ServerCertificate, TlsFiles
from tests.certificates import Authority
from tests.gateways.authzen_service import (
    BODY,
    EVALUATION,
    EVALUATIONS,
    HEAD,
    LENGTH,
    TIMEOUT_SECONDS,
    AuthZenService,
    answer,
    asked,
    read_all,
    serving,
)
from tests.waiting import wait_until

SLOW: dict[str, bytes] = {
    "half a head": HEAD.encode(),
    "half a body": f"{HEAD}{LENGTH}\r\n{BODY[:-1]}".encode(),
    "half a chunk": f"{HEAD}Transfer-Encoding: chunked\r\n\r\nff\r\nx".encode(),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_requests(name: str) -> None:
    """A request that does not come to its end in time is refused, and the connection closed."""
    with serving(connection={"request_seconds": 0.2}) as service, service.socket() as peer:
        peer.sendall(SLOW[name])
        assert read_all(peer).startswith(b"HTTP/1.1 408 ")
        assert service.log.records == []


def test_drips() -> None:
    """Bytes that come one by one do not buy time: the request as a whole has an end."""
    with serving(connection={"request_seconds": 0.3}) as service, service.socket() as peer:
        peer.settimeout(0.02)
        received = b""
        for byte in (f"{HEAD}{LENGTH}\r\n{BODY}".encode() * 10)[:1_000]:
            try:
                peer.sendall(bytes([byte]))
                received += peer.recv(1_000)
            except TimeoutError:
                continue
            except OSError:
                break
            if received:
                break
        assert received.startswith(b"HTTP/1.1 408 ")


def test_idle_connections() -> None:
    """A connection on which nothing comes, first or next, is closed without a word."""
    with serving(connection={"idle_seconds": 0.2}) as service:
        with service.socket() as peer:
            assert read_all(peer) == b""
        with service.socket() as peer:
            peer.sendall(f"{HEAD}{LENGTH}\r\n{BODY}".encode())
            assert read_all(peer).count(b"HTTP/1.1 ") == 1


def test_connections_that_never_begin() -> None:
    """A connection that has asked nothing yet may not wait as long as one between two requests."""
    with serving(connection={"request_seconds": 0.2, "idle_seconds": 3_600}) as service, service.socket() as peer:
        assert read_all(peer) == b""


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "TLS"])
def test_peers_that_do_not_read(encrypted: bool, tmp_path: Path) -> None:
    """A peer that does not take its answer is let go, so that it holds no connection."""
    long = {"policies/a.cedar": f'@note("{"x" * 100_000}") permit(principal, action, resource);'}
    authority = Authority()
    tls = TlsContexts(_certificate(authority, tmp_path)) if encrypted else None
    # Of what is encrypted only the last part is seen to stay behind, so there the time between two requests counts too.
    times = {"request_seconds": 0.5, "idle_seconds": 0.5 if encrypted else 3_600}
    with serving(long, connection=times, options=ServerOptions(connections=1), tls=tls) as service:
        service.client_tls = ssl.create_default_context(cadata=authority.pem.decode()) if encrypted else None
        document = {**asked(), "evaluations": [{}] * 300}
        held = service.connection()
        held.request("POST", EVALUATIONS, json.dumps(document), {"Content-Type": "application/json"})
        wait_until(lambda: _answers(service), "the only place to be free again")
        held.close()


def _certificate(authority: Authority, directory: Path) -> ServerCertificate:
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    return ServerCertificate(TlsFiles(Path(certificate), Path(key), None))


def _answers(service: AuthZenService) -> bool:
    try:
        return service.ask(EVALUATION, asked()).decision
    except OSError:
        return False


def test_too_many_connections() -> None:
    """While all places are taken by requests that are answered, further connections are closed at once."""
    held: list[Held] = []

    def hold(inner: Decisions) -> Held:
        held.append(Held(inner))
        return held[0]

    with serving(around=hold, options=ServerOptions(connections=2)) as service:
        busy = [service.connection(), service.connection()]
        for connection in busy:
            connection.request("POST", EVALUATION, BODY, {"Content-Type": "application/json"})
        wait_until(lambda: held[0].waiting == 2, "both to be asked")
        with service.socket() as third:
            assert _read_or_reset(third) == b""
        held[0].release.set()
        assert all(answer(connection.getresponse()).decision for connection in busy)
        # Between two requests a connection gives its place to one that has something to ask.
        assert _answers(service)
        for connection in busy:
            connection.close()


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "TLS"])
def test_connections_that_wait_give_their_places(encrypted: bool, tmp_path: Path) -> None:
    """Peers that are silent, in the middle of a head, or idle keep nobody from asking; the oldest of them go."""
    authority = Authority()
    tls = TlsContexts(_certificate(authority, tmp_path)) if encrypted else None
    with serving(tls=tls, options=ServerOptions(connections=8)) as service, ExitStack() as stack:
        silent = [stack.enter_context(service.socket()) for _ in range(50)]
        for peer in silent[::2]:
            with suppress(OSError):
                peer.sendall(HEAD.encode())
        service.client_tls = ssl.create_default_context(cadata=authority.pem.decode()) if encrypted else None
        for _ in range(20):
            idle = service.connection()
            stack.callback(idle.close)
            assert _status(idle) == 200


def test_strangers_do_not_drive_out_callers() -> None:
    """Connections of callers that were admitted stay open while others come and go, but for a quarter of all places."""
    with serving(options=ServerOptions(connections=8)) as service, ExitStack() as stack:
        known = [service.connection() for _ in range(8)]
        for connection in known:
            stack.callback(connection.close)
            assert _status(connection) == 200
        for _ in range(100):
            stack.enter_context(service.socket())
        wait_until(lambda: all(_is_closed(connection) for connection in known[:2]), "the oldest to be closed")
        sockets = [connection.sock for connection in known[2:]]
        assert [_status(connection) for connection in known[2:]] == [200] * 6
        assert [connection.sock for connection in known[2:]] == sockets


def _is_closed(connection: http.client.HTTPConnection) -> bool:
    ready, _, _ = select.select([connection.sock], [], [], 0)
    return bool(ready)


def test_a_flood_of_connections() -> None:
    """Hundreds of connections beyond the limit do not keep one that is held from its answers."""
    with serving(options=ServerOptions(connections=2)) as service:
        held = service.connection()
        statuses = [_status(held)]
        flood = [threading.Thread(target=_knock, args=[service]) for _ in range(4)]
        for thread in flood:
            thread.start()
        statuses += [_status(held) for _ in range(20)]
        for thread in flood:
            thread.join()
        held.close()
        assert statuses == [200] * 21


def _status(connection: http.client.HTTPConnection) -> int:
    connection.request("POST", EVALUATION, BODY, {"Content-Type": "application/json"})
    return answer(connection.getresponse()).status


def _knock(service: AuthZenService) -> None:
    for _ in range(100):
        try:
            service.socket().close()
        except OSError:
            continue


def _read_or_reset(peer: socket.socket) -> bytes:
    try:
        return read_all(peer)
    except ConnectionResetError:
        return b""


def test_silent_peers_of_tls(tmp_path: Path) -> None:
    """Peers that never greet hold nobody up: others get their answers meanwhile, and the silent ones are let go."""
    authority = Authority()
    contexts = TlsContexts(_certificate(authority, tmp_path))
    with serving(tls=contexts, connection={"request_seconds": 1.0}) as service:
        silent = [service.socket() for _ in range(20)]
        service.client_tls = ssl.create_default_context(cadata=authority.pem.decode())
        assert service.ask(EVALUATION, asked()).decision is True
        for peer in silent:
            assert _read_or_reset(peer) == b""
            peer.close()


# --- the end ---------------------------------------------------------------------------------------------------------


class Held:
    """Stands before the service and waits while it is held."""

    def __init__(self, inner: Decisions) -> None:
        self.Decide = inner.Decide
        self.FilterTools = inner.FilterTools
        self._inner = inner
        self.entered = threading.Event()
        self.waiting = 0
        self.release = threading.Event()

    def Authorize(self, request: Any, call: Any) -> Any:
        """Later."""
        self.entered.set()
        self.waiting += 1
        assert self.release.wait(TIMEOUT_SECONDS)
        return self._inner.Authorize(request, call)


def test_drain() -> None:
    """While the service stops, what is being answered is answered, and nothing else is taken."""
    held: list[Held] = []

    def hold(inner: Decisions) -> Held:
        held.append(Held(inner))
        return held[0]

    with serving(around=hold) as service:
        idle, busy = service.connection(), service.connection()
        idle.connect()
        busy.request("POST", EVALUATION, BODY, {"Content-Type": "application/json"})
        assert held[0].entered.wait(TIMEOUT_SECONDS)
        stopping = threading.Thread(target=service.server.stop)
        stopping.start()
        assert idle.sock.recv(1) == b""
        with pytest.raises(OSError, match=r"(?i)refused|reset"):
            service.ask(EVALUATION, asked())
        held[0].release.set()
        response = answer(busy.getresponse())
        assert response.decision is True
        assert response.headers["connection"] == "close"
        stopping.join()
        idle.close()
        busy.close()


def test_the_drain_has_an_end() -> None:
    """A peer that sends half a request does not keep the service from stopping."""
    with serving(options=ServerOptions(drain_seconds=0.2)) as service, service.socket() as peer:
        peer.sendall(HEAD.encode())
        service.server.stop()
        assert _read_or_reset(peer) == b""


def test_the_drain_does_not_wait_for_a_greeting(tmp_path: Path) -> None:
    """A peer that never begins with TLS does not keep the service from stopping either."""
    tls = TlsContexts(_certificate(Authority(), tmp_path))
    with serving(tls=tls, options=ServerOptions(drain_seconds=0.2)) as service, service.socket() as peer:
        service.server.stop()
        assert _read_or_reset(peer) == b""


def test_greetings_while_the_service_stops(tmp_path: Path) -> None:
    """A connection whose TLS is ready only when the service stops is closed, and not waited for."""
    authority = Authority()
    tls = TlsContexts(_certificate(authority, tmp_path))
    times, options = {"request_seconds": 3_600, "idle_seconds": 3_600}, ServerOptions(drain_seconds=3_600)
    with serving(tls=tls, connection=times, options=options) as service, service.socket() as late:
        service.client_tls = ssl.create_default_context(cadata=authority.pem.decode())
        # Connections are taken in order, so the first one is there when another one was answered.
        assert service.ask(EVALUATION, asked()).decision is True
        stopping = threading.Thread(target=service.server.stop)
        stopping.start()
        with service.client_tls.wrap_socket(late, server_hostname="127.0.0.1") as peer:
            assert _read_or_reset(peer) == b""
        stopping.join()


class Closed:
    """Answers everything in the same way."""

    def admit(self, head: Head) -> Response:
        """The answer."""
        return Response(404, (), b"")

    def refuse(self, status: int, message: str, head: Head | None) -> Response:
        """The answer to what is no request."""
        return Response(status, (), b"")


def test_connections_that_come_at_the_end() -> None:
    """A connection that is taken while the service stops is closed like any other; no socket stays behind."""
    for _ in range(50):
        server = HttpServer("127.0.0.1:0", ConnectionLimits(1_000), ServerOptions(drain_seconds=0.1))
        server.start(Closed())
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as peer:
            server.stop()
            assert _read_or_reset(peer) == b""
    # A socket that nobody closed is a warning of the collector, and here that is an error.
    gc.collect()
