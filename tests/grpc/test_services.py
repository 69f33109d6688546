"""What there is to call: RPCs, health, reflection, status and the listeners of each service."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pdp import __version__
from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, decision_service_pb2
from tests.bundles import PERMIT_ALL, write_bundle
from tests.grpc.service import (
    BUNDLE,
    TIMEOUT_SECONDS,
    Service,
    call_method,
    connect,
    failure,
    health_of,
    hold_reloads,
    question,
    serving,
    tool_call,
)
from tests.waiting import wait_until

DECISION = decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"]
ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
METHODS = [*DECISION.methods, *ADMIN.methods]
#: Those that take no empty message.
DEMANDING = {"Authorize", "Decide", "FilterTools", "Intercept", "PutInterceptor", "DeleteInterceptor"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that permits everything."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


# --- RPCs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_rpc_is_there(service: Service, method: MethodDescriptor) -> None:
    """Each RPC of both services answers; those that need to be told something say so."""
    request = GetMessageClass(method.input_type)()
    if method.server_streaming:
        error = failure(call_method, service.channel, method, request, timeout=0.5)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    elif method.name in DEMANDING:
        assert failure(call_method, service.channel, method, request).code() is grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert len(call_method(service.channel, method, request)) == 1


def test_an_unknown_rpc_is_unimplemented(service: Service) -> None:
    """What no service has is UNIMPLEMENTED, and nothing else happens."""
    for path in ("/pdp.v1.DecisionService/Nope", "/pdp.v1.Nope/Authorize", "/", "/a/b/c"):
        error = failure(service.channel.unary_unary(path), b"")
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# --- health and reflection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", DECISION.full_name, ADMIN.full_name])
def test_the_service_is_healthy(service: Service, name: str) -> None:
    """The health service says SERVING, overall and for each service."""
    stub = health_of(service.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_SECONDS).status == SERVING


def test_the_health_of_an_unknown_service_is_unknown(service: Service) -> None:
    """A service that is not here is NOT_FOUND."""
    stub = health_of(service.channel)
    error = failure(stub.Check, health_pb2.HealthCheckRequest(service="pdp.v1.Nope"))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def _reflection(channel: grpc.Channel) -> Any:
    return reflection_pb2_grpc.ServerReflectionStub(channel)


def _listed(channel: grpc.Channel) -> list[str]:
    stub = _reflection(channel)
    requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    [answer] = stub.ServerReflectionInfo(requests, timeout=TIMEOUT_SECONDS)
    return sorted(found.name for found in answer.list_services_response.service)


def test_reflection_lists_the_services(service: Service) -> None:
    """Tools find every service, and the file that defines each."""
    names = [ADMIN.full_name, DECISION.full_name]
    standard = ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
    assert _listed(service.channel) == sorted([*names, *standard])
    stub = _reflection(service.channel)
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]
    answers = list(stub.ServerReflectionInfo(iter(requests), timeout=TIMEOUT_SECONDS))
    assert all(answer.file_descriptor_response.file_descriptor_proto for answer in answers)


def test_reflection_can_be_off(tmp_path: Path) -> None:
    """Where it is not wanted there is no reflection."""
    with serving(tmp_path, server={"reflection": False}) as service:
        with pytest.raises(grpc.RpcError) as caught:
            _listed(service.channel)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# --- status ----------------------------------------------------------------------------------------------------------


def test_the_status_tells_what_is_served(tmp_path: Path) -> None:
    """Revision, name, source, counts, times, version and process are those of the service."""
    files = {**BUNDLE, "bundle.toml": 'name = "mine"'}
    with serving(tmp_path, files) as service:
        status = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        snapshot = service.app.store.current()
        assert status.state == admin_service_pb2.SERVICE_STATE_SERVING
        assert (status.revision, status.bundle_name) == (snapshot.revision, "mine")
        assert status.source == str(service.bundle)
        assert (status.version, list(status.degraded_reasons), list(status.problems)) == (__version__, [], [])
        assert (status.counts.policies, status.counts.tools, status.counts.servers) == (1, 1, 1)
        [worker] = status.workers
        assert (worker.pid, worker.revision, worker.state) == (os.getpid(), snapshot.revision, status.state)
        times = [status.started_at, worker.started_at, status.loaded_at, status.last_reload_attempt]
        assert all(moment.ToSeconds() > 1_700_000_000 for moment in times)


def test_a_reload_on_request_answers_with_what_came_of_it(tmp_path: Path) -> None:
    """A good bundle is a new revision, an unchanged one is none, and a bad one is an answer with its problems."""
    with serving(tmp_path) as service:
        first = service.app.store.current().revision
        request = admin_service_pb2.ReloadRequest()
        answer = service.admin.Reload(request, timeout=TIMEOUT_SECONDS)
        assert (answer.changed, answer.revision, list(answer.problems)) == (False, first, [])
        write_bundle(service.bundle, {"policies/b.cedar": f'@id("b") {PERMIT_ALL}'})
        answer = service.admin.Reload(request, timeout=TIMEOUT_SECONDS)
        second = service.app.store.current().revision
        assert (answer.changed, answer.revision, list(answer.problems)) == (True, second, [])
        assert second != first
        write_bundle(service.bundle, {"policies/b.cedar": "\nnonsense;"})
        answer = service.admin.Reload(request, timeout=TIMEOUT_SECONDS)
        assert (answer.changed, answer.revision) == (False, second)
        [problem] = answer.problems
        place = (problem.path, problem.line, problem.column, problem.severity)
        assert place == ("policies/b.cedar", 2, 9, admin_service_pb2.SEVERITY_ERROR)
        assert problem.message == "unexpected token `;`"
        status = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        assert status.state == admin_service_pb2.SERVICE_STATE_DEGRADED
        assert list(status.problems) == list(answer.problems)
        assert len(status.degraded_reasons) == 1
        assert service.authorize(tool_call()).revision == second


# --- listeners -------------------------------------------------------------------------------------------------------


def test_an_admin_listener_has_that_service_alone(tmp_path: Path) -> None:
    """With a listener of its own, AdminService is there and nowhere else, and DecisionService is not there."""
    with serving(tmp_path, server={"admin_listen": ["127.0.0.1:0"]}) as service:
        assert service.app.admin_addresses != service.app.addresses
        assert service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS).revision
        assert service.authorize(question()).decision == decision_pb2.DECISION_ALLOW
        assert ADMIN.full_name not in _listed(service.channel)
        with connect(service.app.admin_addresses[0]) as admin:
            assert DECISION.full_name not in _listed(admin)
            for channel, method in ((service.channel, ADMIN.methods[0]), (admin, DECISION.methods[0])):
                error = failure(call_method, channel, method, b"")
                assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            health = health_of(admin)
            for name in ("", ADMIN.full_name):
                request = health_pb2.HealthCheckRequest(service=name)
                assert health.Check(request, timeout=TIMEOUT_SECONDS).status == SERVING


def test_an_open_listener_has_no_admin_service(tmp_path: Path) -> None:
    """Where other machines may connect, nobody administers the service without a listener for that."""
    with serving(tmp_path, server={"listen": ["127.0.0.1:0"], "allow_insecure_network": True}) as service:
        assert service.authorize(question()).decision == decision_pb2.DECISION_ALLOW
        assert ADMIN.full_name not in _listed(service.channel)
        for method in ADMIN.methods:
            error = failure(call_method, service.channel, method, b"")
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# --- draining --------------------------------------------------------------------------------------------------------


def _refuses(address: str) -> bool:
    with connect(address) as late:
        try:
            call_method(late, DECISION.methods[0], question(), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
        return False


def test_draining_says_so_and_finishes_what_was_begun(tmp_path: Path) -> None:
    """While the service drains its health is NOT_SERVING, new calls are refused, and the one begun ends well."""
    seen: list[int] = []
    stopped = threading.Event()

    def watch(stub: Any) -> None:
        try:
            seen.extend(answer.status for answer in stub.Watch(health_pb2.HealthCheckRequest(service="")))
        except grpc.RpcError:
            stopped.set()

    with serving(tmp_path, server={"drain_seconds": TIMEOUT_SECONDS}) as service:
        held = hold_reloads(service)
        watcher = threading.Thread(target=watch, args=(health_of(service.channel),))
        watcher.start()
        wait_until(lambda: seen == [SERVING], "the watcher sees SERVING")
        reload = service.admin.Reload.future(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)
        assert held.entered.wait(TIMEOUT_SECONDS)
        stopping = threading.Thread(target=service.app._servers[0].stop)
        stopping.start()
        wait_until(lambda: seen == [SERVING, NOT_SERVING], "the watcher sees NOT_SERVING")
        # It says so a moment before it does so.
        wait_until(lambda: _refuses(service.address), "it takes no calls")
        held.release.set()
        assert reload.result().revision
        service.channel.close()  # ends the watch
        stopping.join(TIMEOUT_SECONDS)
        assert not stopping.is_alive()
        watcher.join(TIMEOUT_SECONDS)


def test_watching_its_health_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A service that nobody asks anything stops at once, also if somebody watches its health."""
    with serving(tmp_path, server={"drain_seconds": TIMEOUT_SECONDS}) as service:
        watch = health_of(service.channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watch).status == SERVING
        stopping = threading.Thread(target=service.app._servers[0].stop)
        stopping.start()
        stopping.join(1.0)
        held_up = stopping.is_alive()
        watch.cancel()
        stopping.join(TIMEOUT_SECONDS)
        assert not held_up
