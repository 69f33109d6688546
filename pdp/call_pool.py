"""The threads that answer calls: taken when a call's message is there, not when the call begins.

grpc's synchronous server gives a call a thread at once, and the thread waits for the message. So as many callers as
there are threads, each with a call begun and nothing sent, stop the service for everybody. There is no public way to
change that; this pool stands between, using grpc's own functions for the parts that it does earlier. Where grpc is not
made as expected, calls are run as grpc hands them over, and a test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from grpc import _cython, _server

_USED = (
    "_CANCELLED",
    "_CLOSED",
    "_EMPTY_FLAGS",
    "_OPEN",
    "_RECEIVE_MESSAGE_TOKEN",
    "_abort",
    "_is_rpc_state_active",
    "_possibly_finish_call",
    "_serialized_request",
    "_stream_response_in_pool",
    "_unary_response_in_pool",
)

#: Private parts of grpc, which have no types.
_core: Any = getattr(_cython, "cygrpc", None)
_calls: Any = _server

#: Whether grpc is made as this module expects.
waits_for_messages = all(hasattr(_calls, name) for name in _USED) and hasattr(_core, "ReceiveMessageOperation")


class CallPool(ThreadPoolExecutor):
    """A thread pool for a grpc server. `idle` tells whether it answers no call at the moment."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="rpc")
        self._answering: set[Future[Any]] = set()

    @property
    def idle(self) -> bool:
        """Whether no call is being answered; a call whose message has not come does not count."""
        return not self._answering

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call, for grpc: at once, or when its message comes if it has exactly one."""
        if waits_for_messages and _has_one_message(args):
            return _Waiting(self, fn, *args).begin()
        return self.run(fn, *args, **kwargs)

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` in a thread of the pool. RuntimeError once the pool is shut down."""
        future = super().submit(fn, *args, **kwargs)
        self._answering.add(future)
        future.add_done_callback(self._answering.discard)
        return future


def _has_one_message(args: tuple[Any, ...]) -> bool:
    """Whether these are the arguments of a call that begins with exactly one message from the caller.

    grpc waits for that message in a function of this name, which it hands over to be called in the thread.
    """
    if len(args) != 7 or args[0] not in (_calls._unary_response_in_pool, _calls._stream_response_in_pool):
        return False
    return getattr(args[4], "__name__", "") == "unary_request"


class _Waiting:
    """A call that has begun and whose message is awaited, without a thread."""

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
        #: grpc counts calls by this.
        self._done: Future[Any] = Future()

    def begin(self) -> Future[Any]:
        """Ask for the message. grpc's polling thread comes back with it, to `_received`."""
        with self._state.condition:
            operation = _core.ReceiveMessageOperation(_calls._EMPTY_FLAGS)
            self._event.call.start_server_batch((operation,), self._received)
            self._state.due.add(_calls._RECEIVE_MESSAGE_TOKEN)
        return self._done

    def _received(self, event: Any) -> Any:
        message = _calls._serialized_request(event)
        if message is None:
            self._close()
        else:
            self._answer(message)
        with self._state.condition:
            return _calls._possibly_finish_call(self._state, _calls._RECEIVE_MESSAGE_TOKEN)

    def _close(self) -> None:
        """The caller went away, or closed its side without a message, which is a wrong way to make the call."""
        state = self._state
        with state.condition:
            if state.client is _calls._OPEN:
                state.client = _calls._CLOSED
            if state.client is not _calls._CANCELLED:
                self._abort(_core.StatusCode.invalid_argument, b"the call needs exactly one message")
        self._done.set_result(None)

    def _answer(self, message: bytes) -> None:
        try:
            request = self._deserialize(message)
        except Exception:  # noqa: BLE001 - any deserializer's way of saying that the bytes are no message
            self._refuse(_core.StatusCode.invalid_argument, b"the bytes are not a message of this RPC")
            return
        arguments = (self._event, self._state, self._behavior, lambda: request, self._deserialize, self._serialize)
        try:
            running = self._pool.run(self._run, self._respond, *arguments)
        except RuntimeError:
            self._refuse(_core.StatusCode.unavailable, b"the service is stopping")
            return
        running.add_done_callback(lambda _: self._done.set_result(None))

    def _refuse(self, code: Any, details: bytes) -> None:
        with self._state.condition:
            self._abort(code, details)
        self._done.set_result(None)

    def _abort(self, code: Any, details: bytes) -> None:
        if _calls._is_rpc_state_active(self._state):
            _calls._abort(self._state, self._event.call, code, details)
