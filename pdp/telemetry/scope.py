"""One call, from the moment it is begun to be answered: what happens within it is told to its scope.

The scope is found through a context variable, so that a decision, a denial of a gateway and an event of the log can be
joined by their ids without every function in between handing them on. Outside of a call there is none, and nothing is
counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any, Final, NamedTuple, Protocol

from pdp.telemetry.metrics import Metrics
from pdp.telemetry.traceparent import Parent

_CURRENT: Final[ContextVar[CallScope | None]] = ContextVar("call", default=None)

_MOST_LAYERS: Final = 64


class Span(Protocol):
    """What a trace has of one call."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""

    def end(self, scope: CallScope, code: str) -> None:
        """The call was answered with this status: write down what happened in it."""


class Decided(NamedTuple):
    """A decision that a call led to. `subject` is made text only where somebody is told of it."""

    kind: str
    decision_id: str
    allowed: bool
    code: str
    revision: str
    server: str
    tool: str
    subject: object


class Asked(NamedTuple):
    """What an interceptor said."""

    name: str
    shadow: bool
    verdict: str
    error_class: str
    nanoseconds: int


class CallScope:
    """What is known of a call so far."""

    __slots__ = ("asked", "decided", "layers", "metrics", "parent", "request_id", "rpc", "span")

    def __init__(
        self,
        rpc: str,
        metrics: Metrics,
        parent: Parent | None = None,
        span: Span | None = None,
        request_id: str = "",
    ) -> None:
        self.rpc = rpc
        self.metrics = metrics
        self.parent = parent
        self.span = span
        self.request_id = request_id
        self.decided: Decided | None = None
        self.layers: list[tuple[str, int, int]] = []
        self.asked: tuple[Asked, ...] = ()

    @property
    def ids(self) -> dict[str, str]:
        """The ids by which this call can be found elsewhere, those that it has."""
        found = trace_ids(self)
        if self.decided is not None:
            found["decision_id"] = self.decided.decision_id
        if self.request_id:
            found["request_id"] = self.request_id
        return found

    def layer(self, name: str, began_ns: int, ended_ns: int) -> None:
        """A layer took this long; times of `time.perf_counter_ns`."""
        self.metrics.layer_seconds.add(ended_ns - began_ns, name)
        # A stream can have any number of them.
        if self.span is not None and len(self.layers) < _MOST_LAYERS:
            self.layers.append((name, began_ns, ended_ns))

    def decide(self, decided: Decided, asked: tuple[Asked, ...]) -> None:
        """There is a decision, with what interceptors said on the way."""
        decision = "ALLOW" if decided.allowed else "DENY"
        self.metrics.decisions.add(decided.kind, decision, decided.code)
        for each in asked:
            mode = "shadow" if each.shadow else "enforce"
            self.metrics.interceptors.add(each.name, mode, each.verdict, each.error_class)
            self.metrics.interceptor_seconds.add(each.nanoseconds, each.name)
        self.decided = decided
        self.asked = asked

    def decide_together(self, last: Decided, codes: Mapping[str, int]) -> None:
        """There are decisions of one kind, so many with each code; empty is the code of those that allow."""
        for code, count in codes.items():
            self.metrics.decisions.add(last.kind, "DENY" if code else "ALLOW", code, count=count)
        self.decided = last


def current() -> CallScope | None:
    """The call that this is a part of."""
    return _CURRENT.get()


def enter(scope: CallScope) -> Token[CallScope | None]:
    """From here on this is a part of the call; `leave` takes what this gives."""
    return _CURRENT.set(scope)


def leave(token: Token[CallScope | None]) -> None:
    """No longer."""
    _CURRENT.reset(token)


def layer(name: str, began_ns: int, ended_ns: int) -> None:
    """As in `CallScope`, where there is a call."""
    scope = _CURRENT.get()
    if scope is not None:
        scope.layer(name, began_ns, ended_ns)


def trace_ids(scope: CallScope | None) -> dict[str, str]:
    """The trace that a call belongs to, and its own span if it is recorded. Nothing where nobody traces it."""
    if scope is None:
        return {}
    if scope.span is not None:
        return {"trace_id": scope.span.trace_id, "span_id": scope.span.span_id}
    return {"trace_id": scope.parent.trace_id} if scope.parent is not None else {}


def add_ids(logger: Any, name: str, event: Any) -> Any:
    """For the log: the ids of the call that an event is about, unless the event has its own."""
    scope = _CURRENT.get()
    return event if scope is None else {**scope.ids, **event}
