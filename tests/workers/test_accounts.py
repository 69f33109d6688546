"""The metrics of several workers are one account, which loses nothing when a worker ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pdp.config import Config
from pdp.observing.health import Health
from pdp.telemetry import catalogue
from pdp.telemetry.readings import Reading, as_json, from_json, joined, single
from pdp.workers.accounts import Accounts, AccountWriter
from pdp.workers.orders import Orders, RuntimeDirectory
from tests.bundles import write_bundle
from tests.telemetry.world import get, value
from tests.waiting import wait_until
from tests.workers.fleet import BUNDLE, fleet


class Worker:
    """Says what a test has it say."""

    def __init__(self, dropped: float, waiting: float) -> None:
        self.dropped = dropped
        self.waiting = waiting
        self.state = Health()

    def health(self) -> Health:
        """As set."""
        return self.state

    def readings(self) -> list[Reading]:
        """A counter and a gauge."""
        return [single(catalogue.LOG_DROPPED, self.dropped), single(catalogue.LOG_WAITING, self.waiting)]


def write(runtime: RuntimeDirectory, index: int, worker: Worker) -> None:
    """Have a worker write its account once."""
    AccountWriter(Orders(Config(), index, 2, os.getpid(), runtime), worker)._write()


def figure(accounts: Accounts, family: catalogue.Family) -> float:
    """The one figure of a metric."""
    [found] = [reading.figures for reading in accounts.readings() if reading.name == family.name]
    return found[family.name, ()]


def test_a_dead_worker_goes_on_counting(tmp_path: Path) -> None:
    """Counters add up over workers and over those that were before them; gauges are of those that live."""
    runtime = RuntimeDirectory(tmp_path)
    accounts = Accounts(runtime, 2)
    write(runtime, 0, Worker(3, 5))
    write(runtime, 1, Worker(4, 7))
    assert figure(accounts, catalogue.LOG_DROPPED) == 7
    assert figure(accounts, catalogue.LOG_WAITING) == 12
    for _ in range(3):
        accounts.ended(1)
        assert figure(accounts, catalogue.LOG_DROPPED) == 7
        assert figure(accounts, catalogue.LOG_WAITING) == 5
    write(runtime, 1, Worker(1, 1))
    assert figure(accounts, catalogue.LOG_DROPPED) == 8
    assert figure(accounts, catalogue.WORKERS_UP) == 2


def test_a_silent_worker_is_not_up(tmp_path: Path) -> None:
    """A worker that writes nothing any more counts as before, and is told of as missing."""
    runtime, now = RuntimeDirectory(tmp_path), [0.0]
    write(runtime, 0, Worker(3, 5))
    now[0] = runtime.account(0).stat().st_mtime
    accounts = Accounts(runtime, 1, now=lambda: now[0])
    assert accounts.health().ready
    now[0] += 6.0
    assert accounts.health() == Health(("worker 0 does not answer",))
    assert figure(accounts, catalogue.WORKERS_UP) == 0
    assert figure(accounts, catalogue.LOG_DROPPED) == 3


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"{}", b"[[],[]]\n[[1]]", b'[[],[]]\n[["pdp_ready",[[1,2]]]]', b"\xff\n\xff"]
)
def test_what_cannot_be_read_is_no_account(tmp_path: Path, text: bytes) -> None:
    """A file that is not what a worker writes takes nothing down."""
    runtime = RuntimeDirectory(tmp_path)
    runtime.account(0).write_bytes(text)
    accounts = Accounts(runtime, 1)
    assert not accounts.health().ready
    accounts.ended(0)
    assert figure(accounts, catalogue.READY) == 0


def test_readings_survive_being_written() -> None:
    """What is read back is what was written, and infinite ages too."""
    readings = [single(catalogue.SNAPSHOT_AGE, float("inf")), single(catalogue.SNAPSHOT, 1.0, 'r"\n')]
    assert from_json(as_json(readings)) == readings


@pytest.mark.parametrize(
    ("family", "result"), [(catalogue.LOG_WAITING, 5.0), (catalogue.SNAPSHOT_AGE, 3.0), (catalogue.READY, 2.0)]
)
def test_each_family_joins_in_its_way(family: catalogue.Family, result: float) -> None:
    """Some figures add up, of some the worst one counts."""
    assert joined([[single(family, 2.0)], [single(family, 3.0)]]) == [single(family, result)]


@pytest.mark.process
@pytest.mark.slow
def test_a_killed_worker_takes_nothing_back(tmp_path: Path) -> None:
    """With workers the supervisor answers scrapers; killing one leaves the counts, and is counted."""
    bundle = write_bundle(tmp_path / "bundle", BUNDLE)
    with fleet(bundle, tmp_path, TELEMETRY__LISTEN="127.0.0.1:0") as running:
        pids = running.whole()
        address = running.wait_for("telemetry")["address"]
        for connection in running.connections():
            connection.authorize()
        wait_until(lambda: value(address, "pdp_decisions_total") >= 24, "all decisions in the account")
        before = value(address, "pdp_decisions_total")
        assert value(address, "pdp_workers_up") == 2
        os.kill(pids[0], signal.SIGKILL)
        wait_until(lambda: value(address, "pdp_worker_restarts_total") == 1, "a restart that is counted")
        wait_until(lambda: value(address, "pdp_workers_up") == 2, "both are up")
        assert value(address, "pdp_decisions_total") >= before
        wait_until(lambda: get(address, "/readyz").text == "ready\n", "ready")
        assert get(address, "/livez").status == 200
