"""All at once: workers killed, bundles and modules changed, certificates replaced, while many ask over TLS."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
import pytest

from pdp._gen.pdp.v1 import admin_service_pb2 as admin
from tests.bundles import write_bundle
from tests.certificates import Authority
from tests.faults.flood import SUBJECTS, Flood, Kill, Run, Span, cut_short, flooding
from tests.faults.load import load, meanwhile, until, verified
from tests.faults.records import Record, calls, disagreement, lines, swaps
from tests.faults.test_bundles import churning
from tests.faults.worlds import files, oracle
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, alive, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: New connections often: each one meets the certificate of the moment.
_CALLS_PER_CONNECTION = 40
#: About as long as a run of h2load takes.
_RUN_SECONDS = 0.4


def _again_and_again(seconds: float, act: Callable[[], None]) -> AbstractContextManager[None]:
    def run(stopped: threading.Event) -> None:
        while not stopped.wait(seconds):
            act()

    return meanwhile(run)


@contextmanager
def _over_tls(directory: Path, authority: Authority, log: Path) -> Iterator[Fleet]:
    """Two workers with a certificate of the authority."""
    bundle = write_bundle(directory / "bundle", files())
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    settings = {"DECISION_LOG__SINK": "file", "DECISION_LOG__PATH": str(log), "DECISION_LOG__ARGUMENTS": "full"}
    # On a busy machine one worker alone may be too slow for all of them; that it then refuses is no matter here.
    settings |= {"LIMITS__QUEUE_MS": "60000"}
    settings |= {"SERVER__TLS_CERTIFICATE": certificate, "SERVER__TLS_KEY": key}
    with fleet(bundle, directory, **settings) as running:
        running.credentials = grpc.ssl_channel_credentials(authority.pem)
        running.whole()
        yield running


def _replace(directory: Path, authority: Authority) -> None:
    """Put another certificate in place: first the one file, then the other, as who replaces them does."""
    pair = authority.issue("127.0.0.1")
    for name, content in (("server.pem", pair.certificate), ("server.key", pair.key)):
        new = directory / f".{name}"
        # A key that others can read would be refused.
        new.touch(mode=0o600)
        new.write_bytes(content)
        new.replace(directory / name)


def test_certificates_that_change_all_the_time_fail_no_call(tmp_path: Path) -> None:
    """With a new certificate several times a second, half in place now and then, no call and no connection fails."""
    authority = Authority()
    with _over_tls(tmp_path, authority, tmp_path / "decisions.jsonl") as running:
        asked = load(running.address, authority=authority.pem, calls_per_connection=10)
        with asked as asking, _again_and_again(0.2, lambda: _replace(tmp_path, authority)):
            for _ in until(3):
                asking.go_on()
        assert asking.outcome.failures == []


@pytest.fixture
def _h2load() -> None:
    """Skips the test where h2load is missing."""
    if shutil.which("h2load") is None and "REQUIRE_H2LOAD" in os.environ:
        pytest.fail("h2load is not installed, and `REQUIRE_H2LOAD` is set")
    if shutil.which("h2load") is None:
        pytest.skip("h2load is not installed (Debian: nghttp2-client)")


@pytest.mark.usefixtures("_h2load")
def test_everything_at_once(tmp_path: Path) -> None:
    """Under all of it at once no decision is wrong, those of h2load included, calls fail only in flight at killed
    workers, the log verifies and has every answered call, and it serves on afterwards."""
    authority, log, kills = Authority(), tmp_path / "decisions.jsonl", list[Kill]()
    with _over_tls(tmp_path, authority, log) as running:
        asked = load(running.address, authority=authority.pem, calls_per_connection=_CALLS_PER_CONNECTION)
        with asked as asking, flooding(running.address, tmp_path) as flood:
            with churning(tmp_path / "bundle"), _again_and_again(0.3, lambda: _replace(tmp_path, authority)):
                for killed in _killing(running, flood, random.Random(1)):
                    kills.append(killed)
                    asking.go_on()
                wait_until(lambda: _much_changed(log), "calls under many revisions and modules")
            running.whole()
            asking.go_on()
        outcome = asking.outcome
        assert outcome.unexplained() == []
        assert len(outcome.failures) <= len(kills) * 12, outcome.failures
        wait_until(lambda: not outcome.unlogged(log, torn=2), "every answered call in the log")
        assert len(running.events("worker ended")) == len(kills), "a worker ended that nobody killed"
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
    assert outcome.unlogged(log) == set()
    assert verified(log)
    _hold(calls(lines(log)), flood.runs, kills)


def _killing(running: Fleet, flood: Flood, picked: random.Random) -> Iterator[Kill]:
    """Kill one worker after the other, each while h2load asks, and tell of it.

    By turns both serve before, or one may still be starting.
    """
    for number in until(6):
        victim = picked.choice(_workers(running, serving=not number % 2))
        ended, run = len(running.events("worker ended")), len(flood.runs)
        # One that has connections with all that serve now; then at any moment of it, its first and last included.
        wait_until(lambda run=run: len(flood.runs) > run and flood.asking.is_set(), "a run of h2load")  # type: ignore[misc]
        time.sleep(picked.uniform(0, _RUN_SECONDS))
        begun = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda ended=ended: len(running.events("worker ended")) > ended, "its end")  # type: ignore[misc]
        died = time.monotonic()
        running.status()
        yield Kill(Span(begun, died), Span(begun, time.monotonic()))


def _much_changed(log: Path) -> bool:
    """Whether the callers that check their answers met most of the revisions, and modules that changed under them."""
    whole = (line for line in lines(log) if line is not None)
    records = [record for record in calls(whole) if not record["subject"]["id"].startswith(SUBJECTS)]
    return len({record["revision"] for record in records}) >= 6 and swaps(records, oracle()) >= 3


def _hold(records: list[Record], runs: list[Run], kills: list[Kill]) -> None:
    """Hold the log to the oracle, and the runs of h2load to the log. Fails if they did not meet what they were to."""
    table = oracle()
    assert [found for record in records if (found := disagreement(record, table))] == []
    logged = Counter(record["subject"]["id"] for record in records)
    assert [found for run in runs if (found := run.unexplained(kills, logged[run.subject]))] == []
    assert cut_short(runs, records) == []
    assert sum(run.counts.succeeded for run in runs) > 0
    assert any(run.span.meets(kill.dying) for run in runs for kill in kills), "h2load met no kill"


def _workers(running: Fleet, *, serving: bool) -> list[int]:
    """The process ids of all workers, once there are two, and if so told once both serve."""
    found: list[int] = []

    def there() -> bool:
        told = [worker for worker in running.status().workers if worker.state]
        found[:] = [worker.pid for worker in told if not serving or worker.state == admin.SERVICE_STATE_SERVING]
        # One that has just been killed is listed for a moment longer.
        return len(found) == 2 and all(map(alive, found))

    wait_until(there, "two workers")
    return found
