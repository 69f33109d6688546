"""Keys that are read again and again: when, for how long they are good, and what is told about them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.identity.keys import IssuerKeys, KeyTiming
from pdp.identity.refresh_schedule import RefreshSchedule
from tests.unit.identity.making import ISSUER, TIMING, Clock, MemoryKeySource, key_set, signer

ONE = key_set(signer("k1"))
TWO = key_set(signer("k1"), signer("k2"))


def _keys(
    source: MemoryKeySource, clock: Clock, timing: KeyTiming = TIMING, chance: Callable[[], float] = lambda: 0.0
) -> IssuerKeys:
    return IssuerKeys(ISSUER, source, ["RS256"], timing, clock=clock, chance=chance)


def _names(keys: IssuerKeys) -> list[str | None] | None:
    current = keys.current()
    return None if current is None else [key.key_id for key in current.keys]


# --- when to read ----------------------------------------------------------------------------------------------------


def test_the_first_attempt_is_due_at_once() -> None:
    """Nothing is waited for before the first attempt."""
    assert RefreshSchedule(300, 5).due < 0


def test_after_a_success_it_waits() -> None:
    """After a success the next attempt comes after the usual time, at most a tenth earlier."""
    schedule = RefreshSchedule(300, 5)
    for chance, due in ((0.0, 1_300.0), (1.0, 1_270.0)):
        schedule.succeeded(1_000, chance)
        assert schedule.due == due


def test_failures_back_off() -> None:
    """Each failure doubles the time to the next attempt, up to the usual time; a success starts over."""
    schedule = RefreshSchedule(60, 5)
    delays = []
    for _ in range(7):
        schedule.failed(1_000, 0.0)
        delays.append(schedule.due - 1_000)
    assert delays == [5, 10, 20, 40, 60, 60, 60]
    schedule.succeeded(1_000, 0.0)
    schedule.failed(1_000, 1.0)
    assert schedule.due == 1_002.5


def test_no_number_of_failures_is_too_many() -> None:
    """The time to the next attempt stays what it is, however long a source is away."""
    schedule = RefreshSchedule(60, 1)
    for _ in range(2_000):
        schedule.failed(0, 0.0)
    assert schedule.due == 60


def test_wanting_keys_hastens_once() -> None:
    """Wanting unknown keys brings the next attempt forward, never to less than the shortest time after the last."""
    schedule = RefreshSchedule(300, 5)
    schedule.succeeded(1_000, 0.0)
    assert schedule.hasten(1_001)
    assert schedule.due == 1_005
    assert not schedule.hasten(1_002)
    schedule.succeeded(1_005, 0.0)
    assert schedule.hasten(1_100)
    assert schedule.due == 1_100


def test_wanting_keys_does_not_hasten_after_failures() -> None:
    """While a source is away, wanting keys changes nothing: the back-off holds."""
    schedule = RefreshSchedule(300, 5)
    for _ in range(3):
        schedule.failed(1_000, 0.0)
    assert not schedule.hasten(1_001)
    assert schedule.due == 1_020


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "want"]), st.floats(0, 100), st.floats(0, 1)), max_size=30))
def test_nobody_makes_it_hurry(events: list[tuple[str, float, float]]) -> None:
    """Whatever happens, two attempts are at least half the shortest time apart, and none is put off for ever."""
    schedule = RefreshSchedule(300, 5)
    now = 0.0
    for event, passed, chance in events:
        now += passed
        if event == "want":
            schedule.hasten(now)
        else:
            now = max(now, schedule.due)
            (schedule.succeeded if event == "ok" else schedule.failed)(now, chance)
            assert 2.4 < schedule.due - now < 301


# --- what is current -------------------------------------------------------------------------------------------------


def test_nothing_was_read_yet() -> None:
    """Before the first attempt there are no keys, and that is told."""
    keys = _keys(MemoryKeySource(ONE), Clock())
    assert keys.current() is None
    assert keys.problems() == [f"there are no keys of issuer `{ISSUER}`: they were not read yet"]


def test_what_is_published_is_current() -> None:
    """After each attempt the keys are the ones that are published then."""
    source, clock = MemoryKeySource(ONE), Clock()
    keys = _keys(source, clock)
    keys.refresh()
    assert _names(keys) == ["k1"]
    assert keys.problems() == []
    source.document = TWO
    assert _names(keys) == ["k1"]
    keys.refresh()
    assert _names(keys) == ["k1", "k2"]
    source.document = key_set(signer("k2"))
    keys.refresh()
    assert _names(keys) == ["k2"]


def test_what_did_not_change_is_not_read_anew() -> None:
    """The same document again gives the very same keys."""
    source = MemoryKeySource(ONE)
    keys = _keys(source, Clock())
    keys.refresh()
    before = keys.current()
    keys.refresh()
    assert keys.current() is before
    assert source.reads == 2


@pytest.mark.parametrize("document", [None, b"", b"<html>", b'{"keys": 1}'])
def test_a_source_that_fails_leaves_the_keys(document: bytes | None) -> None:
    """A source that is away or serves garbage leaves the keys as they are, until they are too old; both are told."""
    source, clock = MemoryKeySource(ONE), Clock()
    keys = _keys(source, clock)
    keys.refresh()
    source.document = document
    clock.now += 3_600
    keys.refresh()
    assert _names(keys) == ["k1"]
    [problem] = keys.problems()
    assert problem.startswith(f"keys of issuer `{ISSUER}` are 1 h old: ")
    clock.now += 0.5
    assert keys.current() is None
    assert f"`{ISSUER}` are 1 h old and no longer used: " in keys.problems()[0]
    source.document = TWO
    keys.refresh()
    assert _names(keys) == ["k1", "k2"]
    assert keys.problems() == []


def test_keys_age_without_attempts() -> None:
    """Keys are too old after their time even if nobody tried to read them again."""
    clock = Clock()
    keys = _keys(MemoryKeySource(ONE), clock)
    keys.refresh()
    clock.now += 3_601
    assert keys.current() is None


def test_keys_are_as_old_as_the_question() -> None:
    """The age counts from when the source was asked, not from when it has answered."""
    clock = Clock()

    class Slow(MemoryKeySource):
        """Takes ten minutes to answer."""

        def read(self) -> bytes:
            """The document, later."""
            clock.now += 600
            return super().read()

    keys = _keys(Slow(ONE), clock)
    keys.refresh()
    clock.now += 3_001
    assert keys.current() is None


def test_a_source_that_breaks_is_a_source_that_fails() -> None:
    """An unforeseen error of a source is told like others, and ends nothing."""

    class Broken(MemoryKeySource):
        """Has a bug."""

        def read(self) -> bytes:
            """Fail."""
            raise ZeroDivisionError("a bug")

    keys = _keys(Broken(), Clock())
    keys.refresh()
    assert keys.current() is None
    assert keys.problems() == [f"there are no keys of issuer `{ISSUER}`: ZeroDivisionError: a bug"]


def test_keys_that_are_left_out_are_told() -> None:
    """A published key that is not used for its weakness is a problem, and the others work."""
    keys = _keys(MemoryKeySource(key_set(signer("short", "RS256", 1_024), signer("k1"))), Clock())
    keys.refresh()
    assert _names(keys) == ["k1"]
    assert [problem.startswith(f"issuer `{ISSUER}`: key `short` is not used") for problem in keys.problems()] == [True]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (7_200, "2 h"), (172_800, "2 d")]
)
def test_ages_are_for_people(seconds: float, text: str) -> None:
    """An age is told in the largest unit that it has one of."""
    source, clock = MemoryKeySource(ONE), Clock()
    keys = _keys(source, clock)
    keys.refresh()
    source.document = None
    clock.now += seconds
    keys.refresh()
    assert f" are {text} old" in keys.problems()[0]
