"""Processes that are killed while they write, deliver, or do both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdp.decision_log.chain import Link, beginning, follows, stated
from pdp.decision_log.draining import Checkpoints
from pdp.decision_log.file_exporter import FileExporter, path_of_writer, rotated
from pdp.decision_log.spool_sink import SpoolSink
from tests.waiting import wait_until

pytestmark = pytest.mark.process

WRITING = Path(__file__).with_name("writing.py")


def start(directory: Path, threads: int = 2, filler: int = 300) -> subprocess.Popen[bytes]:
    """A process that writes into the spool and the log in this directory."""
    command = [sys.executable, str(WRITING), str(directory / "spool"), str(directory / "log.jsonl")]
    return subprocess.Popen([*command, str(threads), str(filler)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def answered(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """Its next answers."""
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def answered_until_killed(process: subprocess.Popen[bytes], count: int) -> list[str]:
    """What it answered; it is killed once there are `count` answers."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        found = answered(process, count)
        process.send_signal(signal.SIGKILL)
        found += process.stdout.readlines()
        assert process.stderr.read() == b""
    return [line.decode().strip() for line in found if line.endswith(b"\n")]


def finish(directory: Path, until: Callable[[], object] = lambda: True) -> None:
    """A process that comes back, delivers what was left, and stops when it has come so far."""
    log = directory / "log.jsonl"

    def opened(slot: int) -> FileExporter:
        return FileExporter(path_of_writer(log, slot), 1 << 20, 0)

    problems: list[str] = []
    sink = SpoolSink(directory / "spool", 8 << 20, "block", opened, Checkpoints(60, None), problems.append)
    wait_until(until, "everything is delivered")
    sink.close()
    assert problems == []


def contents(log: Path) -> list[tuple[Path, bytes]]:
    """Each file of a log that nobody writes, oldest first, and what is in it."""
    return [(path, path.read_bytes()) for path in (*rotated(log), log)]


def chains(directory: Path) -> Iterator[bytes]:
    """Every line of the log; each file's lines must follow from one another."""
    for log in (directory / "log.jsonl", *directory.glob("log.[0-9].jsonl")):
        heads: dict[str, Link] = {}
        for path, text in contents(log):
            assert text.endswith(b"\n") or not text
            for line in text.splitlines():
                link = stated(line)
                assert link is not None
                head = heads.get(link.writer, beginning(link.writer))
                assert follows(head, line), f"{path}: {head.seq} then {link.seq}"
                heads[link.writer] = link
                yield line


def ids(directory: Path) -> Counter[str]:
    """How often each record is in the log."""
    lines = [line for line in chains(directory) if b'"decision_id"' in line]
    return Counter(line.split(b'"decision_id":"')[1].split(b'"')[0].decode() for line in lines)


def stands_in_log(directory: Path, record_id: str) -> bool:
    """Whether a record is in the log already, which is being written: a file may be renamed, and a line be half there.

    For a moment it can seem to be in none; who asks will ask again.
    """
    text = f'"decision_id":"{record_id}"'.encode()
    for path in directory.glob("log.*"):
        with contextlib.suppress(FileNotFoundError):
            if text in path.read_bytes():
                return True
    return False


@pytest.mark.parametrize("count", [1, 50, 1_000, 3_000, 9_000])
def test_what_was_answered_is_in_the_log(tmp_path: Path, count: int) -> None:
    """After a kill and a restart every answered record is in the log exactly once, and the chain is whole."""
    told = answered_until_killed(start(tmp_path), count)
    finish(tmp_path)
    found = ids(tmp_path)
    assert set(told) <= found.keys()
    assert set(found.values()) == {1}
    # Beside them there is at most the one record of each thread that was not answered any more.
    assert len(found) <= len(told) + 2


def test_kills_again_and_again(tmp_path: Path) -> None:
    """A process that is killed each time before it has delivered everything loses and repeats nothing in the end."""
    told: list[str] = []
    for count in (700, 5, 2_000, 1, 300, 40, 1_500):
        told += answered_until_killed(start(tmp_path, filler=1_000), count)
    finish(tmp_path)
    found = ids(tmp_path)
    assert set(told) <= found.keys()
    assert set(found.values()) == {1}


def test_two_processes_have_two_chains(tmp_path: Path) -> None:
    """Processes at the same time write files of their own; what a killed one left is delivered by one that lives."""
    processes = [start(tmp_path, threads=1), start(tmp_path, threads=1)]
    told = [line.decode().strip() for process in processes for line in answered(process, 1)]
    parts = [answered_until_killed(process, 400) for process in processes]
    # One comes back, and finds what the other left.
    finish(tmp_path, lambda: all(stands_in_log(tmp_path, part[-1]) for part in parts))
    told += [record for part in parts for record in part]
    found = ids(tmp_path)
    assert set(told) <= found.keys()
    assert set(found.values()) == {1}
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["writer-0", "writer-1"]


def test_nobody_else_can_read_the_spool(tmp_path: Path) -> None:
    """Directories of the spool are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        answered_until_killed(start(tmp_path), 10)
    finally:
        os.umask(before)
    paths = list((tmp_path / "spool").rglob("*"))
    assert len(paths) >= 4
    for path in paths:
        assert path.stat().st_mode & 0o077 == 0, path
