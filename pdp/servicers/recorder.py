"""Writes what was decided into the decision log, under a name that the answer gives back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pdp.candidate import Difference
from pdp.cedar.model import ActionQuery, Authorization, Denial, Query
from pdp.decision_log.masking import Masking
from pdp.decision_log.record import ArgumentsPolicy, decision_line, difference_line, interception_line
from pdp.decision_log.sinks import DecisionSink, Remaining
from pdp.sandbox.chain import ChainQuery
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception, Outcome
from pdp.sandbox.reply import Envelope
from pdp.telemetry.scope import Asked, Decided, current, trace_ids

#: Requests up to this size are kept until their decision line is written.
_MAX_WAITING_BYTES = 8_192


class Recorder:
    """Makes ids and lines. Each method takes the size of the request in bytes and gives the id of the record.

    Where a query is None nobody was there who could ask. `remaining` tells how long the caller still waits, for a log
    that has no room. Raises LogUnavailableError where the record cannot be kept: no answer goes out without it.
    """

    def __init__(
        self, sink: DecisionSink, ids: Callable[[], str], arguments: ArgumentsPolicy, mask: Masking | None = None
    ) -> None:
        self._sink = sink
        self._ids = ids
        self._shown: dict[str, Any] = {"arguments": arguments, "mask": mask}

    def decision(
        self,
        query: Query | None,
        answer: Authorization,
        *,
        size: int,
        interception: Interception | None = None,
        remaining: Remaining | None = None,
        **facts: Any,
    ) -> str:
        """An authorization, or with an `interception` a decision by both layers; for `facts` see `decision_line`."""
        scope = current()
        facts.update(trace_ids(scope))
        made = partial(decision_line, query, answer, interception=interception, **facts)
        decision_id = self._write(made, size, remaining)
        if scope is not None:
            kind = "authorize" if interception is None else "decide"
            told = _told(kind, decision_id, answer.denial, query, facts)
            scope.decide(told, _asked(interception.outcomes if interception is not None else ()))
        return decision_id

    def interception(
        self,
        phase: Phase,
        query: ChainQuery | None,
        answer: Interception,
        *,
        size: int,
        remaining: Remaining | None = None,
        **facts: Any,
    ) -> str:
        """A run of an interceptor chain; for `facts` see `interception_line`."""
        scope = current()
        facts.update(trace_ids(scope))
        decision_id = self._write(partial(interception_line, phase, query, answer, **facts), size, remaining)
        if scope is not None:
            told = _told("intercept", decision_id, answer.denial, query.envelope if query is not None else None, facts)
            scope.decide(told, _asked(answer.outcomes))
        return decision_id

    def difference(self, difference: Difference) -> None:
        """A call that a candidate bundle answers in another way."""
        self._sink.write(difference_line(difference, time_ns=time.time_ns(), **self._shown))

    def _write(self, line: Callable[..., str], size: int, remaining: Remaining | None) -> str:
        decision_id = self._ids()
        made = partial(line, time_ns=time.time_ns(), decision_id=decision_id, **self._shown)
        # A line waits for its thread with the whole question, so for a large one it is made now.
        self._sink.write(made if size <= _MAX_WAITING_BYTES else made(), remaining)
        return decision_id


def _told(
    kind: str, decision_id: str, denial: Denial | None, asked: Query | Envelope | None, facts: Mapping[str, Any]
) -> Decided:
    """What the call's scope is told of a decision."""
    code = denial.code.value if denial is not None else ""
    subject = None if asked is None else asked.subject if isinstance(asked, Envelope) else asked.principal
    server, tool = ("", "") if asked is None or isinstance(asked, ActionQuery) else (asked.server, asked.tool)
    return Decided(kind, decision_id, denial is None, code, facts["revision"], server, tool, subject)


def _asked(outcomes: Sequence[Outcome]) -> tuple[Asked, ...]:
    return tuple(
        Asked(
            outcome.name,
            outcome.shadow,
            outcome.verdict,
            outcome.error_class.value if outcome.error_class is not None else "",
            outcome.duration_ns,
        )
        for outcome in outcomes
    )
