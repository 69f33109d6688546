"""How often callers may ask; time is what a test says."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pdp.errors import RateLimitedError
from pdp.identity.caller_config import CallersConfig
from pdp.identity.rates import CallerRates


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _config(**limits: float) -> CallersConfig:
    keys = {"keys_sha256": ["0" * 64]}
    return CallersConfig.model_validate({"caller": [{"name": "edge", **keys, **limits}]})


def _retry(rates: CallerRates, questions: int = 1) -> float:
    with pytest.raises(RateLimitedError) as caught:
        rates.take("edge", questions)
    return caught.value.retry_seconds


def test_a_caller_may_ask_as_often_as_configured() -> None:
    """A burst is answered, what comes sooner than the rate allows is not, and time makes up for it."""
    clock = Clock()
    rates = CallerRates(_config(calls_per_second=8, burst=3), clock=clock)
    for _ in range(3):
        rates.take("edge", 1)
    assert _retry(rates) == pytest.approx(0.125)
    clock.now += 0.0625
    assert _retry(rates) == pytest.approx(0.0625)
    clock.now += 0.0625
    rates.take("edge", 1)
    assert _retry(rates) == pytest.approx(0.125)
    assert rates.refused() == {"edge": 3}


def test_a_pause_gives_no_more_than_a_burst() -> None:
    """After an hour a caller may ask as much at once as after a second."""
    clock = Clock()
    rates = CallerRates(_config(calls_per_second=10, burst=2), clock=clock)
    clock.now += 3_600
    rates.take("edge", 2)
    assert _retry(rates) == pytest.approx(0.1)


def test_without_a_burst_it_is_a_second_of_the_rate() -> None:
    """`burst` need not be given."""
    rates = CallerRates(_config(calls_per_second=5), clock=Clock())
    rates.take("edge", 5)
    assert _retry(rates) == pytest.approx(0.2)


def test_each_question_of_a_batch_counts() -> None:
    """A batch takes as much as its questions; an empty one counts as a call."""
    rates = CallerRates(_config(calls_per_second=10, burst=10), clock=Clock())
    rates.take("edge", 9)
    rates.take("edge", 0)
    assert _retry(rates) == pytest.approx(0.1)


def test_a_batch_larger_than_a_burst_is_owed() -> None:
    """It is answered by a caller's full credit, and paid for afterwards, so that the rate holds on average."""
    clock = Clock()
    rates = CallerRates(_config(calls_per_second=10, burst=10), clock=clock)
    rates.take("edge", 30)
    assert _retry(rates) == pytest.approx(2.1)
    clock.now += 2.1
    rates.take("edge", 1)


def test_a_refused_call_is_not_counted() -> None:
    """Who asks too often and goes on asking is answered as soon as who waits."""
    clock = Clock()
    rates = CallerRates(_config(calls_per_second=1, burst=1), clock=clock)
    rates.take("edge", 1)
    for _ in range(100):
        _retry(rates)
    clock.now += 1.0
    rates.take("edge", 1)


def test_workers_share_a_rate() -> None:
    """Each of two processes gives half of it, and never less than one question at once."""
    clock = Clock()
    rates = CallerRates(_config(calls_per_second=1, burst=1), workers=2, clock=clock)
    rates.take("edge", 1)
    assert _retry(rates) == pytest.approx(2.0)


def test_only_callers_with_a_limit_are_counted() -> None:
    """Nobody else is limited, and nothing is kept about names that are not configured."""
    rates = CallerRates(_config(), clock=Clock())
    for name in ("edge", "", "somebody"):
        rates.take(name, 1_000_000)
    assert rates.refused() == {}


@pytest.mark.parametrize("wrong", [{"calls_per_second": -1}, {"calls_per_second": float("inf")}, {"burst": 5}])
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    """A rate is a finite number from 0, and a burst goes with one."""
    with pytest.raises(ValidationError):
        _config(**wrong)
