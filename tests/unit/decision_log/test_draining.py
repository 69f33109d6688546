"""How much is delivered at once, and what is at hand for those who write."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pdp.decision_log import draining, segment
from pdp.decision_log.backlog import Batch
from pdp.decision_log.chain import beginning
from pdp.decision_log.draining import Checkpoints
from pdp.decision_log.segment import Segment
from pdp.decision_log.spool_sink import SpoolSink

SIZE = 64 * mmap.PAGESIZE


class Busy:
    """A medium in front of which something happens while it takes a batch."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        self.counts.append(len(batch.lines))
        # Not for ever, should it never end.
        if len(self.counts) < 5:
            self.meanwhile()

    def sync(self) -> None:
        """As in `Exporter`."""

    def close(self) -> None:
        """As in `Exporter`."""


def record(number: int) -> str:
    """A record."""
    return f'{{"kind":"authorize","time":"2026-01-02T03:04:05.000000Z","number":{number}}}'


def test_what_comes_meanwhile_waits_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While calls write all the time, what is there is delivered in one, and not each record by itself."""
    monkeypatch.setattr(draining, "_STEP_SECONDS", 3_600.0)
    medium = Busy()
    problems: list[str] = []
    checkpoints = Checkpoints(3_600, None)
    sink = SpoolSink(tmp_path / "spool", 1 << 20, "deny", lambda slot: medium, checkpoints, problems.append)
    try:
        medium.meanwhile = lambda: sink.write_all([record(number) for number in range(3)])
        sink.write_all([record(number) for number in range(10)])
        sink._drain._deliver()
        assert (medium.counts, sink.status().lag_records) == ([10], 3)
        sink._drain._deliver()
        assert (medium.counts, sink.status().lag_records) == ([10, 3], 3)
        medium.meanwhile = lambda: None
    finally:
        sink.close()
    # The end leaves nothing.
    assert (medium.counts, problems) == ([10, 3, 3], [])


@pytest.fixture
def begun(tmp_path: Path) -> Segment:
    """A segment without records."""
    made = Segment(tmp_path / "1.segment", SIZE)
    made.start(beginning("0" * 32))
    return made


def written(begun: Segment, parts: int = 7) -> bytes:
    """All of the segment's file, after so many lines of a page each, memory being populated before each."""
    line = b"x" * (mmap.PAGESIZE - 1) + b"\n"
    for number in range(parts):
        begun.populate((number + 1) * 3 * mmap.PAGESIZE)
        assert begun.append(line)
        if number == 3:
            begun.sync()
    assert begun.read(begun.begin, SIZE) == line * parts
    return begun.path.read_bytes()


def test_memory_at_hand_holds_nothing(begun: Segment) -> None:
    """Populating a segment, also beyond its end and anew after a sync, changes none of its bytes."""
    text = written(begun)
    assert len(text) == SIZE
    assert text[begun.used :] == bytes(SIZE - begun.used)
    begun.populate(2 * SIZE)
    begun.close(keep=True)
    assert begun.path.read_bytes() == text[: begun.used]


def test_memory_is_at_hand(begun: Segment) -> None:
    """What was populated is mapped before anybody writes it."""
    try:
        begun._memory.madvise(segment._POPULATE_WRITE, 0, mmap.PAGESIZE)
    except OSError:
        pytest.skip("the kernel cannot populate memory")
    before = mapped_kib(begun.path)
    begun.populate(32 * mmap.PAGESIZE)
    assert mapped_kib(begun.path) >= before + 31 * mmap.PAGESIZE // 1024
    begun.close(keep=False)


def mapped_kib(path: Path) -> int:
    """How much of a file is mapped into this process."""
    text = Path("/proc/self/smaps").read_text()
    _, _, rest = text.partition(os.fspath(path))
    return int(rest.partition("Rss:")[2].split()[0])


def test_a_system_that_cannot_is_no_hindrance(begun: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory cannot be populated (an older kernel), records are written all the same."""
    monkeypatch.setattr(segment, "_POPULATE_WRITE", 9_999)
    with pytest.raises(OSError, match="Invalid argument"):
        begun._memory.madvise(9_999, 0, SIZE)
    assert written(begun).count(b"\n") == 8
    begun.close(keep=False)
