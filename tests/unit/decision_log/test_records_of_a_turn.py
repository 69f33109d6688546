"""Records of calls that are told together: each is kept, or its call knows that it is not."""

from __future__ import annotations

import pytest

from pdp.decision_log.sinks import Line
from pdp.decision_log.spool import WhenFull
from pdp.decision_log.spool_sink import SpoolSink
from pdp.turns import Held, Turn
from tests.unit.decision_log.spools import World, dead, fill, numbers, record
from tests.waiting import wait_until


class Told:
    """What became of the calls of a turn."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.again: list[int] = []

    def answer(self, turn: Turn, sink: SpoolSink, number: int, line: Line = "") -> None:
        """Answer a call, with a record, in the turn."""
        turn.begin()
        sink.write(line or record(number))
        turn.put(lambda: self.told.append(number), lambda: self.again.append(number))
        turn.end()


def test_records_are_held_and_come_out_in_their_order(world: World) -> None:
    """Nothing is in the log before the turn is settled, and all of it then, one after another in the chain."""
    sink, turn, told = world.sink(), Turn(), Told()
    sink.write(record(0))
    for number in range(1, 9):
        told.answer(turn, sink, number)
    # Of nobody's turn: it is kept at once, and so before all that are held.
    sink.write(record(9))
    turn.settle()
    assert told.told == list(range(1, 9))
    wait_until(lambda: len(world.medium.records) == 10, "all are delivered")
    assert numbers(world.medium.records) == [0, 9, *range(1, 9)]
    world.whole_chain()


@pytest.mark.parametrize("when_full", ["deny", "block"])
def test_a_log_that_fills_meanwhile_denies(world: World, when_full: WhenFull) -> None:
    """Answers whose records were to be kept later are thrown away where there is no room by then."""
    world.medium.error = dead()
    sink, turn, told = world.sink(when_full), Turn(), Told()
    # The room that other threads take meanwhile.
    for number in range(3):
        turn.begin()
        assert turn.hold(sink, Held(record(number), lambda: 0.01))
        turn.put(lambda number=number: told.told.append(number), lambda number=number: told.again.append(number))  # type: ignore[misc]
        turn.end()
    taken = fill(sink, remaining=lambda: 0.01)
    turn.settle()
    assert (told.told, told.again) == ([], [0, 1, 2])
    # From now on calls are not held at all: each fails for itself.
    turn.begin()
    assert fill(sink, remaining=lambda: 0.01) == 0
    turn.end()
    world.medium.error = None
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    assert numbers(world.medium.records) == list(range(taken))


def test_what_may_be_dropped_is_answered_and_told_in_the_log(world: World) -> None:
    """Where the operator prefers answers, calls whose records are lost are told theirs, and the loss is counted."""
    world.medium.error = dead()
    sink, turn, told = world.sink("drop"), Turn(), Told()
    for number in range(8):
        told.answer(turn, sink, number)
    while not sink.status().dropped:
        sink.write(record(100))
    before = sink.status().dropped
    turn.settle()
    assert told.told == list(range(8))
    assert sink.status().dropped == before + 8


@pytest.mark.parametrize(("first_seconds", "first_kept"), [(20.0, True), (0.0, False)])
def test_calls_wait_for_room_together(world: World, first_seconds: float, first_kept: bool) -> None:
    """All are asked how long they wait before the first one waits, so that none waits after the others have; and the
    one that cannot wait is denied.
    """
    world.medium.error = dead()
    sink = world.sink("block")
    fill(sink, remaining=lambda: 0.0)

    def last() -> float:
        # The room that the first one waits for.
        world.medium.error = None
        return 20.0

    held = [Held(record(1), lambda: first_seconds), Held(record(2), last)]
    assert sink.keep_each(held) == [first_kept, True]


def test_a_record_that_cannot_be_made_costs_no_other(world: World) -> None:
    """Its call is answered again, where it fails for itself; those beside it are in the log."""

    def fail() -> str:
        raise ValueError("on purpose")

    sink, turn, told = world.sink(), Turn(), Told()
    lines: list[Line] = [record(0), fail, lambda: record(2)]
    for number, line in enumerate(lines):
        told.answer(turn, sink, number, line)
    turn.settle()
    assert (told.told, told.again) == ([0, 2], [1])
    wait_until(lambda: len(world.medium.records) == 2, "both are delivered")
    assert numbers(world.medium.records) == [0, 2]
    world.whole_chain()
