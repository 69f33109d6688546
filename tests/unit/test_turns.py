"""Turns: records are kept before anybody is told, and whose is not kept is answered again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from pdp import turns
from pdp.turns import Held, Turn


class Log:
    """Keeps records but for those in `refused`, and notes all that happens, in its order."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.failure: BaseException | None = None
        self.events: list[str] = []

    def keep_each(self, records: Sequence[Held]) -> list[bool]:
        """As in `Keeper`."""
        if self.failure is not None:
            raise self.failure
        kept = [record for record in records if record.line not in self.refused]
        self.events += [f"keep {record.line}" for record in kept]
        return [record in kept for record in records]

    def noting(self, event: str) -> Callable[[], None]:
        """A function that notes that it was called."""
        return lambda: self.events.append(event)

    def answer(self, turn: Turn, name: str, *, record: bool = True) -> None:
        """Answer a call in the turn."""
        turn.begin()
        if record:
            assert turn.hold(self, Held(name, None))
        turn.when_told(self.noting(f"count {name}"))
        turn.put(self.noting(f"tell {name}"), self.noting(f"again {name}"))
        turn.end()


def test_nobody_is_told_before_all_records_are_kept() -> None:
    """Records are kept in their order, then each call is counted and told; nothing is left for later."""
    log, turn = Log(), Turn()
    log.answer(turn, "a")
    log.answer(turn, "silent", record=False)
    log.answer(turn, "b")
    assert (len(turn), log.events) == (3, [])
    turn.settle()
    told = [f"{what} {name}" for name in ("a", "silent", "b") for what in ("count", "tell")]
    assert log.events == ["keep a", "keep b", *told]
    turn.settle()
    assert (len(turn), len(log.events)) == (0, 8)


def test_a_call_whose_record_is_not_kept_is_answered_again() -> None:
    """Its answer is thrown away and not counted; the others are told theirs."""
    log, turn = Log("b"), Turn()
    for name in "abc":
        log.answer(turn, name)
    turn.settle()
    assert log.events == ["keep a", "keep c", "count a", "tell a", "again b", "count c", "tell c"]


def test_where_nothing_can_be_kept_no_answer_goes_out() -> None:
    """A log that fails altogether, or says too little, is told of; whoever needs no record gets the answer."""
    log, turn = Log(), Turn()
    log.failure = RuntimeError("on purpose")
    log.answer(turn, "a")
    log.answer(turn, "silent", record=False)
    with pytest.raises(RuntimeError, match="on purpose"):
        turn.settle()
    assert log.events == ["again a", "count silent", "tell silent"]

    class Mute(Log):
        def keep_each(self, records: Sequence[Held]) -> list[bool]:
            return []

    mute = Mute()
    mute.answer(turn, "a")
    turn.settle()
    assert mute.events == ["again a"]


def test_one_that_cannot_be_told_hides_no_other() -> None:
    """Everybody else is told, and what was raised comes out afterwards."""

    def fail() -> None:
        raise OSError("on purpose")

    log, turn = Log(), Turn()
    turn.begin()
    turn.put(fail, fail)
    turn.end()
    log.answer(turn, "b")
    with pytest.raises(OSError, match="on purpose"):
        turn.settle()
    assert log.events == ["keep b", "count b", "tell b"]


def test_one_that_cannot_be_counted_is_told() -> None:
    """Its record is kept, so its caller gets the answer; what was raised comes out afterwards."""

    def fail() -> None:
        raise ValueError("on purpose")

    log, turn = Log(), Turn()
    turn.begin()
    assert turn.hold(log, Held("a", None))
    turn.when_told(fail)
    turn.put(log.noting("tell a"), log.noting("again a"))
    turn.end()
    with pytest.raises(ValueError, match="on purpose"):
        turn.settle()
    assert log.events == ["keep a", "tell a"]


def test_a_call_that_fails_leaves_no_record() -> None:
    """Its record is of no answer; that it ended is still told."""
    log, turn = Log(), Turn()
    turn.begin()
    assert turn.hold(log, Held("a", None))
    turn.when_told(log.noting("count a"))
    turn.end()
    log.answer(turn, "b")
    turn.settle()
    assert log.events == ["count a", "keep b", "count b", "tell b"]


def test_a_call_that_will_take_long_has_the_others_told_first() -> None:
    """They do not wait for it; whatever is answered again meanwhile is in no turn, and the call goes on in its own."""
    log, turn, found = Log("again"), Turn(), list[Turn | None]()
    log.answer(turn, "a")
    turn.begin()
    assert turn.hold(log, Held("again", None))
    turn.put(lambda: None, lambda: found.append(turns.current()))
    turn.end()
    turn.begin()
    turns.tell_others()
    assert (log.events, found) == (["keep a", "count a", "tell a"], [None])
    assert turns.current() is turn
    assert turn.hold(log, Held("long", None))
    turn.put(log.noting("tell long"), log.noting("again long"))
    turn.end()
    turns.tell_others()
    turn.settle()
    assert log.events[3:] == ["keep long", "tell long"]


def test_what_a_turn_cannot_hold_is_kept_at_once() -> None:
    """A second record of one call, and one for another log while others are held."""
    log, turn = Log(), Turn()
    turn.begin()
    assert turn.hold(log, Held("a", None))
    assert not turn.hold(log, Held("a again", None))
    turn.put(log.noting("tell a"), log.noting("again a"))
    turn.end()
    turn.begin()
    assert not turn.hold(Log(), Held("b", None))
    turn.end()
    turn.settle()
    other = Log()
    other.answer(turn, "c")
    turn.settle()
    assert other.events == ["keep c", "count c", "tell c"]


def test_a_turn_is_of_its_thread_alone() -> None:
    """Another thread, and this one between two calls, is in no turn."""
    turn, found = Turn(), list[Turn | None]()
    assert turns.current() is None
    turn.begin()
    assert turns.current() is turn
    other = threading.Thread(target=lambda: found.append(turns.current()))
    other.start()
    other.join()
    turn.end()
    assert found == [None]
    assert turns.current() is None
