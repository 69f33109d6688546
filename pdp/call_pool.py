"""The threads that answer calls: taken when a call's message is there, not when the call begins.

grpc's synchronous server gives a call a thread at once, and the thread waits for the message. So as many callers as
there are threads, each with a call begun and nothing sent, stop the service for everybody. There is no public way to
change that; this pool stands between, using grpc's own functions for the parts that it does earlier. Where grpc is not
made as expected, calls are run as grpc hands them over, and a test says so.

Calls that cannot be answered in time are refused here, without a thread and without parsing (`pdp.call_queue`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from grpc import _cython, _server
from grpc_health.v1.health import HealthServicer

from pdp.call_queue import CallQueue, QueueThreads, Refusal
from pdp.errors import DeadlineExceededError, OverloadedError
from pdp.limits_config import LimitsConfig
from pdp.status import trailers

_USED = (
    "_CANCELLED",
    "_CLOSED",
    "_Context",
    "_EMPTY_FLAGS",
    "_OPEN",
    "_RECEIVE_MESSAGE_TOKEN",
    "_SEND_INITIAL_METADATA_AND_SEND_STATUS_FROM_SERVER_TOKEN",
    "_abort",
    "_call_behavior",
    "_get_initial_metadata_operation",
    "_is_rpc_state_active",
    "_possibly_finish_call",
    "_serialize_response",
    "_serialized_request",
    "_status",
    "_stream_response_in_pool",
    "_unary_response_in_pool",
)

#: Private parts of grpc, which have no types.
_core: Any = getattr(_cython, "cygrpc", None)
_calls: Any = _server

#: Whether grpc is made as this module expects.
waits_for_messages = all(hasattr(_calls, name) for name in _USED) and all(
    hasattr(_core, name)
    for name in ("ReceiveMessageOperation", "install_context_from_request_call_event", "uninstall_context")
)

#: How long grpc's polling thread rests after a refusal. Callers who ask again at once would otherwise have the service
#: do nothing but refuse; meanwhile their calls wait where they cost nothing, in their connections.
REST_SECONDS = 0.001

_OVERLOADED = OverloadedError("the service has more to do than it can; try again later")
_EXPIRED = DeadlineExceededError("the deadline passed before the call was answered")
_REFUSALS: dict[Refusal, tuple[str, bytes, Any]] = {
    "overloaded": ("resource_exhausted", str(_OVERLOADED).encode(), trailers(_OVERLOADED)),
    "expired": ("deadline_exceeded", str(_EXPIRED).encode(), trailers(_EXPIRED)),
}


class CallPool(ThreadPoolExecutor):
    """A thread pool for a grpc server. `idle` tells whether it answers no call at the moment.

    What is queued has threads of its own: an executor makes a future for every call, and grpc has one already.
    """

    def __init__(self, threads: int, limits: LimitsConfig) -> None:
        super().__init__(threads, thread_name_prefix="rpc")
        self._answering: set[Future[Any]] = set()
        #: What waits for a thread; counts what it refuses.
        self.queue = CallQueue(threads, limits)
        self._workers = QueueThreads(self.queue, threads)

    @property
    def idle(self) -> bool:
        """Whether no call is being answered; a call whose message has not come does not count."""
        return not (self._answering or self.queue.queued or self.queue.in_flight)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a call, for grpc: at once, or when its message comes if it has exactly one.

        What this gives has of a future what grpc uses.
        """
        if waits_for_messages and _has_one_message(args):
            return _Waiting(self, fn, *args).begin()
        return self.run(fn, *args, **kwargs)

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in a thread of the pool. RuntimeError once the pool is shut down."""
        future = super().submit(fn, *args, **kwargs)
        self._answering.add(future)
        future.add_done_callback(self._answering.discard)
        return future

    def work(self) -> None:
        """Have a thread look for calls in the queue, as `QueueThreads.work` does; once shut down, refuse them all."""
        try:
            self._workers.work()
        except RuntimeError:
            self._refuse_all()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor; calls that are queued are told that the service is stopping."""
        if cancel_futures:
            self._refuse_all()
        self._workers.close(wait=wait)
        super().shutdown(wait=wait, cancel_futures=cancel_futures)

    def _refuse_all(self) -> None:
        for call in self.queue.drain():
            call.stop()  # type: ignore[attr-defined]  # only these are in it


def _has_one_message(args: tuple[Any, ...]) -> bool:
    """Whether these are the arguments of a call that begins with exactly one message from the caller.

    grpc waits for that message in a function of this name, which it hands over to be called in the thread.
    """
    if len(args) != 7 or args[0] not in (_calls._unary_response_in_pool, _calls._stream_response_in_pool):
        return False
    return getattr(args[4], "__name__", "") == "unary_request"


class _Waiting:
    """A call that has begun: its message is awaited without a thread, then it waits for a thread.

    A handler may have a response, as bytes, with which it is refused: `when_overloaded`. It is for callers that could
    take an error for a permission.
    """

    #: As `QueuedCall` has it.
    size = 0
    _message: bytes | None = None
    _rests = False
    _over = False

    def __init__(
        self,
        pool: CallPool,
        run: Callable[..., Any],
        respond: Callable[..., Any],
        rpc_event: Any,
        state: Any,
        behavior: Any,
        _: Callable[[], Any],
        deserialize: Callable[[bytes], Any],
        serialize: Callable[[Any], bytes],
    ) -> None:
        self._pool = pool
        self._run = run
        self._respond = respond
        self._event = rpc_event
        self._state = state
        self._behavior = behavior
        self._deserialize = deserialize
        self._serialize = serialize
        #: Whoever looks after the service must not take a busy one for a broken one, and restart it.
        self._urgent: bool = isinstance(getattr(behavior, "__self__", None), HealthServicer)
        #: As `QueuedCall` has it.
        self.deadline = _on(pool.queue.clock, rpc_event.call_details.deadline)
        self._when_over: list[Callable[[Any], Any]] = []

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Have `callback` called once, when the call is over: grpc counts calls by it."""
        self._when_over.append(callback)
        if self._over:
            self._settle()

    def begin(self) -> _Waiting:
        """Ask for the message, if it is of use. grpc's polling thread comes back with it, to `_received`."""
        queue = self._pool.queue
        for overdue in queue.overdue():
            overdue.refuse("overloaded")
        if not queue.expect(self, always=self._urgent):
            self.refuse("overloaded")
            return self
        with self._state.condition:
            operation = _core.ReceiveMessageOperation(_calls._EMPTY_FLAGS)
            self._event.call.start_server_batch((operation,), self._received)
            self._state.due.add(_calls._RECEIVE_MESSAGE_TOKEN)
        return self

    def is_gone(self) -> bool:
        """As `QueuedCall` has it."""
        return not _calls._is_rpc_state_active(self._state)

    def run(self) -> None:
        """As `QueuedCall` has it."""
        try:
            if self._respond is _calls._unary_response_in_pool:
                self._run(self._respond_once)
            else:
                self._run(
                    self._respond,
                    self._event,
                    self._state,
                    self._behavior,
                    self._request,
                    self._deserialize,
                    self._serialize,
                )
        finally:
            self._settle()

    def _respond_once(self) -> None:
        """What grpc does in `_unary_response_in_pool`, without its detours on the way that nearly all calls take."""
        event, state = self._event, self._state
        _core.install_context_from_request_call_event(event)
        try:
            request = self._request()
            if request is None:
                return
            try:
                response = self._behavior(request, _calls._Context(event, state, self._deserialize))
            except Exception as error:  # noqa: BLE001 - any of the handler's; grpc knows what is to become of it
                _calls._call_behavior(event, state, _raising(error), request, self._deserialize)
                return
            serialized = _calls._serialize_response(event, state, response, self._serialize)
            if serialized is not None:
                self._end(serialized)
        finally:
            _core.uninstall_context()

    def _end(self, response: bytes) -> None:
        """End the call with its response."""
        state = self._state
        with state.condition:
            if not (
                state.initial_metadata_allowed
                and state.code is state.details is None
                and not (state.disable_next_compression or state.trailing_metadata)
            ):
                _calls._status(self._event, state, response)
            elif not self.is_gone():
                self._send(_core.StatusCode.ok, b"", None, response)

    def refuse(self, why: Refusal) -> None:
        """As `QueuedCall` has it."""
        code, details, metadata = _REFUSALS[why]
        self._message = None
        # Who refuses what has no time left has to be quick, so as to come to what has.
        self._rests = why == "overloaded" and self._pool.queue.has_time(self.deadline)
        response: bytes | None = getattr(self._behavior, "when_overloaded", None)
        with self._state.condition:
            if not self.is_gone():
                if response is None:
                    self._send(getattr(_core.StatusCode, code), details, metadata)
                else:
                    self._send(_core.StatusCode.ok, b"", None, response)
        self._settle()

    def _received(self, event: Any) -> Any:
        message = _calls._serialized_request(event)
        if message is None or self._over:
            self._pool.queue.give_up(self)
            self._close()
        else:
            self._message, self.size = message, len(message)
            if self._pool.queue.put(self, always=self._urgent):
                self._pool.work()
            else:
                self.refuse("overloaded")
        with self._state.condition:
            return _calls._possibly_finish_call(self._state, _calls._RECEIVE_MESSAGE_TOKEN)

    def stop(self) -> None:
        """Tell the caller that the service is stopping, if it does not take an error for a permission."""
        if getattr(self._behavior, "when_overloaded", None) is not None:
            self.refuse("overloaded")
            return
        self._refuse(_core.StatusCode.unavailable, b"the service is stopping")

    def _request(self) -> Any:
        """The message, for grpc: parsed in the thread, None where the call has been refused."""
        message, self._message = self._message, None
        try:
            return self._deserialize(message or b"")
        except Exception:  # noqa: BLE001 - any deserializer's way of saying that the bytes are no message
            with self._state.condition:
                self._abort(_core.StatusCode.invalid_argument, b"the bytes are not a message of this RPC")
            return None

    def _close(self) -> None:
        """The caller went away, or closed its side without a message, which is a wrong way to make the call."""
        state = self._state
        with state.condition:
            if state.client is _calls._OPEN:
                state.client = _calls._CLOSED
            if state.client is not _calls._CANCELLED:
                self._abort(_core.StatusCode.invalid_argument, b"the call needs exactly one message")
        self._settle()

    def _refuse(self, code: Any, details: bytes) -> None:
        with self._state.condition:
            self._abort(code, details)
        self._settle()

    def _abort(self, code: Any, details: bytes) -> None:
        if _calls._is_rpc_state_active(self._state):
            _calls._abort(self._state, self._event.call, code, details)

    def _settle(self) -> None:
        self._over = True
        # A call that is refused while its message is awaited comes to an end once more when that is given up, maybe in
        # another thread: who takes a callback out calls it.
        while self._when_over:
            try:
                callback = self._when_over.pop()
            except IndexError:
                return
            callback(self)

    def _send(self, code: Any, details: bytes, metadata: Any, response: bytes | None = None) -> None:
        """End the call; grpc's polling thread comes back to `_sent`. Needs the state's lock."""
        state, flags = self._state, _calls._EMPTY_FLAGS
        operations = [_calls._get_initial_metadata_operation(state, None)]
        if response is not None:
            operations.append(_core.SendMessageOperation(response, flags))
        operations.append(_core.SendStatusFromServerOperation(metadata, code, details, flags))
        self._event.call.start_server_batch(operations, self._sent)
        state.statused = True
        state.due.add(_calls._SEND_INITIAL_METADATA_AND_SEND_STATUS_FROM_SERVER_TOKEN)

    def _sent(self, _: Any) -> Any:
        if self._rests:
            # Whatever raised here would end grpc's polling thread, and with it the service. A preloaded library that
            # changes the time can make sleeping an error.
            with suppress(OSError):
                time.sleep(REST_SECONDS)
        token = _calls._SEND_INITIAL_METADATA_AND_SEND_STATUS_FROM_SERVER_TOKEN
        with self._state.condition:
            return _calls._possibly_finish_call(self._state, token)


def _raising(error: Exception) -> Callable[[Any, Any], Any]:
    """A handler that ends as another has, for grpc to see."""

    def fail(_: Any, __: Any) -> Any:
        nonlocal error
        try:
            raise error
        finally:
            # Its traceback holds this frame: the call would stay in memory until cycles are looked for.
            del error

    return fail


def _on(clock: Callable[[], float], deadline: float) -> float:
    """A deadline of grpc, seconds since 1970, as a time of `clock`; infinite where there is none.

    One that has passed says that the machine's clock was set: a call that has no time left is ended by grpc itself, by
    a clock that nobody sets.
    """
    remaining = deadline - time.time()
    return clock() + remaining if 0 < remaining < 1e8 else math.inf
