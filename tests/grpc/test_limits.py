"""What there is too much of, too late, or too slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2_grpc

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.errors import DeadlineExceededError
from pdp.identity.callers import ANYONE
from tests.grpc.doubles import RecordingSink, put_together
from tests.grpc.service import (
    TIMEOUT_SECONDS,
    Client,
    Service,
    connect,
    error_info,
    failure,
    hold_reloads,
    serving,
    tool_call,
)
from tests.waiting import wait_until

ALLOW = decision_pb2.DECISION_ALLOW


# --- too much --------------------------------------------------------------------------------------------------------


def test_a_batch_is_bounded(tmp_path: Path) -> None:
    """A batch of as many questions as configured is answered; with one more nothing is decided."""
    with serving(tmp_path, limits={"batch_requests": 3}) as service:
        assert len(service.batch(*[tool_call()] * 3).results) == 3
        error = failure(service.decision.AuthorizeBatch, pb.AuthorizeBatchRequest(requests=[tool_call()] * 4))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "`requests` holds 4; at most 3"
        assert error_info(error).reason == "OVER_LIMIT"
        assert len(service.records(3)) == 3


def test_a_message_is_bounded(tmp_path: Path) -> None:
    """A request of as many bytes as configured is read, a larger one is RESOURCE_EXHAUSTED."""
    with serving(tmp_path, limits={"message_bytes": 2_000}) as service:
        fitting = tool_call()
        fitting.tool_call.arguments_json = b" " * (1_997 - fitting.ByteSize()) + b"{}"
        fitting.tool_call.arguments_json = fitting.tool_call.arguments_json[fitting.ByteSize() - 2_000 :]
        assert fitting.ByteSize() == 2_000
        assert service.authorize(fitting).decision == ALLOW
        fitting.tool_call.arguments_json += b" "
        error = failure(service.decision.Authorize, fitting)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_at_once_are_bounded(tmp_path: Path) -> None:
    """Beyond the configured number of calls in flight further ones are shed, until some have ended."""
    with serving(tmp_path, limits={"concurrent_rpcs": 2}) as service:
        held = hold_reloads(service)
        reloads = [service.admin.Reload.future(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)]
        assert held.entered.wait(TIMEOUT_SECONDS)
        with connect(service.address) as other, connect(service.address) as third:
            waiting = Client(other)
            assert waiting.authorize(tool_call()).decision == ALLOW
            reloads.append(waiting.admin.Reload.future(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS))
            shed = Client(third)

            def is_shed() -> bool:
                try:
                    return shed.authorize(tool_call()).decision != ALLOW
                except grpc.RpcError as error:
                    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

            wait_until(is_shed, "a call is shed")
            held.release.set()
            assert all(reload.result().revision for reload in reloads)
            # A call counts until the server has done with it, a moment after its caller has the answer.
            wait_until(lambda: not is_shed(), "a call is taken again")


# --- too late --------------------------------------------------------------------------------------------------------


def test_nothing_is_decided_for_a_caller_that_is_gone(tmp_path: Path) -> None:
    """A call whose deadline passed while it waited for a thread is not worked on, and makes no decision line."""
    with serving(tmp_path, server={"threads": 1}) as service:
        held = hold_reloads(service)
        reload = service.admin.Reload.future(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)
        assert held.entered.wait(TIMEOUT_SECONDS)
        error = failure(service.decision.Authorize, tool_call(request_id="late"), timeout=0.2)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        held.release.set()
        assert reload.result().revision
        assert service.authorize(tool_call(request_id="in time")).decision == ALLOW
        assert [record["request_id"] for record in service.records(1)] == ["in time"]


class LateContext:
    """Stands for a call whose deadline has passed, though grpc has not noticed yet."""

    caller = ANYONE

    def time_remaining(self) -> float:
        """Nothing."""
        return 0.0

    def is_active(self) -> bool:
        """Still."""
        return True


def test_a_deadline_that_has_passed_is_noticed() -> None:
    """A question that comes to its handler too late is not worked on, alone or in a batch."""
    sink = RecordingSink()
    with put_together(sink=sink) as clients:
        context: Any = LateContext()
        with pytest.raises(DeadlineExceededError):
            clients.servicer.Authorize(tool_call(), context)
        with pytest.raises(DeadlineExceededError):
            clients.servicer.AuthorizeBatch(pb.AuthorizeBatchRequest(requests=[tool_call()]), context)
    assert sink.lines == 0


def test_a_batch_stops_when_its_caller_is_gone() -> None:
    """Between the steps of a batch the deadline is looked at: what comes after it is not worked on."""
    gone = threading.Event()
    sink = RecordingSink(lambda: wait_until(gone.is_set, "the caller is gone"))
    with put_together(sink=sink) as clients:
        request = pb.AuthorizeBatchRequest(requests=[tool_call()] * 1_000)
        error = failure(clients.decision.AuthorizeBatch, request, timeout=0.3)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        gone.set()
    assert sink.lines == 100


# --- too many connections -------------------------------------------------------------------------------------------


def _greeting(address: str, stack: ExitStack) -> bytes:
    """What a new connection, which asks nothing, hears first: settings, or nothing where it is closed."""
    host, _, port = address.rpartition(":")
    peer = stack.enter_context(socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS))
    try:
        return peer.recv(1)
    except ConnectionResetError:
        return b""


def test_connections_are_bounded(tmp_path: Path) -> None:
    """Connections beyond the limit are closed at once, calls on the others are answered; one that ends makes room."""
    with serving(tmp_path, limits={"max_connections": 8}) as service:
        assert service.authorize(tool_call()).decision == ALLOW
        with ExitStack() as stack:
            heard = [_greeting(service.address, stack) for _ in range(50)]
            # Those of this service's own clients are among the eight.
            assert 1 <= sum(map(bool, heard)) <= 7
            assert not any(heard[7:])
            assert service.authorize(tool_call()).decision == ALLOW
        wait_until(lambda: _gets_in(service), "room for another connection")


def _gets_in(service: Service) -> bool:
    with connect(service.address) as channel:
        try:
            return bool(Client(channel).authorize(tool_call()).decision_id)
        except grpc.RpcError:
            return False


def test_each_address_has_connections_of_its_own(tmp_path: Path) -> None:
    """Peers that hold all connections of one address keep nobody from asking at another: operators stay in."""
    server = {"listen": ["127.0.0.1:0"], "admin_listen": ["127.0.0.1:0"]}
    with serving(tmp_path, server=server, limits={"max_connections": 8}) as service, ExitStack() as stack:
        assert not all(_greeting(service.address, stack) for _ in range(20))
        status = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        assert status.revision


def test_connections_without_a_protocol_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that connects and does not speak the protocol keeps its place for a bounded time only."""
    monkeypatch.setattr("pdp.server._HANDSHAKE_MS", 200)
    with serving(tmp_path, limits={"max_connections": 2}) as service, ExitStack() as stack:
        wait_until(lambda: not _greeting(service.address, stack), "no more room")
        wait_until(lambda: _gets_in(service), "room again")


# --- too slow --------------------------------------------------------------------------------------------------------


def test_idle_reflection_streams_stop_nobody_else(tmp_path: Path) -> None:
    """Callers that open reflection streams and say nothing leave the threads to those who ask questions."""
    done = threading.Event()

    def say_nothing() -> Iterator[Any]:
        done.wait(TIMEOUT_SECONDS)
        yield from ()

    with serving(tmp_path, server={"threads": 2}) as service:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)
        streams = [stub.ServerReflectionInfo(say_nothing()) for _ in range(8)]
        assert [service.authorize(tool_call()).decision for _ in range(20)] == [ALLOW] * 20
        done.set()
        for stream in streams:
            stream.cancel()


def test_callers_that_never_send_their_message_stop_nobody_else(tmp_path: Path) -> None:
    """Callers that begin a call and never send its message leave the threads to the others."""
    done = threading.Event()

    def send_nothing() -> Iterator[bytes]:
        done.wait(TIMEOUT_SECONDS)
        yield from ()

    with serving(tmp_path, server={"threads": 2}) as service, connect(service.address) as other:
        begun: Any = other.stream_unary("/pdp.v1.DecisionService/Authorize")
        calls = [begun.future(send_nothing()) for _ in range(8)]
        try:
            # A call that came in time before the others proves nothing, so several have to.
            answers = [service.decision.Authorize(tool_call(), timeout=1.0).decision for _ in range(20)]
        finally:
            done.set()
            for call in calls:
                call.cancel()
        assert answers == [ALLOW] * 20
