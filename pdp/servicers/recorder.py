"""Writes what was decided into the decision log, under a name that the answer gives back."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pdp.candidate import Difference
from pdp.cedar.model import Authorization, Query
from pdp.decision_log.masking import Masking
from pdp.decision_log.record import ArgumentsPolicy, decision_line, difference_line, interception_line
from pdp.decision_log.sinks import DecisionSink, Remaining
from pdp.sandbox.chain import ChainQuery
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception

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
        return self._write(partial(decision_line, query, answer, interception=interception, **facts), size, remaining)

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
        return self._write(partial(interception_line, phase, query, answer, **facts), size, remaining)

    def difference(self, difference: Difference) -> None:
        """A call that a candidate bundle answers in another way."""
        self._sink.write(difference_line(difference, time_ns=time.time_ns(), **self._shown))

    def _write(self, line: Callable[..., str], size: int, remaining: Remaining | None) -> str:
        decision_id = self._ids()
        made = partial(line, time_ns=time.time_ns(), decision_id=decision_id, **self._shown)
        # A line waits for its thread with the whole question, so for a large one it is made now.
        self._sink.write(made if size <= _MAX_WAITING_BYTES else made(), remaining)
        return decision_id
