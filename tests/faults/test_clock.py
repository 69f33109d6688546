"""A machine whose clock is set, forwards and backwards, while callers ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import write_bundle
from tests.faults.load import load, until
from tests.faults.worlds import files
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: Where distributions keep the library that lies about the time.
_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
#: The first ones change the date, whatever the time of day.
_JUMPS = ("+30d", "-400d", "+1h", "-1h", "+0")


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that says how far the clock of new processes is off. Skips the test where no library can do that."""
    found = [library for place in _PLACES for library in Path("/").glob(place.lstrip("/"))]
    if not found and "REQUIRE_FAKETIME" in os.environ:
        pytest.fail("libfaketime is not installed, and `REQUIRE_FAKETIME` is set")
    if not found:
        pytest.skip("libfaketime is not installed")
    offset = tmp_path / "offset"
    offset.write_text("+0")
    settings = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        # What a machine does not set either.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    # The library gets in the way of the compiler's process, so modules are compiled without it.
    with fleet(write_bundle(tmp_path / "bundle", files()), tmp_path, DECISION_LOG__SINK="none") as compiling:
        compiling.whole()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return offset


@pytest.fixture
def running(tmp_path: Path, clock: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """Two workers with that clock."""
    bundle = tmp_path / "bundle"
    log = str(tmp_path / "decisions.jsonl")
    settings = {"DECISION_LOG__SINK": "file", "DECISION_LOG__PATH": log, "SERVER__STUCK_SECONDS": "5"}
    # A crowded machine makes calls wait, which is not what this is about.
    settings["LIMITS__QUEUE_MS"] = "10000"
    with fleet(bundle, tmp_path, **settings) as found:
        # Only the service is lied to.
        monkeypatch.delenv("LD_PRELOAD")
        found.whole()
        yield found


def _set(clock: Path, offset: str) -> None:
    new = clock.with_suffix(".new")
    new.write_text(offset)
    new.replace(clock)


def test_a_clock_that_is_set_kills_nobody(running: Fleet, clock: Path, tmp_path: Path) -> None:
    """Whoever sets the clock, by hours or months, forwards or backwards: no worker is taken for stuck, no call fails,
    and what is logged has the new time."""
    workers = running.whole()
    with load(running.address) as asking:
        for number in until(2):
            _set(clock, _JUMPS[number % len(_JUMPS)])
            asking.go_on()
        _set(clock, "+0")
        asking.go_on()
    assert asking.outcome.unexplained() == []
    assert asking.outcome.failures == []
    wait_until(lambda: running.whole() == workers, "the same workers")
    assert not running.events("worker is stuck")
    # A record is on its way when its call is answered, and comes to the file of its worker a little later.
    wait_until(lambda: len(_dates(tmp_path)) > 2, "records of three dates")


def _dates(directory: Path) -> set[str]:
    """The dates of all whole lines, whichever worker wrote them: one of the two may have got most callers."""
    lines = [line for log in directory.glob("decisions*.jsonl") for line in log.read_text().splitlines(keepends=True)]
    return {line.partition('"time":"')[2][:10] for line in lines if line.endswith("\n")}
