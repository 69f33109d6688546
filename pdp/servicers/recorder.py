"""Writes what was decided into the decision log, under a name that the answer gives back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from pdp.candidate import Difference
from pdp.cedar.model import ActionQuery, Authorization, Denial, Query
from pdp.decision_log.masking import Masking
from pdp.decision_log.record import ArgumentsPolicy, decision_line, difference_line, interception_line
from pdp.decision_log.sinks import DecisionSink, Remaining
from pdp.sandbox.chain import ChainQuery
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception, Outcome
from pdp.sandbox.reply import Envelope
from pdp.telemetry.scope import Asked, CallScope, Decided, current, trace_ids

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
        self._arguments: ArgumentsPolicy = arguments
        self._mask = mask

    def decision(
        self,
        query: Query | None,
        answer: Authorization,
        *,
        size: int,
        duration_ns: int,
        request_id: str,
        revision: str,
        caller: str = "",
        interception: Interception | None = None,
        remaining: Remaining | None = None,
    ) -> str:
        """An authorization, or with an `interception` a decision by both layers; see `decision_line`."""
        scope, decision_id = current(), self._ids()
        trace_id, span_id = _trace(scope)
        # By position and in one object: every call pays for it, also where nothing is logged.
        made = partial(
            decision_line,
            query,
            answer,
            time.time_ns(),
            duration_ns,
            decision_id,
            request_id,
            revision,
            self._arguments,
            self._mask,
            caller,
            trace_id,
            span_id,
            interception,
        )
        self._write(made, size, remaining)
        if scope is not None:
            kind = "authorize" if interception is None else "decide"
            told = _told(kind, decision_id, answer.denial, query, revision)
            scope.decide(told, _asked(interception.outcomes) if interception is not None else ())
        return decision_id

    def decisions(
        self,
        answered: Sequence[tuple[Query | None, Authorization, str]],
        duration_ns: int,
        revision: str,
        *,
        caller: str,
        remaining: Remaining | None = None,
    ) -> list[str]:
        """Authorizations that were made together, each with the id of its request; `duration_ns` is of each.

        Where one record cannot be kept, those before it are: records of calls that were not answered.
        """
        scope, time_ns = current(), time.time_ns()
        trace_id, span_id = _trace(scope)
        ids = [self._ids() for _ in answered]
        lines = (
            decision_line(
                query,
                answer,
                time_ns,
                duration_ns,
                decision_id,
                request_id,
                revision,
                self._arguments,
                self._mask,
                caller,
                trace_id,
                span_id,
            )
            for (query, answer, request_id), decision_id in zip(answered, ids, strict=True)
        )
        self._sink.write_all(lines, remaining)
        if scope is not None and answered:
            query, answer, _ = answered[-1]
            last = _told("authorize", ids[-1], answer.denial, query, revision)
            scope.decide_together(last, Counter(_code(answer.denial) for _, answer, _ in answered))
        return ids

    def interception(
        self,
        phase: Phase,
        query: ChainQuery | None,
        answer: Interception,
        *,
        size: int,
        duration_ns: int,
        for_decision_id: str,
        request_id: str,
        revision: str,
        caller: str = "",
        remaining: Remaining | None = None,
    ) -> str:
        """A run of an interceptor chain; see `interception_line`."""
        scope, decision_id = current(), self._ids()
        trace_id, span_id = _trace(scope)
        made = partial(
            interception_line,
            phase,
            query,
            answer,
            time.time_ns(),
            duration_ns,
            decision_id,
            for_decision_id,
            request_id,
            revision,
            self._arguments,
            self._mask,
            caller,
            trace_id,
            span_id,
        )
        self._write(made, size, remaining)
        if scope is not None:
            envelope = query.envelope if query is not None else None
            scope.decide(_told("intercept", decision_id, answer.denial, envelope, revision), _asked(answer.outcomes))
        return decision_id

    def difference(self, difference: Difference) -> None:
        """A call that a candidate bundle answers in another way."""
        line = difference_line(difference, time_ns=time.time_ns(), arguments=self._arguments, mask=self._mask)
        self._sink.write(line)

    def _write(self, made: Callable[[], str], size: int, remaining: Remaining | None) -> None:
        # A line waits for its thread with the whole question, so for a large one it is made now.
        self._sink.write(made if size <= _MAX_WAITING_BYTES else made(), remaining)


def _trace(scope: CallScope | None) -> tuple[str, str]:
    """The ids of the call's trace and of its span, as far as there are such."""
    if scope is None or (scope.span is None and scope.parent is None):
        return "", ""
    found = trace_ids(scope)
    return found["trace_id"], found.get("span_id", "")


def _told(kind: str, decision_id: str, denial: Denial | None, asked: Query | Envelope | None, revision: str) -> Decided:
    """What the call's scope is told of a decision."""
    code = _code(denial)
    subject = None if asked is None else asked.subject if isinstance(asked, Envelope) else asked.principal
    server, tool = ("", "") if asked is None or isinstance(asked, ActionQuery) else (asked.server, asked.tool)
    return Decided(kind, decision_id, denial is None, code, revision, server, tool, subject)


def _code(denial: Denial | None) -> str:
    return denial.code.value if denial is not None else ""


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
