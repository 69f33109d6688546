"""Bundles that change all the time, or are damaged, the copy of the last good one included."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bundles import write_bundle
from tests.faults.load import Load, load, meanwhile, until
from tests.faults.worlds import BROKEN_POLICY, POLICY_FILE, changes, files, load_revision, put
from tests.waiting import wait_until
from tests.workers.fleet import Fleet, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]

_CHURN_SECONDS = 0.05
#: How much more memory the workers may have at the end of the churn than after its first changes.
_GROWTH = 1.5


def _resident_bytes(pids: list[int]) -> int:
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def churning(bundle: Path) -> Iterator[None]:
    """A bundle that changes 20 times a second; at the end it is a good one again."""

    def change(stopped: threading.Event) -> None:
        for path, value in changes():
            put(bundle, path, value)
            if stopped.wait(_CHURN_SECONDS):
                break

    try:
        with meanwhile(change):
            yield
    finally:
        for path, value in files().items():
            put(bundle, path, value)


def _loads(running: Fleet) -> int:
    return len(running.events("bundle loaded"))


def test_a_bundle_that_changes_all_the_time_is_answered_right(tmp_path: Path) -> None:
    """While policies and modules change 20 times a second, broken now and then, every answer is right for the revision
    that it names, no call fails, and memory stays level."""
    bundle = write_bundle(tmp_path / "bundle", files())
    with fleet(bundle, tmp_path, DECISION_LOG__SINK="none") as running:
        workers = running.whole()
        with load(running.address) as asking:
            with churning(bundle):
                _change_much(running, asking)
                settled = _resident_bytes(workers)
                for _ in until(4):
                    _change_much(running, asking)
                grown = _resident_bytes(workers)
            wait_until(lambda: running.status().revision == load_revision(files()), "the last revision")
            asking.go_on()
        assert asking.outcome.failures == []
        assert len(asking.outcome.answered) >= 6, asking.outcome.answered
        assert grown < settled * _GROWTH
        assert running.whole() == workers


def _change_much(running: Fleet, asking: Load) -> None:
    """Wait until the bundle was loaded a few times more, and calls were answered."""
    before = _loads(running)
    wait_until(lambda: _loads(running) >= before + 10, "ten more loads")
    asking.go_on()


def _copies(state: Path) -> list[Path]:
    return list(state.rglob("*.tar.gz"))


def _damaged(data: bytes, kind: str) -> bytes:
    return {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "changed": data[:-20] + bytes(20),
        "other": b"not an archive",
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "cut", "changed", "other"])
def test_a_damaged_copy_is_never_served(tmp_path: Path, kind: str) -> None:
    """A damaged copy harms nobody while the bundle is good, is replaced, and with a broken bundle is not served."""
    bundle = write_bundle(tmp_path / "bundle", files())
    with fleet(bundle, tmp_path, DECISION_LOG__SINK="none") as running:
        running.whole()
        [copy] = _copies(tmp_path / "state")
        whole = copy.read_bytes()
        with load(running.address) as asking:
            copy.write_bytes(_damaged(whole, kind))
            asking.go_on()
        assert asking.outcome.failures == []
    put(bundle, POLICY_FILE, BROKEN_POLICY)
    with fleet(bundle, tmp_path, DECISION_LOG__SINK="none") as refused:
        assert refused.process.wait(60) == 1
    put(bundle, POLICY_FILE, files()[POLICY_FILE])
    with fleet(bundle, tmp_path, DECISION_LOG__SINK="none") as mended:
        mended.whole()
    put(bundle, POLICY_FILE, BROKEN_POLICY)
    with fleet(bundle, tmp_path, DECISION_LOG__SINK="none") as restored:
        assert restored.connection().authorize().revision == load_revision(files())
