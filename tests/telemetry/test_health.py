"""Ready only with a valid snapshot and a log that works; and when not, why."""

from __future__ import annotations

import math
import os
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from pdp._gen.pdp.v1 import admin_service_pb2 as admin
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.app import running
from pdp.bundle.last_good import LastGood
from pdp.bundle.loader import Loader
from pdp.bundle.source import SourceLimits
from pdp.bundle.store import SnapshotStore
from pdp.cedar.options import AuthorizeOptions
from pdp.errors import BundleError, ConfigError, Problem, UnavailableError
from pdp.observing.health import Health, health_from, health_json, joined_health
from tests.bundles import write_bundle
from tests.grpc.doubles import MemoryReader
from tests.grpc.service import (
    BUNDLE,
    TIMEOUT_SECONDS,
    Service,
    configuration,
    connect,
    failure,
    health_of,
    hold_reloads,
    tool_call,
)
from tests.telemetry.world import get, observed, value
from tests.waiting import wait_until

BROKEN = BundleError([Problem("policies/a.cedar", 1, 1, "cannot be read")])
ALLOW = decision_pb2.DECISION_ALLOW
WATCHED = {"watch": True, "rescan_seconds": 0.2, "force_polling": False}


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def store(reader: MemoryReader, clock: Clock, last_good: LastGood | None = None) -> SnapshotStore:
    """A store whose snapshots answer for ten seconds without their source."""
    loader = Loader(AuthorizeOptions())
    return SnapshotStore(reader, loader, last_good, SourceLimits(), max_age_seconds=10.0, clock=clock)


def test_a_snapshot_answers_only_for_so_long() -> None:
    """A snapshot whose source cannot be read serves to the end of its time and no longer, and again when it can."""
    reader, clock = MemoryReader(), Clock()
    held = store(reader, clock)
    held.start()
    reader.failure = BROKEN
    clock.now += 10.0
    held.reload()
    assert held.current().revision
    clock.now += 0.1
    with pytest.raises(UnavailableError, match="max_snapshot_age_seconds"):
        held.current()
    reader.failure = None
    assert held.reload().problems == ()
    assert held.current().revision


def test_an_unchanged_source_confirms_a_snapshot() -> None:
    """Reading the same bundle again is as good as a new one."""
    reader, clock = MemoryReader(), Clock()
    held = store(reader, clock)
    held.start()
    for _ in range(5):
        clock.now += 9.0
        assert not held.reload().changed
        assert held.age_seconds == 0.0
        held.current()


def test_age_counts_from_the_beginning_of_a_read() -> None:
    """What took long to read is as old as the moment at which reading it began."""

    class Slow(MemoryReader):
        def read(self, previous: Any = None) -> Any:
            """Later."""
            found = super().read(previous)
            clock.now += 4.0
            return found

    clock = Clock()
    held = store(Slow(), clock)
    held.start()
    assert held.age_seconds == 4.0


def test_a_restart_makes_nothing_younger(tmp_path: Path) -> None:
    """The last good copy is as old as the last moment at which its source said the same, before the restart too."""
    reader, clock = MemoryReader(), Clock()
    held = store(reader, clock, LastGood(tmp_path / "state"))
    held.start()
    reader.failure = BROKEN
    again = store(reader, clock, LastGood(tmp_path / "state"))
    again.start()
    assert 0.0 <= again.age_seconds < 10.0
    (tmp_path / "state" / ".confirmed").write_text("another revision")
    other = store(reader, clock, LastGood(tmp_path / "state"))
    other.start()
    assert other.age_seconds == math.inf
    with pytest.raises(UnavailableError):
        other.current()


@pytest.mark.parametrize("name", ["missing", "from the future"])
def test_a_copy_of_unknown_age_is_too_old(tmp_path: Path, name: str) -> None:
    """Where nobody knows since when the source says so, or a clock was wrong, nothing is served."""
    reader, clock = MemoryReader(), Clock()
    held = store(reader, clock, LastGood(tmp_path))
    held.start()
    mark = tmp_path / ".confirmed"
    if name == "missing":
        mark.unlink()
    else:
        os.utime(mark, (time.time() + 3_600,) * 2)
    reader.failure = BROKEN
    again = store(reader, clock, LastGood(tmp_path))
    again.start()
    assert again.problem is not None


def test_too_old_means_not_serving(tmp_path: Path) -> None:
    """With too old a snapshot nothing is decided, health and `/readyz` say so, until the next good read."""
    server = {"max_snapshot_age_seconds": 1.0}
    with observed(tmp_path, BUNDLE, server=server, bundle=WATCHED) as service:
        address = service.app.telemetry_address
        assert get(address, "/readyz").status == 200
        good = (service.bundle / "policies" / "a.cedar").read_text()
        (service.bundle / "policies" / "a.cedar").write_text("permit(")
        wait_until(lambda: get(address, "/readyz").status == 503, "no longer ready")
        assert "max_snapshot_age_seconds" in get(address, "/readyz").text
        assert get(address, "/livez").status == 200
        assert failure(service.decision.Authorize, tool_call()).code() is grpc.StatusCode.UNAVAILABLE
        assert value(address, "pdp_ready") == 0
        check = health_of(service.channel).Check
        serving = health_pb2.HealthCheckResponse
        wait_until(lambda: check(health_pb2.HealthCheckRequest()).status == serving.NOT_SERVING, "NOT_SERVING")
        status = service.admin.GetStatus(admin.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        assert any("max_snapshot_age_seconds" in reason for reason in status.degraded_reasons)
        (service.bundle / "policies" / "a.cedar").write_text(good)
        wait_until(lambda: get(address, "/readyz").status == 200, "ready again")
        assert service.authorize(tool_call()).decision == ALLOW
        wait_until(lambda: check(health_pb2.HealthCheckRequest()).status == serving.SERVING, "SERVING")


@pytest.mark.parametrize(
    "bundle", [{"watch": False}, {"rescan_seconds": 0}, {"rescan_seconds": 60}, {"rescan_seconds": 61}]
)
def test_an_age_needs_reads(tmp_path: Path, bundle: dict[str, Any]) -> None:
    """A limit that would be reached although nothing is wrong is a mistake in the configuration."""
    sections = {"server": {"max_snapshot_age_seconds": 60}, "bundle": {"watch": True, **bundle}}
    with pytest.raises(ConfigError, match="max_snapshot_age_seconds"):
        configuration(tmp_path, sections)


def test_degraded_is_ready_and_says_why(tmp_path: Path) -> None:
    """A bundle that does not load leaves the service ready with the one before, and the reason is told."""
    with observed(tmp_path, BUNDLE) as service:
        (service.bundle / "policies" / "a.cedar").write_text("permit(")
        service.app.reload()
        reply = get(service.app.telemetry_address, "/readyz")
        assert reply.status == 200
        assert reply.text.startswith("ready\ndegraded: the bundle does not load: ")


#: A log whose sink takes nothing, with a spool that a few lines fill.
STUCK = {"sink": "file", "path": "/dev/full", "spool_mib": 1, "arguments": "full"}
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")


LONG = tool_call(b'{"owner": "' + b"x" * 200_000 + b'"}')


def _filled(service: Service) -> bool:
    """Ask once more, with a long line; whether the log says that it has no room."""
    with suppress(grpc.RpcError):
        service.decision.Authorize(LONG, timeout=0.2)
    return "the decision log has no room" in get(service.app.telemetry_address, "/readyz").text


def _code(service: Service, request: pb.AuthorizeRequest) -> grpc.StatusCode:
    try:
        service.decision.Authorize(request, timeout=0.2)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@needs_full
@pytest.mark.parametrize("when_full", ["block", "deny"])
def test_a_log_without_room_is_not_ready(tmp_path: Path, when_full: str) -> None:
    """Where no call is answered without its line, none should come once the log has no room."""
    with observed(tmp_path, BUNDLE, decision_log={**STUCK, "when_full": when_full}) as service:
        address = service.app.telemetry_address
        wait_until(lambda: _filled(service), "a full log")
        reply = get(address, "/readyz")
        assert reply.status == 503
        assert "not ready: the decision log has no room for further records" in reply.text
        assert value(address, "pdp_ready") == 0
        # What is short may still find its place in what is left.
        refused = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        wait_until(lambda: _code(service, LONG) in refused, "a call that is not answered")


@needs_full
def test_a_log_that_may_drop_lines_stays_ready(tmp_path: Path) -> None:
    """Where calls are answered without their lines, because the operator said so, they may come: it is degraded."""
    with observed(tmp_path, BUNDLE, decision_log={**STUCK, "when_full": "drop"}) as service:
        address = service.app.telemetry_address
        dropped = "pdp_decision_log_dropped_lines_total"
        wait_until(lambda: _filled(service) and value(address, dropped), "a full log")
        assert service.authorize(tool_call()).decision == ALLOW
        reply = get(address, "/readyz")
        assert reply.status == 200
        assert "degraded: the decision log cannot be written: " in reply.text
        assert "degraded: the decision log has no room, and calls are answered without their records" in reply.text
        assert "decision log lines were dropped" in reply.text
        assert value(address, "pdp_ready") == 1
        assert value(address, "pdp_decision_log_failing") == 1
        status = service.admin.GetStatus(admin.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        assert any("has no room" in reason for reason in status.degraded_reasons)
        check = health_of(service.channel).Check(health_pb2.HealthCheckRequest())
        assert check.status == health_pb2.HealthCheckResponse.SERVING


@needs_full
def test_a_log_in_memory_stays_ready(tmp_path: Path) -> None:
    """Lines that are held in memory are dropped beyond what it takes, and calls answered: it is ready, and degraded."""
    log = {"sink": "file", "path": "/dev/full", "buffer_lines": 2, "spool_dir": ""}
    with observed(tmp_path, BUNDLE, decision_log=log) as service:
        address = service.app.telemetry_address
        service.authorize(tool_call())
        wait_until(lambda: "degraded: the decision log cannot be written" in get(address, "/readyz").text, "degraded")
        assert get(address, "/readyz").status == 200
        assert value(address, "pdp_decision_log_failing") == 1
        service.authorize(tool_call())
        assert value(address, "pdp_decision_log_waiting_lines") == 2
        service.authorize(tool_call())
        assert value(address, "pdp_decision_log_dropped_lines_total") == 1
        reply = get(address, "/readyz")
        assert reply.status == 200
        assert "degraded: 1 decision log lines were dropped" in reply.text


def test_it_listens_while_it_starts_and_stops(tmp_path: Path) -> None:
    """While calls in flight are finished the process is alive and not ready, and afterwards nobody listens."""
    write_bundle(tmp_path / "bundle", BUNDLE)
    stopping = threading.Event()
    config = configuration(tmp_path, {"telemetry": {"listen": "127.0.0.1:0"}})
    found: list[str] = []

    def serve() -> None:
        with ExitStack() as stack, running(config, {}) as app:
            # A call that is forgotten is cancelled, and so is one whose channel is closed.
            channel = stack.enter_context(connect(app.addresses[0]))
            service = Service(app, tmp_path, channel, channel)
            held = hold_reloads(service)
            calls.append(service.admin.Reload.future(admin.ReloadRequest(), timeout=TIMEOUT_SECONDS))
            assert held.entered.wait(TIMEOUT_SECONDS)
            found.append(app.telemetry_address)
            holding.append(held)
            stopping.wait(TIMEOUT_SECONDS)

    holding: list[Any] = []
    calls: list[Any] = []
    thread = threading.Thread(target=serve)
    thread.start()
    wait_until(lambda: holding, "the service")
    assert get(found[0], "/readyz").status == 200
    stopping.set()
    wait_until(lambda: get(found[0], "/readyz").status == 503, "it says that it stops")
    assert "the service is stopping" in get(found[0], "/readyz").text
    assert get(found[0], "/livez").status == 200
    holding[0].release.set()
    thread.join(TIMEOUT_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        get(found[0], "/livez")


def test_one_account_of_several() -> None:
    """Calls may come as long as one worker is ready; what is wrong with the others is told either way."""
    good, bad = Health((), ("late",)), Health(("too old",), ("late",))
    assert joined_health([good, bad, None]) == Health((), ("worker 2 does not answer", "too old", "late"))
    assert joined_health([bad, None]) == Health(("worker 1 does not answer", "too old"), ("late",))
    assert joined_health([bad]).ready is False
    assert health_from(health_json(bad)) == bad
