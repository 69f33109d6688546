"""Processes that are killed, stopped, or told to end, while callers ask."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import write_bundle
from tests.faults.load import BROKEN_OFF, load, until, verified
from tests.faults.worlds import files
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, alive, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The decision log of the service."""
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def running(tmp_path: Path, log: Path) -> Iterator[Fleet]:
    """Two workers that serve."""
    bundle = write_bundle(tmp_path / "bundle", files())
    settings = {"DECISION_LOG__SINK": "file", "DECISION_LOG__PATH": str(log), "SERVER__STUCK_SECONDS": "2"}
    with fleet(bundle, tmp_path, **settings) as found:
        found.whole()
        yield found


def test_killed_workers_take_only_their_calls_with_them(running: Fleet, log: Path) -> None:
    """Under load with workers killed again and again, no answer is wrong, only calls at the killed ones fail, and the
    log has every call that was answered, in whole chains."""
    picked = random.Random(1)
    kills = 0
    with load(running.address) as asking:
        for _ in until(3):
            killed = picked.choice(running.whole())
            os.kill(killed, signal.SIGKILL)
            kills += 1
            asking.go_on()
            wait_until(lambda killed=killed: killed not in running.whole(), "a new worker")  # type: ignore[misc]
        asking.go_on()
    outcome = asking.outcome
    assert outcome.unexplained() == []
    # One call of each of the six threads, and one more where it came upon the connection while it broke.
    assert len(outcome.failures) <= kills * 12, outcome.failures
    # What a killed worker left in its spool is delivered by another one; a service that ends leaves it to the next.
    wait_until(lambda: not outcome.unlogged(log, torn=2), "every answered call in the log")
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == 0
    assert outcome.unlogged(log) == set()
    assert verified(log)


def test_a_stopped_worker_is_replaced_under_load(running: Fleet) -> None:
    """A worker that is stopped holds up its own callers only until it is found, and the others not at all."""
    with load(running.address) as asking:
        stopped, _ = running.whole()
        os.kill(stopped, signal.SIGSTOP)
        assert running.wait_for("worker is stuck")["pid"] == stopped
        wait_until(lambda: stopped not in running.whole(), "a new worker")
        asking.go_on()
    assert asking.outcome.unexplained() == []
    assert len(asking.outcome.failures) <= 12, asking.outcome.failures


def test_a_short_stop_loses_nothing(running: Fleet, log: Path) -> None:
    """All processes stopped for a moment, as by a machine that sleeps: every call is answered afterwards."""
    workers = [*running.whole(), running.process.pid]
    with load(running.address) as asking:
        for _ in until(1):
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            asking.go_on(20)
    assert asking.outcome.failures == []
    assert running.whole() == workers[:-1]
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == 0
    assert asking.outcome.unlogged(log) == set()


def test_without_a_supervisor_workers_end_in_good_order(running: Fleet, log: Path) -> None:
    """SIGKILL of the supervisor: calls in flight are answered or broken off, and every answer is in the log."""
    workers = running.whole()
    with load(running.address) as asking:
        running.process.kill()
        wait_until(lambda: not any(map(alive, workers)), "the end of all workers")
        asking.gone()
    assert {failure["code"] for failure in asking.outcome.failures} <= BROKEN_OFF
    assert asking.outcome.unlogged(log) == set()


def test_sigterm_under_load_loses_no_record(running: Fleet, log: Path) -> None:
    """Told to end while callers ask, every call is answered or broken off, and every answer is in the log, once."""
    workers = running.whole()
    with load(running.address) as asking:
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
        asking.gone()
    assert not any(map(alive, workers))
    assert {failure["code"] for failure in asking.outcome.failures} <= BROKEN_OFF
    assert asking.outcome.unlogged(log) == set()
