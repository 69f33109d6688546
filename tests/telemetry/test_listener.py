"""What hostile peers do to the listener: each ends in a refusal, and probes are answered afterwards."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pdp.errors import ConfigError
from pdp.observing.health import Health
from pdp.observing.probes import Probes, observed
from pdp.servicers.gateways import authzen_server
from pdp.servicers.gateways.authzen_connection import Head, Response
from pdp.telemetry.metrics import Metrics
from pdp.telemetry.readings import Reading, exposition
from pdp.telemetry.scope import Asked, CallScope, Decided
from tests.grpc.service import configuration
from tests.telemetry.world import connected, get
from tests.waiting import wait_until

#: The connections that there may be.
MOST = 64


class Told:
    """Says what a test has it say."""

    def __init__(self) -> None:
        self.state = Health()
        self.metrics = Metrics()
        self.failure: Exception | None = None

    def health(self) -> Health:
        """As set."""
        return self.state

    def readings(self) -> list[Reading]:
        """What was counted, or the failure."""
        if self.failure is not None:
            raise self.failure
        return self.metrics.readings()


@pytest.fixture
def told() -> Told:
    """What there is to tell."""
    return Told()


@pytest.fixture
def address(told: Told) -> Iterator[str]:
    """A listener, which must answer after whatever was done to it."""
    with observed("127.0.0.1:0", told) as found:
        yield found
        wait_until(lambda: _answers(found), "a probe that is answered")


def _answers(address: str) -> bool:
    try:
        return get(address, "/livez").status == 200
    except OSError:
        return False


def sent(address: str, *parts: bytes) -> bytes:
    """What comes back for these bytes until the listener closes."""
    with connected(address) as peer:
        for part in parts:
            try:
                peer.sendall(part)
            except OSError:
                break
        peer.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while data := peer.recv(65_536):
                found += data
        except ConnectionResetError:
            pass
        return found


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/metrics/", "/metrics/x", "//metrics", "/./metrics", "/../metrics", "/x/../metrics", "/METRICS"),
        *("/%6detrics", "/metrics%00", "/metrics;x", "/livez.", "/debug/pprof", "/.env", "*", "/" + "a" * 8_000),
    ],
)
def test_only_three_paths_are_there(address: str, path: str) -> None:
    """Anything but the three paths, however it is written, is not there, and is not repeated in the answer."""
    reply = get(address, path)
    assert reply.status == 404
    assert len(reply.body) < 100


def test_a_query_changes_nothing(address: str) -> None:
    """What is behind a question mark is passed over."""
    assert get(address, "/livez?verbose=1").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz"])
def test_it_can_only_be_read(address: str, path: str, method: str) -> None:
    """Methods that could change something are refused, and it is said which are not."""
    reply = get(address, path, method)
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz"])
def test_head_is_get_without_a_body(address: str, path: str) -> None:
    """HEAD has the status and no body."""
    reply = get(address, path, "HEAD")
    assert (reply.status, reply.body) == (200, b"")


HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("no request", b"hello\r\n\r\n", b" 400 "),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", b" 400 "),
        ("huge header", b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", b" 431 "),
        ("many headers", b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", b" 431 "),
        ("huge line", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", b" 431 "),
        ("smuggled", HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b" 400 "),
        ("folded", b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", b" 400 "),
        ("endless body", HEAD.replace(b"GET", b"POST") + b"Content-Length: 99999999999\r\n\r\n" + b"0" * 99, b" 405 "),
    ],
)
def test_what_is_no_small_request_is_refused(address: str, name: str, data: bytes, status: bytes) -> None:
    """A request that is broken, or too large, gets an error and the end of its connection."""
    head = sent(address, data).partition(b"\r\n")[0]
    # Reset by the end of what was never read, the answer may be lost on its way; nothing else may come.
    assert status in head or not head, head


def test_a_slow_peer_holds_up_nobody(address: str) -> None:
    """A request that never ends keeps nobody else from being answered."""
    with connected(address) as slow:
        slow.sendall(b"GET /met")
        assert get(address, "/readyz").status == 200
        slow.settimeout(20)
        # Its own time is short.
        assert b" 408 " in slow.recv(65_536)


def test_a_thousand_connections(address: str) -> None:
    """Of more connections than there may be the oldest are closed; when all are gone, everything is as before."""
    peers: list[socket.socket] = []
    try:
        peers.extend(connected(address) for _ in range(1_000))
    finally:
        for peer in peers:
            peer.close()


@contextmanager
def held(address: str, count: int, begun: bytes) -> Iterator[list[socket.socket]]:
    """Connections that have sent this much, and nothing else."""
    with ExitStack() as stack:
        peers = [stack.enter_context(connected(address)) for _ in range(count)]
        for peer in peers:
            with suppress(OSError):
                peer.sendall(begun)
        yield peers


@pytest.mark.parametrize("begun", [b"", b"G", HEAD], ids=["silent", "one byte", "a head without its end"])
def test_connections_that_ask_nothing_hold_up_no_probe(address: str, begun: bytes) -> None:
    """However many connections are open and wait, or send a head that never ends, each probe gets its answer."""
    with held(address, 200, begun):
        for path in ("/livez", "/readyz", "/metrics"):
            assert get(address, path).status == 200


def test_who_lost_its_place_is_not_answered(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To refuse those who had to go would keep the probes waiting that came instead."""
    refused: list[int] = []

    def refuse(probes: Probes, status: int, message: str, head: Head | None) -> Response:
        refused.append(status)
        time.sleep(0.05)
        return Response(status, (), message.encode())

    monkeypatch.setattr(Probes, "refuse", refuse)
    with held(address, 4 * MOST, b"G"):
        assert get(address, "/livez").status == 200
        assert not refused


def test_a_flood_turns_no_probe_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where those who lost their places are not gone yet, who comes waits for one of them to go."""
    hold = authzen_server.HttpServer._hold

    async def hold_longer(*arguments: Any) -> None:
        await hold(*arguments)
        await asyncio.sleep(0.01)

    monkeypatch.setattr(authzen_server, "_LEAVING", 1)
    monkeypatch.setattr(authzen_server.HttpServer, "_hold", hold_longer)
    with held(address, 4 * MOST, b"G"):
        for path in ("/livez", "/readyz", "/metrics"):
            assert get(address, path).status == 200


def test_a_head_that_drips_keeps_no_place(address: str) -> None:
    """Bytes that come one by one do not make a connection younger than a probe that comes after it."""
    with held(address, MOST, HEAD) as peers:
        for _ in range(3):
            for peer in peers:
                with suppress(OSError):
                    peer.sendall(b"X")
            assert get(address, "/livez").status == 200
            assert get(address, "/readyz").status == 200


def test_connections_that_ask_nothing_are_bounded(address: str) -> None:
    """The oldest ones go when others come: there are never more of them than places."""
    with held(address, 4 * MOST, b"") as peers:
        wait_until(lambda: sum(map(_is_open, peers)) <= MOST, "the oldest connections to be closed")
        assert _is_open(peers[-1])
        assert not _is_open(peers[0])


def _is_open(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_at_the_same_time(address: str) -> None:
    """Scrapers that come together all get the whole of it."""
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(get(address, "/metrics").status)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 20


def test_reasons_cannot_forge_lines(told: Told, address: str) -> None:
    """What is wrong is told in one line each, whatever it says, and not at any length."""
    told.state = Health(("bad\nready\r\n\x1b[2J",), ("x" * 100_000, *["more"] * 1_000))
    reply = get(address, "/readyz")
    assert reply.status == 503
    lines = reply.text.splitlines()
    assert lines[0] == "not ready"
    assert "ready" not in lines
    assert "\x1b" not in reply.text
    assert len(reply.body) < 20_000


def test_names_cannot_forge_metrics(told: Told) -> None:
    """A name with quotes and line ends in a label is one label of one metric, and is no longer than names are."""
    name = 'x"} 1\npdp_ready 1\npdp_evil{a="\\' + "y" * 10_000
    scope = CallScope(name, told.metrics)
    decided = Decided("decide", "1", False, "CODE\n", "r", "", "", None)
    scope.decide(decided, (Asked(name, False, "pass", "", 1),))
    told.metrics.rpc_errors.add(name, name)
    text = exposition(told.readings()).decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert "pdp_evil" not in found
    assert "pdp_ready" not in found
    [sample] = found["pdp_interceptor_outcomes"].samples
    assert sample.labels["interceptor"] == name[:128]


def test_names_without_end_are_bounded(told: Told) -> None:
    """However many names there are over time, a metric has a bounded number of figures."""
    for number in range(3_000):
        told.metrics.interceptors.add(f"i{number}", "enforce", "pass", "")
        told.metrics.interceptor_seconds.add(1, f"i{number}")
    for reading in told.readings():
        assert len(reading.figures) <= 1_001 * 17
    [counts] = [reading for reading in told.readings() if reading.name == "pdp_interceptor_outcomes_total"]
    assert sum(counts.figures.values()) == 3_000


def test_a_bug_tells_nothing(told: Told, address: str) -> None:
    """An unexpected failure is an error with an id; its text is for the log."""
    told.failure = RuntimeError("hunter2")
    reply = get(address, "/metrics")
    assert reply.status == 500
    assert "hunter2" not in reply.text
    told.failure = None


def test_the_boundary_never_raises(told: Told) -> None:
    """The application answers whatever it is given."""
    told.failure = MemoryError()
    found = Probes(told).admit(Head("GET", "/metrics", (), (), 0.0))
    assert isinstance(found, Response)
    assert found.status == 500
    assert Probes(told).refuse(400, "no", None).status == 400


@pytest.mark.parametrize("listen", ["0.0.0.0:9", "[::]:9", "10.0.0.1:9", "example.com:9", "unix:/run/x", "nowhere"])
def test_other_machines_only_on_purpose(tmp_path: Path, listen: str) -> None:
    """An address that other machines can reach, or that is none, is refused unless the configuration says so."""
    with pytest.raises(ConfigError):
        configuration(tmp_path, {"telemetry": {"listen": listen}})


def test_other_machines_on_purpose(tmp_path: Path) -> None:
    """With `allow_network` it may be any address."""
    listen = {"listen": "0.0.0.0:9464", "allow_network": True}
    assert configuration(tmp_path, {"telemetry": listen}).telemetry.listen == "0.0.0.0:9464"


def test_an_address_that_is_taken(address: str) -> None:
    """Where nobody can listen, the service does not start."""
    with pytest.raises(ConfigError, match="cannot listen"), observed(address, Told()):
        pass
