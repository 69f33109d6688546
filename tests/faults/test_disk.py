"""Disks that are full or slow, and sinks that are dead, while callers ask: answers go on, and no line is torn."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2 as admin
from tests.bundles import write_bundle
from tests.faults.load import load, until
from tests.faults.worlds import POLICY_FILE, files, policies, put
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]


@contextmanager
def _logging(bundle: Path, scratch: Path, log: Path, **more: str) -> Iterator[Fleet]:
    settings = {"DECISION_LOG__SINK": "file", "DECISION_LOG__PATH": str(log), "SERVER__STUCK_SECONDS": "2", **more}
    with fleet(bundle, scratch, **settings) as found:
        found.whole(int(more.get("SERVER__WORKERS", "2")))
        yield found


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", files())


def _limit_files(pids: list[int], size: int) -> None:
    """From now on these processes cannot make a file larger than that, as if the disk were full."""
    for pid in pids:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_full_disk_stops_no_answer_and_loses_no_line(bundle: Path, tmp_path: Path) -> None:
    """While no file can grow, calls are answered, no worker is taken for stuck, and the service says what is wrong; as
    soon as there is room, every line is written, whole."""
    log = tmp_path / "decisions.jsonl"
    with _logging(bundle, tmp_path, log) as running:
        workers = running.whole()
        with load(running.address) as asking:
            _limit_files(workers, 0)
            wait_until(lambda: any("decision log" in line for line in running.lines), "the failure in the log")
            for _ in until(3):
                asking.go_on()
            assert _cannot(running)
            _limit_files(workers, resource.RLIM_INFINITY)
            asking.go_on()
        assert asking.outcome.failures == []
        assert running.whole() == workers
        assert not running.events("worker is stuck")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
    assert asking.outcome.unlogged(log) == set()


def _reasons(running: Fleet) -> list[str]:
    """Why the service says that it is degraded."""
    return list(running.status().degraded_reasons)


def _cannot(running: Fleet) -> bool:
    """Whether it says that the log cannot be written."""
    return any(reason.startswith("the decision log cannot be written") for reason in _reasons(running))


@contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    """A file system of 32 MiB. Skips the test where nobody may mount one."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(path: Path) -> None:
    """Write until there is no room for another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


def test_a_file_system_without_room_is_lived_with(bundle: Path, tmp_path: Path) -> None:
    """With log, state and shared files on a disk that fills up to the last byte, answers go on; with room, so does the
    log, and a change of the bundle that came meanwhile is in force."""
    with _small_disk(tmp_path / "small") as disk, _logging(bundle, disk, disk / "decisions.jsonl") as running:
        workers = running.whole()
        with load(running.address) as asking:
            ballast = disk / "ballast"
            _fill(ballast)
            wait_until(lambda: any("decision log" in line for line in running.lines), "the failure in the log")
            put(bundle, POLICY_FILE, policies()[1])
            for _ in until(3):
                asking.go_on()
            ballast.unlink()
            asking.go_on()
        assert asking.outcome.failures == []
        assert len(asking.outcome.answered) > 1, "the change was never in force"
        assert any("the last good copy is not written" in reason for reason in _reasons(running))
        # The next reload tries to keep the bundle again.
        running.connection().admin.Reload(admin.ReloadRequest(), timeout=30, wait_for_ready=True)
        wait_until(lambda: running.whole() == workers, "the same workers, degraded no more")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
        assert asking.outcome.unlogged(disk / "decisions.jsonl") == set()


class _Reader:
    """Reads a FIFO as slowly as a test wants."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open both ways: a FIFO that nobody has open for reading cannot be opened for writing.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._reading = threading.Event()
        self._stopped = threading.Event()
        self.got = bytearray()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def read_on(self) -> None:
        """Take everything from now on."""
        self._reading.set()

    def close(self) -> None:
        """Be a reader that died."""
        self._stopped.set()
        self._thread.join()
        os.close(self._descriptor)

    def _run(self) -> None:
        while not self._stopped.wait(0.005):
            # A few bytes at a time, until told to hurry.
            size = 1 << 20 if self._reading.is_set() else 64
            try:
                self.got += os.read(self._descriptor, size)
            except BlockingIOError:
                continue


def test_a_slow_sink_holds_nobody_up(bundle: Path, tmp_path: Path) -> None:
    """Callers do not wait for a sink that takes a few bytes at a time; once it hurries, every line is in it, whole."""
    sink = _Reader(tmp_path / "sink")
    # With one worker: several tear each other's lines in a pipe that is full, since no line longer than its `PIPE_BUF`
    # is written at once. With a log that several can write to, this is two workers, like the others.
    with _logging(bundle, tmp_path, tmp_path / "sink", SERVER__WORKERS="1") as running:
        with load(running.address) as asking:
            for _ in until(2):
                asking.go_on()
        assert asking.outcome.failures == []
        assert len(sink.got) < 200 * len(asking.outcome.ids), "the sink was not slow"
        sink.read_on()
        wanted = {*asking.outcome.ids}
        wait_until(lambda: sink.got.count(b"\n") >= len(wanted), "the rest of the lines")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
    sink.close()
    lines = [json.loads(line) for line in sink.got.splitlines()]
    assert wanted <= {line["decision_id"] for line in lines}


def test_a_dead_sink_stops_no_answer(bundle: Path, tmp_path: Path) -> None:
    """When the reader of the log dies, calls are answered as before, and the service says that it cannot write; it ends
    when it is told to."""
    sink = _Reader(tmp_path / "sink")
    sink.read_on()
    with _logging(bundle, tmp_path, tmp_path / "sink") as running:
        workers = running.whole()
        with load(running.address) as asking:
            sink.close()
            for _ in until(2):
                asking.go_on()
            wait_until(lambda: _cannot(running), "the reason")
        assert asking.outcome.failures == []
        assert [worker.pid for worker in running.status().workers] == workers
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
