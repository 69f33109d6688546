"""Connections that are too many, too slow, or half open: they stop nobody else, and nothing of them stays."""

from __future__ import annotations

import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bundles import write_bundle
from tests.faults.load import load, until
from tests.faults.worlds import files
from tests.gateways.http2 import head
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]

_FLOOD = 200
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04\0" + bytes(4)
_CALL = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/pdp.v1.DecisionService/Authorize"),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
#: The beginning of a connection, by how far it gets.
_SILENT = {
    "nothing": b"",
    "half a preface": _PREFACE[:11],
    "no settings": _PREFACE[:24],
    "an open call": _PREFACE + head(_CALL),
    "half a frame": _PREFACE + head(_CALL) + b"\0\0\x20\0\0\0\0\0\x01\0\0\0\0\x1b",
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Fleet]:
    """Two workers that serve."""
    bundle = write_bundle(tmp_path / "bundle", files())
    with fleet(bundle, tmp_path, DECISION_LOG__SINK="none") as found:
        found.whole()
        yield found


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), 30)


def _reset(connection: socket.socket) -> None:
    """Close with a reset, as a peer that crashed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("kind", _SILENT)
def test_connections_that_say_nothing_stop_nobody(running: Fleet, kind: str) -> None:
    """Hundreds of connections that stop in the middle leave the callers alone, and are gone when they close."""
    workers = running.whole()
    with load(running.address) as asking, ExitStack() as flood:
        before = sum(map(_open_files, workers))
        for _ in range(_FLOOD):
            flood.enter_context(_connect(running.address)).sendall(_SILENT[kind])
        wait_until(lambda: sum(map(_open_files, workers)) >= before + _FLOOD - 10, "all connections")
        for _ in until(1):
            asking.go_on()
        flood.close()
        wait_until(lambda: sum(map(_open_files, workers)) < before + _FLOOD / 4, "the end of the connections")
        asking.go_on()
    assert asking.outcome.failures == []
    assert running.whole() == workers


def test_bytes_that_come_one_by_one_stop_nobody(running: Fleet) -> None:
    """Connections that send a call a byte at a time take no thread: more of them than threads leave callers alone."""
    call = _SILENT["half a frame"]
    with load(running.address) as asking, ExitStack() as stack:
        slow = [stack.enter_context(_connect(running.address)) for _ in range(50)]
        for byte in call:
            for connection in slow:
                connection.sendall(bytes([byte]))
        for _ in until(1):
            asking.go_on()
    assert asking.outcome.failures == []


def test_connections_that_come_and_go_leave_nothing(running: Fleet) -> None:
    """Connections that are reset as soon as they are there, in the middle of a call too, leave no open file behind."""
    workers = running.whole()
    with load(running.address) as asking:
        before = sum(map(_open_files, workers))
        for _ in until(1):
            for beginning in _SILENT.values():
                for _ in range(20):
                    connection = _connect(running.address)
                    connection.sendall(beginning)
                    _reset(connection)
        wait_until(lambda: sum(map(_open_files, workers)) < before + 40, "the end of the connections")
        asking.go_on()
    assert asking.outcome.failures == []
    assert running.whole() == workers


def test_no_more_open_files_is_lived_with(running: Fleet) -> None:
    """When no worker can open another file, callers that are connected are answered; later so are new ones."""
    workers = running.whole()
    with load(running.address) as asking, ExitStack() as flood:
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in workers}
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_open_files(pid) + 20, limits[pid][1]))
        for _ in range(_FLOOD):
            flood.enter_context(_connect(running.address)).sendall(_PREFACE)
        for _ in until(2):
            asking.go_on()
        assert not running.events("worker ended")
        flood.close()
        for pid in workers:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits[pid])
        processes = {connection.authorize().decision_id[:20] for connection in running.connections()}
        assert len(processes) == 2
        asking.go_on()
    assert asking.outcome.failures == []
    assert running.whole() == workers
