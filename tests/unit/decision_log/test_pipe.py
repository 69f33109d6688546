"""Records to standard output, which several workers have in common."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from pdp.decision_log import pipe_exporter
from pdp.decision_log.backlog import Batch
from pdp.decision_log.exporting import ExportError
from pdp.decision_log.opening import open_sink
from pdp.decision_log.pipe_exporter import PipeExporter
from pdp.decision_log_config import DecisionLogConfig
from tests.waiting import wait_until


def batch(letter: str, lines: int, size: int) -> Batch:
    """Lines of one letter, each longer than a pipe takes at once."""
    return Batch(letter * 32, 1, (letter.encode() * size + b"\n") * lines)


def _exporter(descriptor: int, directory: Path) -> PipeExporter:
    return PipeExporter(lambda: descriptor, directory / "turns")


def test_a_fifo_that_nobody_reads_is_opened_later(tmp_path: Path) -> None:
    """Without a reader the log fails, at once and not for ever; with one it goes on, and what waited comes first."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    problems: list[str] = []
    config = DecisionLogConfig(sink="file", path=path, spool_dir=str(tmp_path / "spool"))
    sink = open_sink(config, {}, problems.append)
    sink.write('{"n":1}')
    wait_until(lambda: sink.status().failing, "it fails")
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.write('{"n":2}')
    wait_until(lambda: sink.status().lag_records == 0, "it is read")
    assert [json.loads(line)["n"] for line in os.read(reading, 4_096).splitlines()] == [1, 2]
    sink.close()
    os.close(reading)


def test_lines_of_two_processes_stay_whole(tmp_path: Path) -> None:
    """While two write large batches to one pipe, and its reader is slow, no line has something of the other's in it."""
    reading, writing = os.pipe()
    exporters = [_exporter(os.dup(writing), tmp_path) for _ in range(2)]
    os.close(writing)

    def write(exporter: PipeExporter, letter: str) -> None:
        for _ in range(5):
            work = batch(letter, 20, 10_000)
            while True:
                try:
                    exporter.export(work)
                except ExportError:
                    continue  # the same batch comes again, as the draining thread does it
                break
        exporter.close()

    threads = [threading.Thread(target=write, args=pair) for pair in zip(exporters, "ab", strict=True)]
    for thread in threads:
        thread.start()
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().split(b"\n")
    for thread in threads:
        thread.join()
    assert lines.pop() == b""
    assert sorted(lines) == [b"a" * 10_000] * 100 + [b"b" * 10_000] * 100


def test_a_process_whose_turn_does_not_end_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody reads, the first writer fails, and the second because of its turn; neither waits for ever."""
    monkeypatch.setattr(pipe_exporter, "_PATIENCE_SECONDS", 0.01)
    reading, writing = os.pipe()
    first, second = (_exporter(os.dup(writing), tmp_path) for _ in range(2))
    os.close(writing)
    with pytest.raises(ExportError, match="nobody reads it"):
        first.export(batch("a", 100, 10_000))
    with pytest.raises(ExportError, match="another process writes"):
        second.export(batch("b", 1, 10))
    first.close()
    second.close()
    os.close(reading)
