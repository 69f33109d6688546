"""Calls wait for their message without a thread, on the grpc that is installed; elsewhere they work all the same."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp import waiting_call
from pdp._gen.pdp.v1 import decision_pb2
from pdp.call_pool import CallPool
from pdp.call_queue import LARGE_BYTES, Refusal
from pdp.limits_config import LimitsConfig
from pdp.turns import Turn
from tests.grpc.service import failure, serving, tool_call
from tests.waiting import wait_until

_SECONDS = 30.0


class _Call:
    """A call in the queue that does what `work` says, and notes what becomes of it."""

    deadline = math.inf
    brief = False

    def __init__(self, size: int = 0, work: Callable[[], None] = lambda: None) -> None:
        self.size = size
        self.became = ""
        self._work = work

    def is_gone(self) -> bool:
        """Its caller waits."""
        return False

    def run(self, turn: Turn) -> None:
        """Do the work."""
        self._work()
        self.became = "answered"

    def refuse(self, why: Refusal) -> None:
        """Note it."""
        self.became = why

    def stop(self) -> None:
        """Note it."""
        self.became = "stopped"


@contextmanager
def _pool(threads: int) -> Iterator[CallPool]:
    pool = CallPool(threads, LimitsConfig(queue_ms=10_000))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _queue(pool: CallPool, call: _Call) -> _Call:
    assert pool.queue.put(call)
    pool.work()
    return call


class _Held:
    """Work that goes on until it is told to end."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.began, self.end = threading.Event(), threading.Event()
        self._failure = failure

    def __call__(self) -> None:
        self.began.set()
        assert self.end.wait(_SECONDS)
        if self._failure is not None:
            raise self._failure


@pytest.mark.parametrize("failed", [ValueError("on purpose"), SystemExit()])
def test_a_call_that_fails_strands_nobody(failed: BaseException) -> None:
    """What waits for the lane of a call that raises, whatever it raises, is answered when that has ended."""
    with _pool(2) as pool:
        held = _Held(failed)
        _queue(pool, _Call(LARGE_BYTES, held))
        assert held.began.wait(_SECONDS)
        waiting = _queue(pool, _Call(LARGE_BYTES))
        # The other thread has seen that the lane is full when it has answered what came afterwards.
        small = _queue(pool, _Call())
        wait_until(lambda: small.became == "answered", "the other thread is free")
        assert waiting.became == ""
        held.end.set()
        wait_until(lambda: waiting.became == "answered", "what waited is answered")
        wait_until(lambda: pool.idle, "nothing is left behind")


def test_threads_outlive_the_calls_that_fail() -> None:
    """After any number of calls that raise, as many calls as there are threads are answered at the same time."""
    with _pool(2) as pool:
        for _ in range(5):
            failing = _Held(SystemExit())
            failing.end.set()
            _queue(pool, _Call(work=failing))
        both = [_Held(), _Held()]
        for held in both:
            _queue(pool, _Call(work=held))
        assert all(held.began.wait(_SECONDS) for held in both)
        for held in both:
            held.end.set()


def test_what_waits_is_told_that_the_service_stops() -> None:
    """A pool that is shut down lets its call end, and tells those that wait and those that come later."""
    with _pool(1) as pool:
        held = _Held()
        answering = _queue(pool, _Call(work=held))
        assert held.began.wait(_SECONDS)
        waiting = _queue(pool, _Call())
        stopping = threading.Thread(target=lambda: pool.shutdown(wait=True, cancel_futures=True))
        stopping.start()
        wait_until(lambda: waiting.became == "stopped", "what waits is told")
        held.end.set()
        stopping.join()
        assert answering.became == "answered"
        assert _queue(pool, _Call()).became == "stopped"


def test_the_installed_grpc_is_made_as_expected() -> None:
    """Nobody's threads are held by silent callers unknowingly, after an upgrade of grpc."""
    assert waiting_call.waits_for_messages


def test_calls_are_answered_on_another_grpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where grpc is made differently, it takes the threads as it always did, and calls are answered."""
    monkeypatch.setattr(waiting_call, "waits_for_messages", False)
    with serving(tmp_path) as service:
        assert service.decision.Authorize(tool_call(), timeout=10.0).decision == decision_pb2.DECISION_ALLOW


def test_a_call_without_a_message_is_refused(tmp_path: Path) -> None:
    """A caller that closes its side without having sent anything gets an error that says so."""

    def nothing() -> Iterator[bytes]:
        yield from ()

    with serving(tmp_path) as service:
        call: Any = service.channel.stream_unary("/pdp.v1.DecisionService/Authorize")
        error = failure(call, nothing())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "exactly one message" in error.details()
        assert service.decision.Authorize(tool_call(), timeout=10.0).decision == decision_pb2.DECISION_ALLOW


def test_bytes_that_are_no_health_check_are_the_callers_mistake(tmp_path: Path) -> None:
    """The standard services' own messages may be malformed too, and that is no internal error."""
    with serving(tmp_path) as service:
        call: Any = service.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert failure(call, b"\xff\xff").code() is grpc.StatusCode.INVALID_ARGUMENT


def test_every_call_that_ends_is_counted_once(tmp_path: Path) -> None:
    """However a call ends, grpc counts it as ended exactly once: its bound on calls neither shrinks nor grows."""

    def nothing() -> Iterator[bytes]:
        yield from ()

    with serving(tmp_path) as service:
        without_message: Any = service.channel.stream_unary("/pdp.v1.DecisionService/Authorize")
        malformed: Any = service.channel.unary_unary("/pdp.v1.DecisionService/Authorize")
        for _ in range(3):
            service.decision.Authorize(tool_call(), timeout=_SECONDS)
            failure(service.decision.Authorize, tool_call(server=""))
            failure(malformed, b"\xff\xff")
            failure(without_message, nothing())
        state: Any = service.app._servers[0]._grpc._state  # type: ignore[attr-defined]  # grpc's own count
        wait_until(lambda: state.active_rpc_count == 0, "all calls are counted as ended")


def _code_set(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("set, not raised")
    return b"thrown away"


def _metadata_set(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.set_trailing_metadata((("after", "2"),))
    return b"answer"


def _metadata_sent(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.send_initial_metadata((("before", "1"),))
    return b"answer"


def _aborted(_: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.ABORTED, "aborted")


def _raising(_: bytes, __: grpc.ServicerContext) -> bytes:
    raise ValueError("on purpose")


def _unwritable(_: bytes, __: grpc.ServicerContext) -> Any:
    return object()


def _echoed(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request if (context.time_remaining() or 0) > 0 else b""


_HANDLERS = {
    handler.__name__: handler
    for handler in (_code_set, _metadata_set, _metadata_sent, _aborted, _raising, _unwritable, _echoed)
}


def _ends(pool: ThreadPoolExecutor, handler: Callable[..., Any]) -> tuple[object, ...]:
    """How a call to `handler` ends on a server with this pool, as its caller sees it."""
    answering = grpc.unary_unary_rpc_method_handler(handler, bytes, bytes)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": answering}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            asking: Any = channel.unary_unary("/a.B/C")
            call = asking.future(b"question", timeout=_SECONDS)
            code = call.code()
            answer = call.result() if code is grpc.StatusCode.OK else None
            sent = [item for item in call.initial_metadata() if item[0] == "before"]
            return code, call.details(), answer, sent, list(call.trailing_metadata())
    finally:
        server.stop(None).wait()
        pool.shutdown(wait=True)


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("name", sorted(_HANDLERS))
def test_calls_end_as_grpc_ends_them(
    name: str, brief: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler's answer, status, metadata or exception reach its caller as they do on grpc's own pool, also if it is
    answered in a turn.
    """
    caplog.set_level(logging.CRITICAL)
    handler = _HANDLERS[name]
    monkeypatch.setattr(handler, "brief", brief, raising=False)
    assert _ends(CallPool(1, LimitsConfig()), handler) == _ends(ThreadPoolExecutor(1), handler)
