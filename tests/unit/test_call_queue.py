"""Which calls wait for a thread, for how long, and which are refused; time is what a test says."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import pytest

from pdp.call_queue import LARGE_BYTES, CallQueue, QueueThreads, Refusal
from pdp.limits_config import LimitsConfig
from pdp.turns import Turn
from tests.waiting import wait_until


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Call:
    """A call that notes what becomes of it, and does what `work` says."""

    def __init__(
        self,
        size: int = 0,
        deadline: float = math.inf,
        work: Callable[[], None] = lambda: None,
        gone: bool = False,
        brief: bool = False,
    ) -> None:
        self.size, self.deadline, self.brief = size, deadline, brief
        self._work, self._gone = work, gone
        self.became = ""

    def is_gone(self) -> bool:
        """As the test says."""
        return self._gone

    def run(self, turn: Turn) -> None:
        """Do the work; of a brief call the end of the turn tells."""
        self._work()
        if self.brief:
            self.became = "held"
            turn.put(self._told, self._told)
        else:
            self.became = "answered"

    def _told(self) -> None:
        self.became = "answered"

    def refuse(self, why: Refusal) -> None:
        """Note it."""
        self.became = why


def _queue(clock: Clock, threads: int = 1, **limits: int) -> CallQueue:
    return CallQueue(threads, LimitsConfig(**limits), clock)


def _learn(queue: CallQueue, clock: Clock, seconds: float, size: int = 0) -> None:
    """Have the queue see calls that take so long."""

    def work() -> None:
        clock.now += seconds

    # So often that nothing is left of what was there before.
    for _ in range(300):
        assert queue.put(Call(size, work=work))
        queue.work()


def test_one_slow_call_is_not_what_to_expect() -> None:
    """The first call of a process, or one during which all stood still, has nobody refused who comes after it."""
    clock = Clock()
    queue = _queue(clock, threads=1, queue_ms=500)

    def stand_still() -> None:
        clock.now += 60.0

    assert queue.put(Call(work=stand_still))
    queue.work()
    for _ in range(20):
        assert queue.put(Call(deadline=clock.now + 1.0))


def test_calls_are_answered_in_turn() -> None:
    """What came first is answered first, and what was queued is gone from the counts afterwards."""
    clock, order = Clock(), list[int]()
    queue = _queue(clock)
    for number in range(3):
        assert queue.put(Call(10, work=lambda number=number: order.append(number)))  # type: ignore[misc]
    assert (queue.queued, queue.bytes) == (3, 30)
    queue.work()
    assert order == [0, 1, 2]
    assert (queue.queued, queue.in_flight, queue.bytes, queue.shed, queue.expired) == (0, 0, 0, 0, 0)


def test_the_queue_is_bounded() -> None:
    """A full queue refuses the newest, when its message is there and already when it begins, and takes calls again
    when there is room.
    """
    clock = Clock()
    queue = _queue(clock, queued_calls=2)
    assert queue.put(Call())
    assert queue.put(Call())
    assert not queue.put(Call())
    assert not queue.expect(Call())
    assert queue.shed == 2
    queue.work()
    assert queue.expect(Call())


def test_a_place_is_kept_while_a_message_comes() -> None:
    """No more messages are asked for than there are places, so that none is read in vain."""
    queue = _queue(Clock(), queued_calls=2)
    first = Call()
    assert queue.expect(first)
    assert queue.expect(Call())
    assert not queue.expect(Call())
    assert queue.put(first)
    assert not queue.expect(Call())
    queue.work()
    assert queue.expect(Call())


def test_silent_callers_take_no_places() -> None:
    """Callers that begin calls and send nothing lose their places to others after a moment."""
    clock = Clock()
    queue = _queue(clock, queued_calls=2)
    assert queue.expect(Call())
    assert queue.expect(Call())
    clock.now += 1.0
    assert list(queue.overdue()) == []
    assert queue.expect(Call())


def test_unfinished_messages_are_bounded() -> None:
    """Of calls whose messages do not come to an end so many are kept as could be whole, and the oldest are refused."""
    clock = Clock()
    queue = _queue(clock, message_bytes=1_024, bytes_in_flight=3_072)
    calls = [Call() for _ in range(5)]
    assert all(queue.expect(call) for call in calls)
    assert list(queue.overdue()) == []
    clock.now += 1.0
    assert list(queue.overdue()) == calls[:2]
    assert queue.shed == 2
    queue.give_up(calls[2])
    assert queue.expect(Call())
    clock.now += 1.0
    assert list(queue.overdue()) == []


def test_a_call_is_refused_at_once_if_its_turn_would_come_too_late() -> None:
    """Those before it take longer than its caller waits: it is refused when it begins, not when it has waited."""
    clock = Clock()
    queue = _queue(clock)
    _learn(queue, clock, 0.1)
    assert queue.put(Call())
    assert queue.put(Call())
    assert not queue.expect(Call(deadline=clock.now + 0.19))
    assert not queue.put(Call(deadline=clock.now + 0.19))
    assert queue.put(Call(deadline=clock.now + 0.21))
    assert queue.shed == 2


def test_threads_share_the_wait() -> None:
    """With twice the threads a call waits half as long."""
    clock = Clock()
    queue = _queue(clock, threads=2)
    _learn(queue, clock, 0.1)
    assert queue.put(Call())
    assert queue.put(Call())
    assert queue.expect(Call(deadline=clock.now + 0.11))
    assert not queue.expect(Call(deadline=clock.now + 0.09))


def test_nobody_waits_for_longer_than_configured() -> None:
    """A call that would wait for longer than `queue_ms`, or has, is refused, though its caller would wait for ever."""
    clock = Clock()
    queue = _queue(clock, queue_ms=150)
    _learn(queue, clock, 0.1)
    first, second = Call(), Call()
    assert queue.put(first)
    assert queue.put(second)
    assert not queue.put(Call())
    clock.now += 0.16
    queue.work()
    assert (first.became, second.became) == ("overloaded", "overloaded")
    assert queue.shed == 3


def test_nothing_is_done_for_those_who_are_gone() -> None:
    """A call whose deadline passes while it waits, or whose caller goes away, is not run."""
    clock = Clock()
    queue = _queue(clock)
    late, gone, patient = Call(deadline=clock.now + 0.1), Call(gone=True), Call()
    assert all(queue.put(call) for call in (late, gone, patient))
    clock.now += 0.1
    queue.work()
    assert [call.became for call in (late, gone, patient)] == ["expired", "expired", "answered"]
    assert (queue.expired, queue.shed) == (2, 0)


def test_bytes_are_bounded() -> None:
    """Messages beyond the bound are refused until others have been answered."""
    queue = _queue(Clock(), bytes_in_flight=2_000)
    assert queue.put(Call(1_500))
    assert not queue.put(Call(501))
    assert queue.put(Call(500))
    queue.work()
    assert queue.put(Call(501))


def test_a_message_larger_than_the_bound_is_answered_alone() -> None:
    """What is accepted by its size is not refused for ever."""
    queue = _queue(Clock(), bytes_in_flight=2_000)
    assert queue.put(Call(3_000))
    assert not queue.put(Call(1))


def test_a_health_check_is_next() -> None:
    """What looks after the service passes a full queue, is answered before all others, and however late."""
    clock, order = Clock(), list[str]()
    queue = _queue(clock, queued_calls=1)
    assert queue.put(Call(work=lambda: order.append("call")))
    assert queue.expect(Call(), always=True)
    assert queue.put(Call(work=lambda: order.append("health")), always=True)
    queue.work()
    assert order == ["health", "call"]


def test_batches_leave_threads_to_others() -> None:
    """Large messages take half of the threads at most; a small one that came later has the other half."""
    queue = _queue(Clock(), threads=2)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert leave.wait(30)

    first, second, small = Call(LARGE_BYTES, work=hold), Call(LARGE_BYTES), Call()
    assert queue.put(first)
    worker = threading.Thread(target=queue.work)
    worker.start()
    assert entered.wait(30)
    assert queue.put(second)
    assert queue.put(small)
    queue.work()
    assert (second.became, small.became) == ("", "answered")
    assert (queue.queued, queue.in_flight) == (1, 1)
    leave.set()
    worker.join()
    assert second.became == "answered"


def test_small_calls_do_not_starve_batches() -> None:
    """With threads to spare, what came first is next, whatever its size."""
    order = list[str]()
    queue = _queue(Clock(), threads=2)
    for name, size in [("small", 0), ("large", LARGE_BYTES), ("later", 0)]:
        assert queue.put(Call(size, work=lambda name=name: order.append(name)))  # type: ignore[misc]
    queue.work()
    assert order == ["small", "large", "later"]


def test_a_batch_counts_by_its_size() -> None:
    """Behind a batch the wait is longer than behind a single question."""
    clock = Clock()
    queue = _queue(clock, threads=1)
    _learn(queue, clock, 0.065, size=LARGE_BYTES)
    assert queue.put(Call(LARGE_BYTES * 2))
    assert not queue.put(Call(LARGE_BYTES, deadline=clock.now + 0.12))
    assert queue.put(Call(deadline=clock.now + 0.12))


def test_a_call_that_fails_leaves_nothing_behind() -> None:
    """Whatever a call does, its thread and its bytes are free again afterwards."""

    def fail() -> None:
        raise ValueError("on purpose")

    queue = _queue(Clock())
    assert queue.put(Call(100, work=fail))
    with pytest.raises(ValueError, match="on purpose"):
        queue.work()
    assert (queue.in_flight, queue.bytes) == (0, 0)


def test_brief_calls_are_told_together() -> None:
    """While brief calls follow, at most eight are answered before the first is told."""
    held: list[int] = []
    calls: list[Call] = []

    def look() -> None:
        held.append(sum(call.became == "held" for call in calls))

    queue = _queue(Clock())
    calls += [Call(work=look, brief=True) for _ in range(20)]
    assert all(queue.put(call) for call in calls)
    queue.work()
    assert held == [*range(8), *range(8), *range(4)]
    assert all(call.became == "answered" for call in calls)


def test_nobody_waits_for_a_call_that_may_take_long() -> None:
    """Before one that is not brief all are told, also where another thread took the brief one that was to follow."""
    seen: list[list[str]] = []
    calls: list[Call] = []

    def look() -> None:
        seen.append([call.became for call in calls])

    queue = _queue(Clock(), threads=2)
    long = Call(LARGE_BYTES, work=look)
    calls += [Call(brief=True), Call(brief=True), Call(work=look)]
    assert all(queue.put(call) for call in calls)
    queue.work()
    # Its message is large, so it stands in the other lane, where nobody looks before it is taken.
    more = [Call(brief=True), long, Call(brief=True)]
    calls[:] = more
    assert all(queue.put(call) for call in more)
    queue.work()
    assert seen == [["answered", "answered", ""], ["answered", "", ""]]


def test_a_turn_lasts_a_moment() -> None:
    """Where brief calls take longer than they should, the first is told after a millisecond."""
    clock, held = Clock(), list[int]()
    queue = _queue(clock)
    calls: list[Call] = []

    def slow() -> None:
        held.append(sum(call.became == "held" for call in calls))
        clock.now += 0.0006

    calls += [Call(work=slow, brief=True) for _ in range(6)]
    assert all(queue.put(call) for call in calls)
    queue.work()
    assert held == [0, 1, 0, 1, 0, 1]


def test_a_call_that_fails_leaves_nobody_untold() -> None:
    """What was answered before it in the same turn is told."""

    def fail() -> None:
        raise ValueError("on purpose")

    queue = _queue(Clock())
    first = Call(brief=True)
    assert queue.put(first)
    assert queue.put(Call(brief=True, work=fail))
    with pytest.raises(ValueError, match="on purpose"):
        queue.work()
    assert first.became == "answered"
    assert queue.in_flight == 0


def test_calls_that_are_told_last_are_in_flight() -> None:
    """Where another thread takes the call that was to follow, the others are told, and count as answered until then."""
    in_flight: list[int] = []

    class Stealing(Clock):
        queue: CallQueue | None = None

        def __call__(self) -> float:
            queue, self.queue = self.queue, None
            if queue is not None:
                assert [call.brief for call in queue.drain()] == [True]
            return super().__call__()

    class First(Call):
        def run(self, turn: Turn) -> None:
            # The queue looks whether another follows, and then at the clock.
            clock.queue = queue
            turn.put(lambda: in_flight.append(queue.in_flight), lambda: None)

    clock = Stealing()
    queue = _queue(clock)
    assert queue.put(First(brief=True))
    assert queue.put(Call(brief=True))
    queue.work()
    assert in_flight == [1]
    assert queue.in_flight == 0


def test_what_waits_can_be_taken_out() -> None:
    """At the end nothing stays in the queue."""
    queue = _queue(Clock())
    calls = [Call(10), Call(LARGE_BYTES)]
    assert all(queue.put(call) for call in calls)
    assert list(queue.drain()) == calls
    assert (queue.queued, queue.bytes) == (0, 0)


def test_nothing_is_lost_between_threads() -> None:
    """However many threads put and work, each call is answered or refused exactly once, and all counts end at zero."""
    queue = CallQueue(4, LimitsConfig(queued_calls=50))
    calls = [[Call(LARGE_BYTES if number % 7 == 0 else 10) for number in range(500)] for _ in range(3)]
    refused: list[int] = [0] * 3

    def put(share: int) -> None:
        for call in calls[share]:
            if not queue.put(call):
                refused[share] += 1
            queue.work()

    threads = [threading.Thread(target=put, args=(share,)) for share in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: not queue.queued, "the queue is empty")
    answered = sum(call.became == "answered" for share in calls for call in share)
    assert answered + sum(refused) == 1_500
    assert (queue.in_flight, queue.bytes, queue.shed) == (0, 0, sum(refused))


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_threads_that_could_not_be_made_are_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started for a while, calls are answered once one can, and closing goes well."""
    queue = _queue(Clock(), threads=2)
    threads = QueueThreads(queue, 2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="can't start"):
                threads.work()
    call = Call()
    assert queue.put(call)
    threads.work()
    wait_until(lambda: call.became == "answered", "the call is answered")
    threads.close()


def test_one_thread_is_enough_where_no_more_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A further thread that cannot be made is no reason to refuse a call that another thread answers."""
    queue = _queue(Clock(), threads=2)
    threads = QueueThreads(queue, 2)
    threads.work()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        call = Call()
        assert queue.put(call)
        threads.work()
        wait_until(lambda: call.became == "answered", "the call is answered")
    threads.close()
