"""Where decision lines go, and what happens when they cannot."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from pdp.decision_log import sinks
from pdp.decision_log.sinks import NullSink, StreamSink
from tests.waiting import wait_until


class Disk(io.RawIOBase):
    """A medium that can be full, take a few bytes at a time, or none for the moment."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.room: float = float("inf")  # bytes until it is full
        self.at_once = 1 << 30
        self.is_busy = False
        self.attempts = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int | None:
        """Take what fits."""
        self.attempts += 1
        if self.is_busy:
            return None
        fitting = int(min(len(memoryview(data)), self.at_once, self.room))
        if fitting == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= fitting
        self.taken += memoryview(data)[:fitting]
        return fitting

    @property
    def lines(self) -> list[str]:
        """The lines written so far, the last of them perhaps unfinished."""
        return self.taken.decode().split("\n")


class Errors:
    """What the sink reported."""

    def __init__(self) -> None:
        self.seen: list[Exception] = []

    def __call__(self, error: Exception) -> None:
        self.seen.append(error)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(sinks, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(sinks, "_CLOSE_SECONDS", 0.2)


@pytest.fixture
def disk() -> Disk:
    """A disk with all the room in the world."""
    return Disk()


@pytest.fixture
def errors() -> Errors:
    """Nothing yet."""
    return Errors()


@pytest.fixture
def sink(disk: Disk, errors: Errors) -> Iterator[StreamSink]:
    """A sink that holds ten lines."""
    sink = StreamSink(disk, 10, errors)
    yield sink
    sink.close()


def _numbers(first: int, end: int) -> list[str]:
    return [str(number) for number in range(first, end)]


def test_lines_are_written_in_order(disk: Disk, errors: Errors) -> None:
    """Every line given is written once, in order, with its end, whether it is text or made later."""
    sink = StreamSink(disk, 10_000, errors)
    for number in range(1_000):
        sink.write(str(number) if number % 2 else partial(str, number))
    sink.close()
    assert disk.lines == [*_numbers(0, 1_000), ""]
    assert (sink.dropped, sink.failing, errors.seen, disk.closed) == (0, False, [], True)


def test_lines_from_many_threads_are_whole(disk: Disk, errors: Errors) -> None:
    """Lines given at once by many threads are all there, none torn, each thread's in its order."""
    sink = StreamSink(disk, 100_000, errors)

    def work(name: str) -> None:
        for number in range(500):
            sink.write(f"{name} {number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    written = disk.lines[:-1]
    assert len(written) == 4_000
    for name in "abcdefgh":
        assert [line for line in written if line.startswith(name)] == [f"{name} {n}" for n in range(500)]


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_a_medium_may_take_a_little_at_a_time(disk: Disk, errors: Errors, at_once: int) -> None:
    """Short writes are continued where they stopped."""
    disk.at_once = at_once
    sink = StreamSink(disk, 100, errors)
    for number in range(50):
        sink.write(f"line {number}")
    sink.close()
    assert disk.lines == [*(f"line {number}" for number in range(50)), ""]


@pytest.mark.parametrize("room", range(12))
def test_a_full_disk_tears_and_doubles_nothing(disk: Disk, errors: Errors, sink: StreamSink, room: int) -> None:
    """Wherever in a line the disk fills up, once there is room the rest follows: nothing torn, nothing twice."""
    disk.room = room
    for number in range(5):
        sink.write(f"l{number}")
    wait_until(lambda: sink.failing and errors.seen, "the disk is full")
    assert isinstance(errors.seen[0], OSError)
    for number in range(5, 8):
        sink.write(f"l{number}")
    disk.room = float("inf")
    wait_until(lambda: disk.lines == [*(f"l{number}" for number in range(8)), ""], "everything is written")
    wait_until(lambda: not sink.failing, "the sink is well again")
    assert sink.dropped == 0


def test_what_does_not_fit_is_dropped_and_counted(disk: Disk, errors: Errors, sink: StreamSink) -> None:
    """While the disk is full `capacity` lines are held; further ones are counted, and what is held is written."""
    disk.room = 0
    sink.write("0")
    wait_until(lambda: sink.failing, "the disk is full")
    for number in range(1, 35):
        sink.write(str(number))
    assert sink.dropped == 25
    disk.room = float("inf")
    wait_until(lambda: not sink.failing, "the sink is well again")
    sink.write("after")
    wait_until(lambda: disk.lines == [*_numbers(0, 10), "after", ""], "what was held is written")
    assert sink.dropped == 25


def test_a_medium_that_takes_nothing_is_tried_again(disk: Disk, errors: Errors, sink: StreamSink) -> None:
    """A pipe whose reader is slow fails and is tried again; the thread does not spin meanwhile."""
    disk.is_busy = True
    sink.write("line")
    wait_until(lambda: len(errors.seen) >= 3, "several attempts")
    assert disk.attempts <= len(errors.seen) + 1
    assert sink.failing
    disk.is_busy = False
    wait_until(lambda: disk.lines == ["line", ""], "the line is written")


def test_whatever_goes_wrong_the_thread_lives(disk: Disk) -> None:
    """Neither a line that cannot be made, nor a report of failure that fails itself, ends the writing."""

    def fail(error: Exception) -> None:
        raise OSError(errno.ENOSPC, "the service's own log is on the same disk")

    def bad() -> str:
        raise ValueError("no line")

    sink = StreamSink(disk, 10, fail)
    sink.write(bad)
    wait_until(lambda: sink.failing, "the line fails")
    disk.room = 0
    sink.write("kept")
    wait_until(lambda: disk.attempts > 1, "the disk is full")
    disk.room = float("inf")
    wait_until(lambda: disk.lines == ["kept", ""], "the next line is written")
    sink.close()


def test_closing_tells_what_is_lost(disk: Disk, errors: Errors) -> None:
    """Lines that cannot be written at the end are given up, and their number is told."""
    sink = StreamSink(disk, 10, errors)
    disk.room = 1
    sink.write("first")
    wait_until(lambda: sink.failing, "the disk is full")
    sink.write("second")
    sink.close()
    assert str(errors.seen[-1]) == "2 lines are lost"
    assert disk.closed


def test_closing_does_not_wait_for_ever(errors: Errors) -> None:
    """A stream whose write never returns holds up the end of the service only for a while."""
    release = threading.Event()

    class Stuck(Disk):
        def write(self, data: Any, /) -> int | None:
            release.wait()
            return super().write(data)

    stuck = Stuck()
    sink = StreamSink(stuck, 10, errors)
    sink.write("line")
    sink.close()
    assert str(errors.seen[-1]) == "1 lines are lost"
    assert not stuck.closed  # its thread still uses it
    release.set()
    sink._thread.join()
    assert stuck.lines == ["line", ""]


def test_a_real_pipe_without_a_reader_fails(errors: Errors) -> None:
    """A broken pipe is a failure like any other."""
    reading, writing = os.pipe()
    os.close(reading)
    sink = StreamSink(os.fdopen(writing, "wb", buffering=0), 10, errors)
    sink.write("line")
    wait_until(lambda: sink.failing, "the pipe is broken")
    sink.close()
    assert isinstance(errors.seen[0], BrokenPipeError)


def test_the_null_sink_keeps_nothing() -> None:
    """A line that nobody wants is not even made."""
    NullSink().write(lambda: pytest.fail("made a line"))
    NullSink().close()
