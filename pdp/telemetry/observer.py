"""Opens the scope of each call, and closes it: calls are timed, their errors counted, their spans ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from pdp import turns
from pdp.telemetry.metrics import Metrics
from pdp.telemetry.scope import CallScope, Span, enter, leave
from pdp.telemetry.traceparent import Parent, parse

_Answer = TypeVar("_Answer")

OK = "OK"


#: Of a caller's name for a call, that much is kept with events of the log and with traces.
_MAX_ID_LENGTH = 256


class Told(NamedTuple):
    """What a caller says about its call; empty for nothing."""

    traceparent: str = ""
    request_id: str = ""


class Tracer(Protocol):
    """Where spans come from."""

    def begin(self, name: str, parent: Parent | None) -> Span | None:
        """The span of a call that begins now; None for one that is not recorded."""


class NoTracer:
    """Records nothing."""

    def begin(self, name: str, parent: Parent | None) -> Span | None:
        """None."""


class Observer:
    """Observes the calls of one process. `code` tells the status of a call that ended with an exception."""

    def __init__(self, metrics: Metrics | None = None, tracer: Tracer | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._tracer = tracer or NoTracer()

    def answered(
        self, rpc: str, told: Told, answer: Callable[[], _Answer], code: Callable[[], str] = lambda: OK
    ) -> _Answer:
        """What `answer` gives, timed."""
        began_ns = time.perf_counter_ns()
        scope = self._open(rpc, told)
        token = enter(scope)
        ended = OK
        try:
            return answer()
        except BaseException:
            ended = code()
            raise
        finally:
            leave(token)
            turn = turns.current() if ended == OK else None
            if turn is None:
                self._end(scope, began_ns, ended)
            else:
                turn.when_told(partial(self._end, scope, began_ns, ended))

    def streamed(self, rpc: str, told: Told, answers: Iterator[_Answer], code: Callable[[], str]) -> Iterator[_Answer]:
        """What `answers` gives. It is not timed: how long it takes is for its caller to say."""
        scope = self._open(rpc, told)
        ended = OK
        try:
            while True:
                # Between two answers, whatever runs in this thread is not a part of the call.
                token = enter(scope)
                try:
                    answer = next(answers)
                except StopIteration:
                    return
                except BaseException:
                    ended = code()
                    raise
                finally:
                    leave(token)
                yield answer
        finally:
            self._close(scope, ended)

    def _open(self, rpc: str, told: Told) -> CallScope:
        parent = parse(told.traceparent) if told.traceparent else None
        return CallScope(rpc, self.metrics, parent, self._tracer.begin(rpc, parent), told.request_id[:_MAX_ID_LENGTH])

    def _end(self, scope: CallScope, began_ns: int, code: str) -> None:
        self.metrics.rpc_seconds.add(time.perf_counter_ns() - began_ns, scope.rpc)
        self._close(scope, code)

    def _close(self, scope: CallScope, code: str) -> None:
        if code != OK:
            self.metrics.rpc_errors.add(scope.rpc, code)
        if scope.span is not None:
            scope.span.end(scope, code)
