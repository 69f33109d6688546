"""The calls that wait for a thread: how many, for how long, and which is next. Knows no gRPC and makes no thread.

A call is refused when it comes rather than when it has waited: where the queue is full, or where those before it will
take longer than its caller waits. What a call will cost is told by the size of its message, which is known before
anything is parsed. Messages that are large go to a lane of their own, which gets half of the threads at most, so that
batches leave threads to single questions.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from pdp.limits_config import LimitsConfig

#: Why a call is not answered: there is too much to do, or its caller waits no longer.
Refusal = Literal["overloaded", "expired"]

#: Messages of this size and more go to the lane of large ones. A batch of 250 questions has about this size.
LARGE_BYTES: Final = 64 * 1024
#: What costs about as much as a call besides its message.
_UNIT_BYTES: Final = 1_024
#: How long a place is kept for a call whose message has not come.
_EXPECT_SECONDS: Final = 1.0
#: The part of a new measurement in the moving average.
_NEWEST: Final = 1 / 32


class QueuedCall(Protocol):
    """What is queued. `size` is that of its message in bytes."""

    @property
    def size(self) -> int: ...

    @property
    def deadline(self) -> float:
        """When its caller waits no longer, as a time of the queue's clock; infinite for never."""

    def is_gone(self) -> bool:
        """Whether its caller has gone away."""

    def run(self) -> None:
        """Answer it, in the thread that calls this."""

    def refuse(self, why: Refusal) -> None:
        """Tell its caller."""


@dataclass(slots=True)
class _Entry:
    call: QueuedCall
    came: float
    number: int

    @property
    def units(self) -> float:
        return 1 + self.call.size / _UNIT_BYTES


@dataclass(slots=True)
class _Lane:
    """Calls of one kind. `unit_seconds` is how long a unit of work has taken of late, by the clock.

    `longest` is the most seconds that one call counts for.
    """

    threads: int
    longest: float
    entries: deque[_Entry] = field(default_factory=deque)
    running: int = 0
    units: float = 0.0
    unit_seconds: float = 0.0

    def wait(self) -> float:
        """How long a call that comes now will wait, in seconds."""
        return self.units * self.unit_seconds / self.threads

    def measure(self, units: float, seconds: float) -> None:
        # From nothing, and never more than any call may wait: the first call of a process, or one during which all
        # stood still, says nothing about the next.
        self.unit_seconds += (min(seconds, self.longest) / units - self.unit_seconds) * _NEWEST


class CallQueue:
    """The queue before a pool of threads. Safe to share between threads; nothing is called under its lock."""

    def __init__(self, threads: int, limits: LimitsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock: Final = clock
        self._max_calls = limits.queued_calls
        self._max_bytes = limits.bytes_in_flight
        self._max_seconds = limits.queue_ms / 1000
        self._small = _Lane(threads, self._max_seconds)
        self._large = _Lane(max(1, threads // 2), self._max_seconds)
        self._lock = threading.Lock()
        self._number = 0
        #: When calls began whose message is awaited, and those that have lost their place, both oldest first.
        self._expected: dict[QueuedCall, float] = {}
        self._silent: dict[QueuedCall, None] = {}
        self._max_silent = max(1, limits.bytes_in_flight // limits.message_bytes)
        #: Bytes of the messages that wait or are answered.
        self.bytes = 0
        #: Calls refused because there was too much to do.
        self.shed = 0
        #: Calls dropped because their callers waited no longer.
        self.expired = 0

    @property
    def queued(self) -> int:
        """Calls that wait."""
        return len(self._small.entries) + len(self._large.entries)

    @property
    def in_flight(self) -> int:
        """Calls that are being answered."""
        return self._small.running + self._large.running

    def expect(self, call: QueuedCall, *, always: bool = False) -> bool:
        """Whether a call that begins now would be answered in time; asked before its message is read.

        Its place is kept for a moment, so that no more messages are read than can be answered. A caller that sends
        nothing for longer takes no place from others.
        """
        with self._lock:
            if not (always or self._fits(self._small, 0, call.deadline)):
                self.shed += 1
                return False
            self._expected[call] = self.clock()
            return True

    def overdue(self) -> Iterator[QueuedCall]:
        """The calls to refuse because their messages are awaited for too long while many others are too.

        What has come of a message is in memory, and only the whole of it is counted.
        """
        while True:
            with self._lock:
                now = self.clock()
                while self._expected and next(iter(self._expected.values())) <= now - _EXPECT_SECONDS:
                    call = next(iter(self._expected))
                    del self._expected[call]
                    self._silent[call] = None
                if len(self._silent) <= self._max_silent:
                    return
                call = next(iter(self._silent))
                del self._silent[call]
                self.shed += 1
            yield call

    def has_time(self, deadline: float) -> bool:
        """Whether a call could wait for as long as any may."""
        return deadline > self.clock() + self._max_seconds

    def give_up(self, call: QueuedCall) -> None:
        """The message of an expected call does not come."""
        with self._lock:
            self._forget(call)

    def put(self, call: QueuedCall, *, always: bool = False) -> bool:
        """Let a call wait, or tell that it is not worth its while. With `always` it is next, whatever else waits."""
        with self._lock:
            self._forget(call)
            lane = self._lane_of(call)
            if not (always or self._fits(lane, call.size, call.deadline)):
                self.shed += 1
                return False
            entry = _Entry(call, self.clock(), 0 if always else self._next_number())
            (lane.entries.appendleft if always else lane.entries.append)(entry)
            lane.units += entry.units
            self.bytes += call.size
            return True

    def work(self) -> None:
        """Answer calls until none is left for this thread."""
        while (entry := self._take()) is not None:
            started = self.clock()
            try:
                self._answer(entry, started)
            finally:
                self._finish(entry, started)

    def drain(self) -> Iterator[QueuedCall]:
        """What waits, taken out."""
        while True:
            with self._lock:
                entry = next((lane.entries.popleft() for lane in (self._small, self._large) if lane.entries), None)
                if entry is None:
                    return
                self._lane_of(entry.call).units -= entry.units
                self.bytes -= entry.call.size
            yield entry.call

    def _fits(self, lane: _Lane, size: int, deadline: float) -> bool:
        wait = lane.wait()
        return (
            self.queued + len(self._expected) < self._max_calls
            # What is larger than all may be would never be answered; alone it is.
            and (self.bytes + size <= self._max_bytes or not self.bytes)
            and wait <= self._max_seconds
            and self.clock() + wait < deadline
        )

    def _forget(self, call: QueuedCall) -> None:
        """It is awaited no longer."""
        self._expected.pop(call, None)
        self._silent.pop(call, None)

    def _answer(self, entry: _Entry, now: float) -> None:
        call = entry.call
        if call.is_gone() or now >= call.deadline:
            self._count(expired=1)
            call.refuse("expired")
        elif entry.number and now - entry.came > self._max_seconds:
            self._count(shed=1)
            call.refuse("overloaded")
        else:
            call.run()
            self._lane_of(call).measure(entry.units, self.clock() - now)

    def _count(self, *, shed: int = 0, expired: int = 0) -> None:
        with self._lock:
            self.shed += shed
            self.expired += expired

    def _take(self) -> _Entry | None:
        with self._lock:
            lanes = [lane for lane in (self._small, self._large) if lane.entries and lane.running < lane.threads]
            if not lanes:
                return None
            lane = min(lanes, key=lambda lane: lane.entries[0].number)
            entry = lane.entries.popleft()
            lane.units -= entry.units
            lane.running += 1
            return entry

    def _finish(self, entry: _Entry, started: float) -> None:
        with self._lock:
            self._lane_of(entry.call).running -= 1
            self.bytes -= entry.call.size

    def _lane_of(self, call: QueuedCall) -> _Lane:
        return self._large if call.size >= LARGE_BYTES else self._small

    def _next_number(self) -> int:
        self._number += 1
        return self._number
