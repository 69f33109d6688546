"""The sink `file` while others do to its file what they do to log files, and where there is no room for a batch."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pdp.decision_log.opening import open_sink
from pdp.decision_log.reading import open_logs
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log.verifying import Verification
from pdp.decision_log_config import DecisionLogConfig
from tests.waiting import wait_until

LINE = '{"kind":"authorize","time":"2026-01-02T03:04:05.678901Z","decision_id":"d%d"}'


@contextmanager
def sink(directory: Path, problems: list[str], **more: Any) -> Iterator[DecisionSink]:
    """A sink to `log.jsonl` there."""
    config = DecisionLogConfig(sink="file", path=directory / "log.jsonl", spool_dir=str(directory / "spool"), **more)
    opened = open_sink(config, {}, problems.append)
    try:
        yield opened
    finally:
        opened.close()


def write(opened: DecisionSink, numbers: range) -> None:
    """Write these records, and wait until they are in the file."""
    for number in numbers:
        opened.write(LINE % number)
    wait_until(lambda: opened.status().lag_records == 0, "all is written")


def verified(log: Path) -> int:
    """How many records the log has, in which nothing is wrong."""
    verification = Verification()
    for each in open_logs([log]):
        for number, line in each.lines():
            verification.feed(str(each.path), number, line)
    assert verification.finish() == []
    return sum(writer.records for writer in verification.writers.values())


def test_a_file_that_is_renamed_under_it(tmp_path: Path) -> None:
    """What logrotate renames is let go, also while records come, and each record is in one of the files once."""
    log = tmp_path / "log.jsonl"
    problems: list[str] = []
    with sink(tmp_path, problems) as opened:
        write(opened, range(100))
        for turn in range(1, 6):
            for older in range(turn - 1, 0, -1):
                (tmp_path / f"log.jsonl.{older}").rename(tmp_path / f"log.jsonl.{older + 1}")
            for number in range(50):
                opened.write(LINE % (1_000 * turn + number))
            log.rename(tmp_path / "log.jsonl.1")
            for number in range(50, 100):
                opened.write(LINE % (1_000 * turn + number))
            wait_until(lambda: opened.status().lag_records == 0, "all is written")
        oldest = tmp_path / "log.jsonl.5"
        (tmp_path / "log.jsonl.5.gz").write_bytes(gzip.compress(oldest.read_bytes()))
        oldest.unlink()
    assert verified(log) == 600
    assert problems == []


def test_a_file_that_was_made_anew_by_others(tmp_path: Path) -> None:
    """With logrotate's `create` the new file is there already, and is written to."""
    log = tmp_path / "log.jsonl"
    with sink(tmp_path, []) as opened:
        write(opened, range(10))
        log.rename(tmp_path / "log.jsonl.1")
        log.touch(0o640)
        write(opened, range(10, 20))
    assert len(log.read_bytes().splitlines()) == 10
    assert verified(log) == 20


def test_a_file_that_is_copied_and_emptied(tmp_path: Path) -> None:
    """With `copytruncate` what comes next begins at the file's begin, without a hole, and nothing is repeated."""
    log = tmp_path / "log.jsonl"
    with sink(tmp_path, []) as opened:
        write(opened, range(100))
        (tmp_path / "log.jsonl.1").write_bytes(log.read_bytes())
        log.write_bytes(b"")  # truncates it, as the same file
        write(opened, range(100, 150))
        assert b"\0" not in log.read_bytes()
    with sink(tmp_path, []) as opened:
        write(opened, range(150, 160))
    assert len(log.read_bytes().splitlines()) == 60
    assert verified(log) == 160


_NO_ROOM = """
import resource, sys
from pathlib import Path
from pdp.decision_log.backlog import Batch
from pdp.decision_log.file_exporter import FileExporter

path, fits = Path(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
exporter = FileExporter(path, 1 << 30, 0)
line = b'{"kind":"authorize","n":%04d}\\n'
batches = [Batch("a" * 32, first, b"".join(line % n for n in range(first, first + 100))) for first in (1, 101)]
exporter.export(batches[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + fits, hard))
before = path.read_bytes()
for _ in range(3):
    try:
        exporter.export(batches[1])
    except OSError as error:
        assert path.read_bytes() == before, "a part of the batch is left"
    else:
        raise AssertionError("it fits")
if len(sys.argv) > 3:
    path.write_bytes(b"")
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
exporter.export(batches[1])
exporter.close()
"""


@pytest.mark.process
@pytest.mark.parametrize("fits", [0, 1, 29, 30, 1_234, 2_999])
def test_no_room_in_the_middle_of_a_batch(tmp_path: Path, fits: int) -> None:
    """Where only so many bytes of a batch fit, none of it stays; when there is room it is there, once and whole."""
    log = tmp_path / "log.jsonl"
    subprocess.run([sys.executable, "-c", _NO_ROOM, str(log), str(fits)], check=True)
    assert log.read_bytes() == b"".join(b'{"kind":"authorize","n":%04d}\n' % number for number in range(1, 201))


@pytest.mark.process
def test_no_room_and_emptied_meanwhile(tmp_path: Path) -> None:
    """What makes room by emptying the file leaves no hole in it."""
    log = tmp_path / "log.jsonl"
    subprocess.run([sys.executable, "-c", _NO_ROOM, str(log), "1234", "emptied"], check=True)
    assert log.read_bytes() == b"".join(b'{"kind":"authorize","n":%04d}\n' % number for number in range(101, 201))
