"""More than the service can answer: who is refused, how, and what is left of it afterwards."""

from __future__ import annotations

import errno
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from pdp import waiting_call
from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2
from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.call_queue import CallQueue
from tests.grpc.service import (
    TIMEOUT_SECONDS,
    Client,
    HeldReader,
    Service,
    connect,
    denial,
    error_info,
    failure,
    health_of,
    hold_reloads,
    serving,
    tool_call,
)
from tests.waiting import wait_until

ALLOW = decision_pb2.DECISION_ALLOW
RELOAD = admin_service_pb2.ReloadRequest()


def _queue(service: Service) -> CallQueue:
    return service.app.queues[0]


def _ask(service: Service, name: str, **more: Any) -> Any:
    return service.decision.Authorize.future(tool_call(request_id=name, **more), timeout=TIMEOUT_SECONDS)


@contextmanager
def _busy(directory: Path, **sections: Any) -> Iterator[tuple[Service, HeldReader]]:
    """A service whose only thread is held until a test releases it, and then in any case."""
    # However slow the machine is, nobody waits for too long.
    sections["limits"] = {"queue_ms": 600_000, **sections["limits"]}
    with serving(directory, server={"threads": 1}, **sections) as service:
        held = hold_reloads(service)
        reload = service.admin.Reload.future(RELOAD, timeout=TIMEOUT_SECONDS)
        assert held.entered.wait(TIMEOUT_SECONDS)
        try:
            yield service, held
        finally:
            held.release.set()
            assert reload.result().revision


# --- too many --------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_the_newest(tmp_path: Path) -> None:
    """Beyond the queue calls are refused with OVERLOADED and without a decision; those in it are answered, and
    afterwards everything is as before.
    """
    with _busy(tmp_path, limits={"queued_calls": 2}) as (service, held):
        waiting = [_ask(service, "first"), _ask(service, "second")]
        wait_until(lambda: _queue(service).queued == 2, "two calls are queued")
        for _ in range(3):
            error = failure(service.decision.Authorize, tool_call(request_id="refused"))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == "the service has more to do than it can; try again later"
            assert error_info(error).reason == "OVERLOADED"
        assert _queue(service).shed == 3
        held.release.set()
        assert [call.result().decision for call in waiting] == [ALLOW] * 2
        assert service.authorize(tool_call(request_id="later")).decision == ALLOW
        assert sorted(record["request_id"] for record in service.records(3)) == ["first", "later", "second"]
        wait_until(lambda: not _queue(service).in_flight, "nothing is in flight")
        assert (_queue(service).queued, _queue(service).bytes, _queue(service).shed) == (0, 0, 3)


def test_a_clock_that_fails_does_not_end_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sleeping is an error, as libraries that change the time make it, calls are refused and answered as ever."""

    def fail(_: float) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(waiting_call, "time", SimpleNamespace(time=time.time, sleep=fail))
    with _busy(tmp_path, limits={"queued_calls": 1, "queue_ms": 10_000}) as (service, held):
        waiting = _ask(service, "first")
        wait_until(lambda: _queue(service).queued == 1, "a call is queued")
        for _ in range(3):
            # Only those are rested after who have time to ask again.
            error = failure(service.decision.Authorize, tool_call(request_id="refused"), timeout=20.0)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.release.set()
        assert waiting.result().decision == ALLOW
        assert service.authorize(tool_call(request_id="later")).decision == ALLOW


def test_a_call_with_too_little_time_is_refused_at_once(tmp_path: Path) -> None:
    """Where those before it take longer than its deadline, a call is not queued; one with more time is."""
    with _busy(tmp_path, limits={}) as (service, held):
        _queue(service)._small.unit_seconds = 30.0
        first = _ask(service, "first")
        wait_until(lambda: _queue(service).queued == 1, "a call is queued")
        error = failure(service.decision.Authorize, tool_call(request_id="short"), timeout=20.0)
        assert (error.code(), error_info(error).reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        patient = service.decision.Authorize.future(tool_call(request_id="long"), timeout=600.0)
        wait_until(lambda: _queue(service).queued == 2, "the other call is queued")
        held.release.set()
        assert [call.result().decision for call in (first, patient)] == [ALLOW] * 2
        assert [record["request_id"] for record in service.records(2)] == ["first", "long"]


def test_a_busy_service_is_healthy(tmp_path: Path) -> None:
    """A health check is taken with a full queue, so that nobody restarts a service because it is busy."""
    with _busy(tmp_path, limits={"queued_calls": 1}) as (service, held):
        waiting = _ask(service, "first")
        wait_until(lambda: _queue(service).queued == 1, "a call is queued")
        check = health_of(service.channel).Check.future(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
        wait_until(lambda: _queue(service).queued == 2, "the check is queued")
        held.release.set()
        assert check.result().status == health_pb2.HealthCheckResponse.SERVING
        assert waiting.result().decision == ALLOW


def test_bytes_in_flight_are_bounded(tmp_path: Path) -> None:
    """A request that would make those in memory too many bytes is refused; a smaller one is taken."""
    with _busy(tmp_path, limits={"bytes_in_flight": 10_000}) as (service, held):
        waiting = [_ask(service, "large", arguments=b'{"n":1}' + b" " * 9_000)]
        wait_until(lambda: _queue(service).queued == 1, "a call is queued")
        error = failure(service.decision.Authorize, tool_call(b" " * 1_500))
        assert (error.code(), error_info(error).reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        waiting.append(_ask(service, "small"))
        wait_until(lambda: _queue(service).queued == 2, "the small call is queued")
        held.release.set()
        assert [call.result().decision for call in waiting] == [ALLOW] * 2
        wait_until(lambda: not _queue(service).bytes, "no bytes are in flight")


def test_a_connection_keeps_further_calls_to_itself(tmp_path: Path) -> None:
    """Calls beyond `streams_per_connection` wait at their caller, and are answered when it is their turn."""
    with _busy(tmp_path, limits={"streams_per_connection": 2}) as (service, held), connect(service.address) as other:
        client = Client(other)
        calls = [client.decision.Authorize.future(tool_call(), timeout=TIMEOUT_SECONDS) for _ in range(20)]
        wait_until(lambda: _queue(service).queued == 2, "two calls are queued")
        held.release.set()
        assert [call.result().decision for call in calls] == [ALLOW] * 20
        assert _queue(service).shed == 0


def test_a_drain_answers_what_is_queued(tmp_path: Path) -> None:
    """A service that stops answers the calls in its queue, and takes no new ones."""
    with _busy(tmp_path, limits={"queued_calls": 5}) as (service, held), connect(service.address) as other:
        waiting = [_ask(service, str(number)) for number in range(5)]
        wait_until(lambda: _queue(service).queued == 5, "the queue is full")
        [server] = service.app._servers
        stopping = threading.Thread(target=server.stop)
        stopping.start()

        def is_refused() -> bool:
            return failure(Client(other).decision.Authorize, tool_call()).code() is grpc.StatusCode.UNAVAILABLE

        wait_until(is_refused, "new calls are refused")
        held.release.set()
        assert [call.result().decision for call in waiting] == [ALLOW] * 5
        stopping.join(TIMEOUT_SECONDS)
        assert sorted(record["request_id"] for record in service.records(5)) == ["0", "1", "2", "3", "4"]


def test_errors_do_not_keep_calls_in_memory(tmp_path: Path) -> None:
    """Callers that make mistakes on one connection leave it to others, however few calls it may have at once."""
    with serving(tmp_path, limits={"streams_per_connection": 2}) as service:
        for _ in range(50):
            assert failure(service.decision.Authorize, tool_call(name="")).code() is grpc.StatusCode.INVALID_ARGUMENT
        assert service.authorize(tool_call()).decision == ALLOW


# --- gateways --------------------------------------------------------------------------------------------------------


def _unary(service: Service, path: str, request: Any, answer: Any) -> Any:
    method: grpc.UnaryUnaryMultiCallable[Any, Any] = service.channel.unary_unary(
        path, type(request).SerializeToString, answer.FromString
    )
    return method(request, timeout=TIMEOUT_SECONDS)


def test_gateways_are_refused_in_their_own_protocols(tmp_path: Path) -> None:
    """There is no time for a gateway: it gets a denial, because an RPC error could mean that everything may go on."""
    sections = {
        "agentgateway": {"enabled": True, "subject_from": "metadata:sub"},
        "envoy": {"ext_authz": True, "subject_from": "header:x-agent", "server_from": "header:x-server"},
    }
    with _busy(tmp_path, limits={"queued_calls": 1}, **sections) as (service, held):
        waiting = _ask(service, "first")
        wait_until(lambda: _queue(service).queued == 1, "a call is queued")
        mcp = "/agentgateway.dev.ext_mcp.ExtMcp/"
        asked = _unary(service, mcp + "CheckRequest", ext_mcp_pb2.McpRequest(), ext_mcp_pb2.McpRequestResult)
        done = _unary(service, mcp + "CheckResponse", ext_mcp_pb2.McpResponse(), ext_mcp_pb2.McpResponseResult)
        assert [asked.error.code, done.error.code] == [ext_mcp_pb2.AuthorizationError.RESOURCE_EXHAUSTED] * 2
        checked = _unary(
            service,
            "/envoy.service.auth.v3.Authorization/Check",
            external_auth_pb2.CheckRequest(),
            external_auth_pb2.CheckResponse,
        )
        assert (checked.status.code, checked.denied_response.status.code) == (7, 429)
        assert _queue(service).shed == 3
        held.release.set()
        assert waiting.result().decision == ALLOW


# --- too often -------------------------------------------------------------------------------------------------------


def _caller(key: str, **limits: Any) -> dict[str, Any]:
    return {"caller": [{"name": "edge", "keys_sha256": [hashlib.sha256(key.encode()).hexdigest()], **limits}]}


def test_a_caller_that_asks_too_often_is_refused(tmp_path: Path) -> None:
    """Beyond its rate a caller gets RATE_LIMITED with the time to wait, for every RPC, and nothing is decided."""
    key = secrets.token_urlsafe(32)
    with serving(tmp_path, callers=_caller(key, calls_per_second=0.001, burst=3)) as service:
        metadata = (("authorization", f"Bearer {key}"),)
        answer = service.decision.AuthorizeBatch(
            pb.AuthorizeBatchRequest(requests=[tool_call()] * 3), metadata=metadata, timeout=TIMEOUT_SECONDS
        )
        assert len(answer.results) == 3
        subject, call = tool_call().subject, tool_call().tool_call
        phase = interceptor_pb2.PHASE_REQUEST
        for rpc, request in [
            ("Authorize", tool_call()),
            ("AuthorizeBatch", pb.AuthorizeBatchRequest(requests=[tool_call()])),
            ("Decide", pb.DecideRequest(subject=subject, tool_call=call)),
            ("Intercept", pb.InterceptRequest(subject=subject, tool_call=call, phase=phase)),
            ("FilterTools", pb.FilterToolsRequest(subject=subject, server="srv")),
        ]:
            error = failure(getattr(service.decision, rpc), request, metadata=metadata)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, rpc
            status: Any = rpc_status.from_call(error)
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            assert status.details[0].Unpack(info)
            assert status.details[1].Unpack(retry)
            assert info.reason == "RATE_LIMITED"
            assert 900 < retry.retry_delay.seconds <= 1_000
        assert len(service.records(3)) == 3


def test_a_gateway_that_asks_too_often_is_denied_in_its_own_protocol(tmp_path: Path) -> None:
    """A gateway beyond its rate gets a denial that says so."""
    key = secrets.token_urlsafe(32)
    callers = _caller(key, calls_per_second=0.001, burst=1)
    section = {"enabled": True, "subject_from": "metadata:sub"}
    with serving(tmp_path, callers=callers, agentgateway=section) as service:
        request = ext_mcp_pb2.McpRequest(service_names=["srv"], method="tools/call", mcp_request=b'{"name":"read"}')
        request.metadata_context.update({"sub": "a"})
        check: grpc.UnaryUnaryMultiCallable[Any, Any] = service.channel.unary_unary(
            "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest",
            ext_mcp_pb2.McpRequest.SerializeToString,
            ext_mcp_pb2.McpRequestResult.FromString,
        )
        metadata = (("authorization", f"Bearer {key}"),)
        answers = [check(request, metadata=metadata, timeout=TIMEOUT_SECONDS) for _ in range(2)]
        assert [answer.WhichOneof("result") for answer in answers] == ["pass", "error"]
        assert answers[1].error.code == ext_mcp_pb2.AuthorizationError.RESOURCE_EXHAUSTED
        assert answers[1].error.reason == "the policy decision point is asked more often than it may be"


# --- too large -------------------------------------------------------------------------------------------------------


def test_arguments_are_bounded(tmp_path: Path) -> None:
    """Arguments of as many bytes as configured are decided about; larger ones are the agent's mistake, for every RPC
    that has any.
    """
    with serving(tmp_path, limits={"argument_bytes": 20}) as service:
        fitting = b'{"n":1}'.ljust(20)
        assert service.authorize(tool_call(fitting)).decision == ALLOW
        large = tool_call(fitting + b" ")
        assert denial(service.authorize(large)) == "INVALID_ARGUMENTS"
        assert denial(service.batch(large).results[0].response) == "INVALID_ARGUMENTS"
        subject, call = large.subject, large.tool_call
        decided = service.decision.Decide(pb.DecideRequest(subject=subject, tool_call=call), timeout=TIMEOUT_SECONDS)
        request = pb.InterceptRequest(subject=subject, tool_call=call, phase=interceptor_pb2.PHASE_REQUEST)
        intercepted = service.decision.Intercept(request, timeout=TIMEOUT_SECONDS)
        for answer in (decided, intercepted):
            assert answer.denial.code == decision_pb2.DENIAL_CODE_INVALID_ARGUMENTS
            assert answer.denial.message == "(arguments): is 21 bytes long; at most 20 are read"
