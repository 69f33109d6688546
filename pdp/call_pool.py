"""The threads that answer calls: taken when a call's message is there, not when the call begins.

grpc's synchronous server gives a call a thread at once, and the thread waits for the message. So as many callers as
there are threads, each with a call begun and nothing sent, stop the service for everybody. There is no public way to
change that; this pool stands between (`pdp.waiting_call`). Where grpc is not made as expected, calls are run as grpc
hands them over, and a test says so.

Calls that cannot be answered in time are refused here, without a thread and without parsing (`pdp.call_queue`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pdp import waiting_call
from pdp.call_queue import CallQueue, QueueThreads
from pdp.limits_config import LimitsConfig
from pdp.waiting_call import WaitingCall, has_one_message


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
        if waiting_call.waits_for_messages and has_one_message(args):
            return WaitingCall(self, fn, *args).begin()
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
