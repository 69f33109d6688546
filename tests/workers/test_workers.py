"""Several workers behind one port, as processes: they share the load, agree, and are replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2 as admin
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import write_bundle
from tests.waiting import wait_until
from tests.workers.fleet import BUNDLE, REFUSING, Fleet, alive, fleet

pytestmark = [pytest.mark.process, pytest.mark.slow]

ALLOW = decision_pb2.DECISION_ALLOW


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that permits everything."""
    return write_bundle(tmp_path / "bundle", BUNDLE)


@pytest.fixture
def running(bundle: Path, tmp_path: Path) -> Iterator[Fleet]:
    """Two workers that serve."""
    with fleet(bundle, tmp_path, SERVER__STUCK_SECONDS="4") as found:
        found.whole()
        yield found


def test_all_workers_answer(running: Fleet) -> None:
    """Connections are shared out, and one account names all workers, with one revision."""
    answers = [connection.authorize() for connection in running.connections()]
    assert all(answer.decision == ALLOW for answer in answers)
    # An id begins with what the process drew for itself.
    assert len({answer.decision_id[:20] for answer in answers}) == 2
    status = running.status()
    assert status.state == admin.SERVICE_STATE_SERVING
    assert {worker.revision for worker in status.workers} == {status.revision}
    assert len(running.events("serving")) == 1


def test_a_worker_that_is_killed_is_replaced(running: Fleet) -> None:
    """After SIGKILL there is a new process; the other worker's callers notice nothing; the log tells."""
    killed, other = running.whole()
    os.kill(killed, signal.SIGKILL)
    assert running.wait_for("worker ended")["status"] == -signal.SIGKILL
    assert all(connection.authorize().decision == ALLOW for connection in running.connections())
    wait_until(lambda: killed not in running.whole(), "a new worker")
    assert other in running.whole()


def test_a_worker_that_is_stuck_is_replaced(running: Fleet) -> None:
    """A stopped process shows no sign of life, is killed, and a new one takes its place."""
    stopped, _ = running.whole()
    os.kill(stopped, signal.SIGSTOP)
    assert running.wait_for("worker is stuck")["pid"] == stopped
    wait_until(lambda: stopped not in running.whole(), "a new worker")
    assert not alive(stopped)


def test_a_reload_reaches_all(bundle: Path, tmp_path: Path) -> None:
    """Who asks one worker to read the bundle again has all of them do it, also where nobody watches the files."""
    with fleet(bundle, tmp_path, BUNDLE__WATCH="false") as running:
        running.whole()
        connections = running.connections()
        (bundle / "policies" / "a.cedar").write_text(REFUSING)
        assert all(connection.authorize().decision == ALLOW for connection in connections)
        reloaded = running.connection().admin.Reload(admin.ReloadRequest(), timeout=30)
        assert reloaded.changed
        wait_until(
            lambda: {connection.authorize().revision for connection in connections} == {reloaded.revision},
            "all workers with the new revision",
        )
        assert all(connection.authorize().decision != ALLOW for connection in connections)


def test_a_changed_tool_is_changed_for_all(running: Fleet) -> None:
    """A tool that one worker is shown in another form than the pinned one is denied by all, from the next call on."""
    connections = running.connections()
    changed = pb.ListedTool(name="read", definition_json=b'{"name": "read", "description": "other"}')
    subject = decision_pb2.Subject(entity=decision_pb2.EntityUid(type="Agent", id="a"))
    shown = connections[0].decision.FilterTools(
        pb.FilterToolsRequest(subject=subject, server="srv", tools=[changed]), timeout=30
    )
    assert not shown.allowed
    codes = {connection.authorize().denial.code for connection in connections}
    assert codes == {decision_pb2.DENIAL_CODE_TOOL_CHANGED}


def test_sigterm_ends_all_of_it(running: Fleet, tmp_path: Path) -> None:
    """The status is 0, no worker is left, the shared directory is gone, and every decision is in the log."""
    workers = running.whole()
    ids = {connection.authorize().decision_id for connection in running.connections()}
    running.process.send_signal(signal.SIGTERM)
    status, out = running.end()
    assert status == 0
    assert not any(map(alive, workers))
    assert not list(tmp_path.glob("pdp-*"))
    assert all(decision_id in out for decision_id in ids)


def test_workers_do_not_outlive_their_supervisor(running: Fleet) -> None:
    """When the supervisor is killed, the workers end by themselves."""
    workers = running.whole()
    running.process.kill()
    wait_until(lambda: not any(map(alive, workers)), "the end of all workers")


def test_what_is_wrong_with_the_bundle_is_told_once(tmp_path: Path) -> None:
    """A bundle that does not load ends the service with 1, and its problem is told by one worker."""
    broken = write_bundle(tmp_path / "bundle", {**BUNDLE, "policies/b.cedar": "permit ("})
    with fleet(broken, tmp_path) as running:
        assert running.process.wait(60) == 1
        running.close()
        assert sum("b.cedar:1:" in line for line in running.lines) == 1


def test_a_port_that_somebody_has_is_refused(running: Fleet, bundle: Path, tmp_path: Path) -> None:
    """A second service does not slip in beside the first one, whose port is shared by its workers."""
    with fleet(bundle, tmp_path, SERVER__LISTEN=f'["{running.address}"]') as second:
        assert second.process.wait(60) == 2
        second.close()
        assert any("cannot listen on" in line for line in second.lines)
