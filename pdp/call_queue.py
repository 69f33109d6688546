"""The calls that wait for a thread: how many, for how long, and which is next; and the threads. Knows no gRPC.

A call is refused when it comes rather than when it has waited: where the queue is full, or where those before it will
take longer than its caller waits. What a call will cost is told by the size of its message, which is known before
anything is parsed. Messages that are large go to a lane of their own, which gets half of the threads at most, so that
batches leave threads to single questions. While others wait, brief calls are answered in turns (`pdp.turns`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final, Literal, Protocol

import structlog

from pdp.limits_config import LimitsConfig
from pdp.turns import Turn

_log = structlog.get_logger("pdp.rpc")

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
#: Calls of one turn, and after how long none is added to it.
_MOST_TOGETHER: Final = 8
_TURN_SECONDS: Final = 0.001


class QueuedCall(Protocol):
    """What is queued. `size` is that of its message in bytes."""

    @property
    def size(self) -> int: ...

    @property
    def deadline(self) -> float:
        """When its caller waits no longer, as a time of the queue's clock; infinite for never."""

    @property
    def brief(self) -> bool:
        """Whether others, who are answered already, may wait for this one: it takes well below a millisecond."""

    def is_gone(self) -> bool:
        """Whether its caller has gone away."""

    def run(self, turn: Turn) -> None:
        """Answer it, in the thread that calls this. A brief one may be told when `turn` is settled."""

    def refuse(self, why: Refusal) -> None:
        """Tell its caller."""


@dataclass(slots=True)
class _Entry:
    call: QueuedCall
    came: float
    number: int
    #: Of work, by the size of the message.
    units: float


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
        #: Threads that have left their last call and tell what they hold.
        self._settling = 0
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
        """Calls that are being answered; those that one thread tells last may count as one."""
        return self._small.running + self._large.running + self._settling

    def expect(self, call: QueuedCall, *, always: bool = False) -> bool:
        """Whether a call that begins now would be answered in time; asked before its message is read.

        Its place is kept for a moment, so that no more messages are read than can be answered. A caller that sends
        nothing for longer takes no place from others.
        """
        with self._lock:
            now = self.clock()
            self._take_places(now)
            if not (always or self._fits(self._small, 0, call.deadline, now)):
                self.shed += 1
                return False
            self._expected[call] = now
            return True

    def overdue(self) -> Iterator[QueuedCall]:
        """The calls to refuse because their messages are awaited for too long while many others are too.

        What has come of a message is in memory, and only the whole of it is counted.
        """
        # Nearly always, and asked for every call: there are none.
        while self._expected or self._silent:
            with self._lock:
                self._take_places(self.clock())
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
            size, now = call.size, self.clock()
            lane = self._lane_of(call)
            if not (always or self._fits(lane, size, call.deadline, now)):
                self.shed += 1
                return False
            if always:
                entry = _Entry(call, now, 0, 1 + size / _UNIT_BYTES)
                lane.entries.appendleft(entry)
            else:
                self._number += 1
                entry = _Entry(call, now, self._number, 1 + size / _UNIT_BYTES)
                lane.entries.append(entry)
            lane.units += entry.units
            self.bytes += size
            return True

    def work(self) -> None:
        """Answer calls until none is left for this thread.

        What a call raises ends it, with the call's place free again. Others may wait for this thread then and for no
        other, so whoever works has to begin anew.
        """
        # Most threads that are woken find that another was quicker.
        if not (self._small.entries or self._large.entries):
            return
        turn = Turn()
        try:
            self._answer_all(turn)
        finally:
            # Mostly it is settled: only where another thread was quicker, or a call failed, is it not.
            if turn:
                self._settle_last(turn)

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

    def _take_places(self, now: float) -> None:
        """From those whose messages are awaited for too long."""
        while self._expected:
            call, began = next(iter(self._expected.items()))
            if began > now - _EXPECT_SECONDS:
                return
            del self._expected[call]
            self._silent[call] = None

    def _fits(self, lane: _Lane, size: int, deadline: float, now: float) -> bool:
        wait = lane.wait()
        return (
            self.queued + len(self._expected) < self._max_calls
            # What is larger than all may be would never be answered; alone it is.
            and (self.bytes + size <= self._max_bytes or not self.bytes)
            and wait <= self._max_seconds
            and now + wait < deadline
        )

    def _forget(self, call: QueuedCall) -> None:
        """It is awaited no longer."""
        self._expected.pop(call, None)
        self._silent.pop(call, None)

    def _answer_all(self, turn: Turn) -> None:
        entry = self._take(None)
        while entry is not None:
            try:
                if not entry.call.brief:
                    turn.settle()
                self._answer(entry, turn)
            except BaseException:
                self._finish(entry)
                raise
            entry = self._take(entry)

    def _settle_last(self, turn: Turn) -> None:
        with self._lock:
            self._settling += 1
        try:
            turn.settle()
        finally:
            with self._lock:
                self._settling -= 1

    def _goes_on(self, turn: Turn) -> bool:
        """Whether there is another call for this turn, and time for it."""
        try:
            following = self._small.entries[0].call
        except IndexError:
            return False
        return following.brief and len(turn) < _MOST_TOGETHER and self.clock() - turn.began < _TURN_SECONDS

    def _answer(self, entry: _Entry, turn: Turn) -> None:
        call, now = entry.call, self.clock()
        if call.is_gone() or now >= call.deadline:
            self._count(expired=1)
            call.refuse("expired")
        elif entry.number and now - entry.came > self._max_seconds:
            self._count(shed=1)
            call.refuse("overloaded")
        else:
            if not turn:
                turn.began = now
            call.run(turn)
            if turn and not self._goes_on(turn):
                turn.settle()
            self._lane_of(call).measure(entry.units, self.clock() - now)

    def _count(self, *, shed: int = 0, expired: int = 0) -> None:
        with self._lock:
            self.shed += shed
            self.expired += expired

    def _take(self, done: _Entry | None) -> _Entry | None:
        """The next call for this thread, which is done with another."""
        with self._lock:
            if done is not None:
                self._release(done)
            lane, large = self._small, self._large
            if large.entries and large.running < large.threads:
                ready = lane.entries and lane.running < lane.threads
                if not ready or large.entries[0].number < lane.entries[0].number:
                    lane = large
            elif not lane.entries or lane.running >= lane.threads:
                return None
            entry = lane.entries.popleft()
            lane.units -= entry.units
            lane.running += 1
            return entry

    def _finish(self, entry: _Entry) -> None:
        with self._lock:
            self._release(entry)

    def _release(self, entry: _Entry) -> None:
        self._lane_of(entry.call).running -= 1
        self.bytes -= entry.call.size

    def _lane_of(self, call: QueuedCall) -> _Lane:
        return self._large if call.size >= LARGE_BYTES else self._small


class QueueThreads:
    """The threads that answer what is in a queue, made when they are first needed."""

    def __init__(self, queue: CallQueue, count: int) -> None:
        self._queue = queue
        self._count = count
        self._threads: list[threading.Thread] = []
        #: One word for each call that was queued: whether to go on.
        self._words: SimpleQueue[bool] = SimpleQueue()
        self._closed = False

    def work(self) -> None:
        """Have a thread look for calls in the queue. To be called from one thread alone.

        Raises RuntimeError after `close`, and where not even one thread can be made; then nobody answers what is in
        the queue.
        """
        if len(self._threads) < self._count and not self._closed:
            self._add_thread()
        self._words.put(True)
        # Asked afterwards: whoever closes says so first, and only then sends the threads away.
        if self._closed:
            raise RuntimeError("the threads are sent away")

    def close(self, *, wait: bool = True) -> None:
        """Send the threads away when they have answered what is in the queue now."""
        self._closed = True
        for _ in self._threads:
            self._words.put(False)
        if wait:
            for thread in self._threads:
                thread.join()

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._run, name=f"rpc-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system has none left at the moment. Those that are there do the work, and the next call tries again.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _run(self) -> None:
        while self._words.get():
            while not self._worked():
                pass

    def _worked(self) -> bool:
        """Whether no call is left for this thread."""
        try:
            self._queue.work()
        except BaseException as error:  # noqa: BLE001 - the top of a thread: it would end, and calls wait for ever
            with suppress(Exception):
                _log.error("a call failed", exc_info=error)
            return False
        return True
