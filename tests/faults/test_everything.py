"""All at once: workers killed, bundles and modules changed, certificates replaced, while callers ask over TLS."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from tests.bundles import write_bundle
from tests.certificates import Authority
from tests.faults.load import load, until, verified
from tests.faults.test_bundles import churning
from tests.faults.worlds import files
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, alive, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]

#: New connections often: each one meets the certificate of the moment.
_CALLS_PER_CONNECTION = 40


@contextmanager
def _again_and_again(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(seconds):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@contextmanager
def _over_tls(directory: Path, authority: Authority, log: Path) -> Iterator[Fleet]:
    """Two workers with a certificate of the authority."""
    bundle = write_bundle(directory / "bundle", files())
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    settings = {"DECISION_LOG__SINK": "file", "DECISION_LOG__PATH": str(log)}
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


def test_everything_at_once(tmp_path: Path) -> None:
    """Under all of it at once no answer is wrong, only calls at killed workers fail, and it serves on afterwards."""
    authority, picked, kills = Authority(), random.Random(1), 0
    log = tmp_path / "decisions.jsonl"
    with _over_tls(tmp_path, authority, log) as running:
        asked = load(running.address, authority=authority.pem, calls_per_connection=_CALLS_PER_CONNECTION)
        with asked as asking:
            with churning(tmp_path / "bundle"), _again_and_again(0.3, lambda: _replace(tmp_path, authority)):
                for _ in until(6):
                    ended = len(running.events("worker ended"))
                    os.kill(picked.choice(_workers(running)), signal.SIGKILL)
                    kills += 1
                    wait_until(lambda ended=ended: len(running.events("worker ended")) > ended, "its end")  # type: ignore[misc]
                    asking.go_on(400)
            running.whole()
            asking.go_on()
        outcome = asking.outcome
        assert outcome.unexplained() == []
        assert len(outcome.failures) <= kills * 12, outcome.failures
        assert len(outcome.answered) >= 6, outcome.answered
        wait_until(lambda: not outcome.unlogged(log, torn=2), "every answered call in the log")
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
    assert outcome.unlogged(log) == set()
    assert verified(log)


def _workers(running: Fleet) -> list[int]:
    """The process ids of all workers, once there are two, whatever they say of their bundle."""
    found: list[int] = []

    def there() -> bool:
        found[:] = [worker.pid for worker in running.status().workers if worker.state]
        # One that has just been killed is listed for a moment longer.
        return len(found) == 2 and all(map(alive, found))

    wait_until(there, "two workers")
    return found
