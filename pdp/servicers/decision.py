"""`pdp.v1.DecisionService`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import grpc
from google.rpc import code_pb2

from pdp import wire
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.store import SnapshotStore
from pdp.cedar.model import Authorization, Denial, DenialCode, Query
from pdp.config import DecisionLogConfig, LimitsConfig
from pdp.decide import Decided, DecideQuery, asked_query, decide
from pdp.decision_log.record import decision_line, interception_line
from pdp.decision_log.sinks import DecisionSink
from pdp.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    InvalidTokenError,
    NotImplementedYetError,
    OverLimitError,
)
from pdp.sandbox.chain import ChainQuery, intercept
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception

#: Questions of a batch answered between two looks at the deadline.
_BATCH_STEP = 100

#: Requests up to this size are kept until their decision line is written.
_MAX_WAITING_BYTES = 8_192

#: How long a chain may take for a caller without a deadline; each interceptor has a time of its own besides.
_LONGEST_SECONDS = 600.0

_NOBODY = Denial(DenialCode.INVALID_TOKEN, "the token does not establish who is asking")


class DecisionServicer:
    """Answers with the snapshot in force when the call came in; writes one line for each decision."""

    def __init__(
        self,
        store: SnapshotStore,
        sink: DecisionSink,
        ids: Callable[[], str],
        log: DecisionLogConfig,
        limits: LimitsConfig,
    ) -> None:
        self._store = store
        self._sink = sink
        self._ids = ids
        self._arguments = log.arguments
        self._limits = limits

    def Authorize(self, request: pb.AuthorizeRequest, context: grpc.ServicerContext) -> pb.AuthorizeResponse:
        """One question."""
        started = time.perf_counter_ns()
        _require_time(context)
        snapshot = self._store.current()
        query = _read(request)
        answer = query if isinstance(query, Authorization) else snapshot.authorizer.authorize(query)
        response = pb.AuthorizeResponse()
        self._answer(request, query, answer, snapshot, time.perf_counter_ns() - started, response)
        return response

    def AuthorizeBatch(
        self, request: pb.AuthorizeBatchRequest, context: grpc.ServicerContext
    ) -> pb.AuthorizeBatchResponse:
        """Many questions to one snapshot; a malformed one leaves the others alone."""
        if len(request.requests) > self._limits.batch_requests:
            raise OverLimitError(f"`requests` holds {len(request.requests)}; at most {self._limits.batch_requests}")
        snapshot = self._store.current()
        remaining = iter(request.requests)
        response = pb.AuthorizeBatchResponse()
        while step := list(islice(remaining, _BATCH_STEP)):
            _require_time(context)
            self._answer_step(step, snapshot, response)
        return response

    def Intercept(self, request: pb.InterceptRequest, context: grpc.ServicerContext) -> pb.InterceptResponse:
        """One payload through the interceptor chain."""
        started = time.perf_counter_ns()
        _require_time(context)
        snapshot = self._store.current()
        phase = wire.read_phase(request.phase)
        query = _read_intercept(request)
        answer = query if isinstance(query, Interception) else intercept(snapshot.chain, query, _deadline_ns(context))
        duration_ns = time.perf_counter_ns() - started
        decision_id = self._record_interception(request, phase, query, answer, snapshot, duration_ns)
        return wire.write_interception(answer, phase, decision_id, snapshot.revision)

    def Decide(self, request: pb.DecideRequest, context: grpc.ServicerContext) -> pb.DecideResponse:
        """Both layers on one tool call."""
        started = time.perf_counter_ns()
        _require_time(context)
        snapshot = self._store.current()
        query = _read_decide(request)
        if isinstance(query, Decided):
            decided = query
        else:
            decided = decide(snapshot.authorizer, snapshot.chain, query, _deadline_ns(context))
        decision_id = self._record_decision(request, query, decided, snapshot, time.perf_counter_ns() - started)
        return wire.write_decision(decided, decision_id, snapshot.revision)

    def FilterTools(self, request: pb.FilterToolsRequest, context: grpc.ServicerContext) -> pb.FilterToolsResponse:
        """Not answered by this version."""
        raise NotImplementedYetError("FilterTools is not implemented by this version")

    def _answer_step(
        self, requests: Sequence[pb.AuthorizeRequest], snapshot: Snapshot, response: pb.AuthorizeBatchResponse
    ) -> None:
        """Answer a part of a batch into `response`."""
        started = time.perf_counter_ns()
        read = [_read_or_error(request) for request in requests]
        queries = [query for query in read if isinstance(query, tuple)]
        answers = iter(snapshot.authorizer.authorize_batch(queries))
        # The questions of a step are answered together, so each gets its share of the time.
        share = (time.perf_counter_ns() - started) // len(requests)
        for request, query in zip(requests, read, strict=True):
            answer = next(answers) if isinstance(query, tuple) else query
            result = response.results.add()
            if isinstance(answer, InvalidRequestError):
                result.error.MergeFrom(_batch_error(answer))
            else:
                question = query if isinstance(query, tuple) else answer
                self._answer(request, question, answer, snapshot, share, result.response)

    def _record_interception(
        self,
        request: pb.InterceptRequest,
        phase: Phase,
        query: ChainQuery | Interception,
        answer: Interception,
        snapshot: Snapshot,
        duration_ns: int,
    ) -> str:
        """Record what became of a payload; the id of the record."""
        decision_id = self._ids()
        line = partial(
            interception_line,
            phase,
            query if isinstance(query, ChainQuery) else None,
            answer,
            time_ns=time.time_ns(),
            duration_ns=duration_ns,
            decision_id=decision_id,
            for_decision_id=request.decision_id,
            request_id=request.request_id,
            revision=snapshot.revision,
            arguments=self._arguments,
        )
        self._sink.write(line if request.ByteSize() <= _MAX_WAITING_BYTES else line())
        return decision_id

    def _record_decision(
        self,
        request: pb.DecideRequest,
        query: DecideQuery | Decided,
        decided: Decided,
        snapshot: Snapshot,
        duration_ns: int,
    ) -> str:
        """Record a decision of both layers; the id of the record."""
        decision_id = self._ids()
        line = partial(
            decision_line,
            # What the agent asked for; what was authorized in its place is the interceptors' doing, and theirs to log.
            asked_query(query) if isinstance(query, DecideQuery) else None,
            decided.authorization,
            time_ns=time.time_ns(),
            duration_ns=duration_ns,
            decision_id=decision_id,
            request_id=request.request_id,
            revision=snapshot.revision,
            arguments=self._arguments,
            interception=decided.interception,
        )
        self._sink.write(line if request.ByteSize() <= _MAX_WAITING_BYTES else line())
        return decision_id

    def _answer(
        self,
        request: pb.AuthorizeRequest,
        query: Query | Authorization,
        answer: Authorization,
        snapshot: Snapshot,
        duration_ns: int,
        response: pb.AuthorizeResponse,
    ) -> None:
        """Record the decision, then write the answer into `response`."""
        decision_id = self._ids()
        line = partial(
            decision_line,
            query if isinstance(query, tuple) else None,
            answer,
            time_ns=time.time_ns(),
            duration_ns=duration_ns,
            decision_id=decision_id,
            request_id=request.request_id,
            revision=snapshot.revision,
            arguments=self._arguments,
        )
        # A line waits for its thread with the whole question, so for a large one it is made now.
        self._sink.write(line if request.ByteSize() <= _MAX_WAITING_BYTES else line())
        wire.write_authorization(answer, decision_id, snapshot.revision, response)


def _read(request: pb.AuthorizeRequest) -> Query | Authorization:
    """The question; or the denial, where the agent's token establishes nobody who could ask."""
    try:
        return wire.read_authorize(request)
    except InvalidTokenError:
        return Authorization(False, _NOBODY)


def _read_intercept(request: pb.InterceptRequest) -> ChainQuery | Interception:
    try:
        return wire.read_intercept(request)
    except InvalidTokenError:
        return Interception(b"", False, (), _NOBODY)


def _read_decide(request: pb.DecideRequest) -> DecideQuery | Decided:
    try:
        return wire.read_decide(request)
    except InvalidTokenError:
        return Decided(Authorization(False, _NOBODY), Interception(b"", False, ()))


def _deadline_ns(context: grpc.ServicerContext) -> int:
    """Until when the caller waits, as a time of `time.monotonic_ns`."""
    remaining: float | None = context.time_remaining()
    seconds = _LONGEST_SECONDS if remaining is None else min(remaining, _LONGEST_SECONDS)
    return time.monotonic_ns() + int(seconds * 1e9)


def _read_or_error(request: pb.AuthorizeRequest) -> Query | Authorization | InvalidRequestError:
    try:
        return _read(request)
    except InvalidRequestError as error:
        return error


def _batch_error(error: InvalidRequestError) -> pb.BatchError:
    return pb.BatchError(code=code_pb2.INVALID_ARGUMENT, message=error.message, reason=error.reason, field=error.field)


def _require_time(context: grpc.ServicerContext) -> None:
    """Work for a caller that no longer waits is not done."""
    if context.time_remaining() == 0:
        raise DeadlineExceededError("the deadline passed before the call was answered")
