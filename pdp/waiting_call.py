"""A call of grpc's that begins with exactly one message: awaited without a thread, queued, answered in a thread.

What grpc does earlier, in the thread, is done here with grpc's own functions. They are private; where grpc is not made
as expected, `waits_for_messages` says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from grpc import _cython, _server
from grpc_health.v1.health import HealthServicer

from pdp.call_queue import CallQueue, Refusal
from pdp.errors import DeadlineExceededError, OverloadedError
from pdp.status import trailers
from pdp.turns import Turn

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


class Pool(Protocol):
    """What a call needs of the pool that answers it."""

    @property
    def queue(self) -> CallQueue:
        """Where calls wait for a thread."""

    def work(self) -> None:
        """Have a thread look for calls in the queue."""


def has_one_message(args: tuple[Any, ...]) -> bool:
    """Whether these are the arguments of a call that begins with exactly one message from the caller.

    grpc waits for that message in a function of this name, which it hands over to be called in the thread.
    """
    if len(args) != 7 or args[0] not in (_calls._unary_response_in_pool, _calls._stream_response_in_pool):
        return False
    return getattr(args[4], "__name__", "") == "unary_request"


class WaitingCall:
    """A call that has begun: its message is awaited without a thread, then it waits for a thread.

    A handler may have a response, as bytes, with which it is refused: `when_overloaded`. It is for callers that could
    take an error for a permission. One that is `brief` gives one answer in well below a millisecond, and does no harm
    when it is called again.
    """

    #: As `QueuedCall` has it.
    size = 0
    _message: bytes | None = None
    _rests = False
    _over = False

    def __init__(
        self,
        pool: Pool,
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
        self.brief: bool = respond is _calls._unary_response_in_pool and getattr(behavior, "brief", False)
        self.deadline = _on(pool.queue.clock, rpc_event.call_details.deadline)
        self._when_over: list[Callable[[Any], Any]] = []

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Have `callback` called once, when the call is over: grpc counts calls by it."""
        self._when_over.append(callback)
        if self._over:
            self._settle()

    def begin(self) -> WaitingCall:
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

    def run(self, turn: Turn) -> None:
        """As `QueuedCall` has it."""
        if not self.brief:
            self._answer()
            return
        answered = False
        turn.begin()
        try:
            answered = self._run(self._respond_in, turn)
        finally:
            try:
                turn.end()
            finally:
                if not answered:
                    self._settle()

    def _answer(self) -> None:
        """Answer it, and tell the answer."""
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
        response = self._response()
        if response is not None:
            self._end(response)

    def _respond_in(self, turn: Turn) -> bool:
        """Answer it; whether there is an answer, to be told when the turn is settled."""
        response = self._response()
        if response is None:
            return False
        turn.put(partial(self._tell, response), self._answer)
        return True

    def _tell(self, response: bytes) -> None:
        try:
            self._end(response)
        finally:
            self._settle()

    def _response(self) -> Any:
        """What grpc does in `_unary_response_in_pool`, without its detours on the way that nearly all calls take, up to
        the response; None where the call has been ended otherwise.
        """
        event, state = self._event, self._state
        _core.install_context_from_request_call_event(event)
        try:
            request = self._request()
            if request is None:
                return None
            try:
                response = self._behavior(request, _calls._Context(event, state, self._deserialize))
            except Exception as error:  # noqa: BLE001 - any of the handler's; grpc knows what is to become of it
                _calls._call_behavior(event, state, _raising(error), request, self._deserialize)
                return None
            return _calls._serialize_response(event, state, response, self._serialize)
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
        message = self._message
        if not self.brief:  # a brief call may have to be answered again
            self._message = None
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
        self._over, self._message = True, None
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
