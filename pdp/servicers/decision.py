"""`pdp.v1.DecisionService`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import structlog
from google.rpc import code_pb2

from pdp import wire
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.store import SnapshotStore
from pdp.call import Call
from pdp.candidate import Answered, Candidate
from pdp.cedar.authorize import NO_SUBJECT
from pdp.cedar.model import Authorization, Denial, DenialCode, Query, ToolQuery
from pdp.decide import Decided, DecideQuery, asked_query, authorized, decide
from pdp.errors import (
    DeadlineExceededError,
    InvalidArgumentsError,
    InvalidRequestError,
    InvalidTokenError,
    OverLimitError,
)
from pdp.identity.caller_config import CallersConfig
from pdp.identity.rates import CallerRates
from pdp.limits_config import LimitsConfig
from pdp.live_definitions import LiveDefinitions
from pdp.sandbox.chain import ChainQuery, intercept
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception
from pdp.servicers.recorder import Recorder
from pdp.shadow import authorization_in_shadow, decision_in_shadow, interception_in_shadow
from pdp.telemetry.scope import current, layer

#: Questions of a batch answered between two looks at the deadline.
_BATCH_STEP = 100

#: How long a chain may take for a caller without a deadline; each interceptor has a time of its own besides.
_LONGEST_SECONDS = 600.0

_log = structlog.get_logger("pdp.identity")


_Q = TypeVar("_Q")


class _Asked(NamedTuple, Generic[_Q]):
    """A question. `query` is None where nobody is there who could ask; `denial` says why no policy is asked."""

    query: _Q | None
    denial: Denial | None = None

    @property
    def established(self) -> _Q:
        """The question, where there is one."""
        assert self.query is not None, "a question without a subject is denied before"
        return self.query


class DecisionServicer:
    """Answers with the snapshot in force when the call came in; writes one line for each decision."""

    def __init__(
        self,
        store: SnapshotStore,
        recorder: Recorder,
        limits: LimitsConfig,
        live: LiveDefinitions,
        candidate: Candidate | None = None,
        verify: wire.Verify = wire.refuse_tokens,
        rates: CallerRates | None = None,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._limits = limits
        self._live = live
        self._candidate = candidate
        self._verify = verify
        #: How often callers may ask; counts those who ask more often.
        self.rates = rates or CallerRates(CallersConfig())

    def Authorize(self, request: pb.AuthorizeRequest, call: Call) -> pb.AuthorizeResponse:
        """One question."""
        started = time.perf_counter_ns()
        self._admit(call, request.tool_call.server)
        snapshot = self._store.current()
        asked = self._read(request, snapshot)
        answer = _settled(_denied(asked) or authorized(snapshot.authorizer, asked.established), snapshot)
        response = pb.AuthorizeResponse()
        self._answer(request, call, asked, answer, snapshot, time.perf_counter_ns() - started, response)
        return response

    def AuthorizeBatch(self, request: pb.AuthorizeBatchRequest, call: Call) -> pb.AuthorizeBatchResponse:
        """Many questions to one snapshot; a malformed one leaves the others alone."""
        self._admit_batch(call, request.requests)
        snapshot = self._store.current()
        remaining = iter(request.requests)
        response = pb.AuthorizeBatchResponse()
        while step := list(islice(remaining, _BATCH_STEP)):
            _require_time(call)
            self._answer_step(step, call, snapshot, response)
        return response

    def Intercept(self, request: pb.InterceptRequest, call: Call) -> pb.InterceptResponse:
        """One payload through the interceptor chain."""
        started = time.perf_counter_ns()
        self._admit(call, request.tool_call.server)
        snapshot = self._store.current()
        phase = wire.read_phase(request.phase)
        query = self._read_intercept(request)
        answer = _intercepted(query, snapshot, request, _deadline_ns(call))
        duration_ns = time.perf_counter_ns() - started
        decision_id = self._record_interception(request, call, phase, query, answer, snapshot, duration_ns)
        return wire.write_interception(answer, phase, decision_id, snapshot.revision)

    def Decide(self, request: pb.DecideRequest, call: Call) -> pb.DecideResponse:
        """Both layers on one tool call."""
        started = time.perf_counter_ns()
        self._admit(call, request.tool_call.server)
        snapshot = self._store.current()
        asked = self._read_decide(request, snapshot)
        decided = _decided(asked, snapshot, request, _deadline_ns(call))
        duration_ns = time.perf_counter_ns() - started
        decision_id = self._record_decision(request, call, asked.query, decided, snapshot, duration_ns)
        return wire.write_decision(decided, decision_id, snapshot.revision)

    def FilterTools(self, request: pb.FilterToolsRequest, call: Call) -> pb.FilterToolsResponse:
        """Which tools of a list the subject could ever call."""
        self._admit(call, request.server)
        if len(request.tools) > self._limits.listed_tools:
            raise OverLimitError(f"`tools` holds {len(request.tools)}; at most {self._limits.listed_tools}")
        snapshot = self._store.current()
        names = [tool.name for tool in request.tools]
        denials = self._filtered(request, names, snapshot)
        return wire.write_filtered(names, denials, snapshot.revision)

    def _admit(self, call: Call, server: str) -> None:
        """Raise what stands against working for this caller on a question about `server`."""
        _require_time(call)
        call.caller.require_server(server)
        self.rates.take(call.caller.name, 1)

    def _admit_batch(self, call: Call, requests: Sequence[pb.AuthorizeRequest]) -> None:
        """Raise what stands against working for this caller on these questions."""
        if len(requests) > self._limits.batch_requests:
            raise OverLimitError(f"`requests` holds {len(requests)}; at most {self._limits.batch_requests}")
        if call.caller.servers is not None:
            for question in requests:
                call.caller.require_server(question.tool_call.server)
        self.rates.take(call.caller.name, len(requests))

    def _oversized(self, arguments: bytes) -> Denial | None:
        """The denial of arguments that are not even read."""
        most = self._limits.argument_bytes
        if len(arguments) <= most:
            return None
        error = InvalidArgumentsError("", f"is {len(arguments)} bytes long; at most {most} are read")
        return Denial(DenialCode.INVALID_ARGUMENTS, str(error))

    def _filtered(
        self, request: pb.FilterToolsRequest, names: Sequence[str], snapshot: Snapshot
    ) -> Mapping[str, Denial | None]:
        """Why tools are hidden, None for those that are not."""
        try:
            subject = wire.read_filter(request, self._verify)
            entities = snapshot.authorizer.subject_store(subject.facts)
        except InvalidTokenError as error:
            found: Mapping[str, Denial | None] = dict.fromkeys(names, _nobody(error))
        else:
            denials = snapshot.tool_filter.filter(subject, request.server, names, request.context_json, entities)
            changed = self._live.check(snapshot.authorizer.model.tools, request.server, wire.listed(request))
            found = {**denials, **changed}
        return dict.fromkeys(names) if snapshot.in_shadow else found

    def _answer_step(
        self,
        requests: Sequence[pb.AuthorizeRequest],
        call: Call,
        snapshot: Snapshot,
        response: pb.AuthorizeBatchResponse,
    ) -> None:
        """Answer a part of a batch into `response`."""
        started = time.perf_counter_ns()
        read = [self._read_or_error(request, snapshot) for request in requests]
        open_queries = [asked.established for asked in read if isinstance(asked, _Asked) and asked.denial is None]
        answers = iter(snapshot.authorizer.authorize_batch(open_queries))
        # The questions of a step are answered together, so each gets its share of the time.
        share = (time.perf_counter_ns() - started) // len(requests)
        answered: list[tuple[Query | None, Authorization, str]] = []
        responses: list[pb.AuthorizeResponse] = []
        for request, asked in zip(requests, read, strict=True):
            result = response.results.add()
            if isinstance(asked, InvalidRequestError):
                result.error.MergeFrom(_batch_error(asked))
                continue
            answer = _denied(asked) or next(answers)
            if isinstance(answer, InvalidRequestError):
                result.error.MergeFrom(_batch_error(answer))
            else:
                answered.append((asked.query, _settled(answer, snapshot), request.request_id))
                responses.append(result.response)
        self._record_step(answered, call, snapshot, share, responses)

    def _record_step(
        self,
        answered: Sequence[tuple[Query | None, Authorization, str]],
        call: Call,
        snapshot: Snapshot,
        duration_ns: int,
        responses: Sequence[pb.AuthorizeResponse],
    ) -> None:
        """Record the decisions, then write the answers."""
        ids = self._recorder.decisions(
            answered, duration_ns, snapshot.revision, caller=call.caller.name, remaining=call.time_remaining
        )
        revision = snapshot.revision
        for (query, answer, _), decision_id, response in zip(answered, ids, responses, strict=True):
            self._compare(query, answer, decision_id, snapshot)
            wire.write_authorization(answer, decision_id, revision, response)

    def _read(self, request: pb.AuthorizeRequest, snapshot: Snapshot) -> _Asked[Query]:
        """The question, or why it is denied without asking any policy."""
        authorizer = snapshot.authorizer
        try:
            query = wire.read_authorize(request, self._verify)
            if query.subject_facts:
                authorizer.subject_store(query.subject_facts)
        except InvalidTokenError as error:
            return _Asked(None, _nobody(error))
        if not isinstance(query, ToolQuery):
            return _Asked(query)
        changed = self._live.denial(authorizer.model.tools, query.server, query.tool)
        return _Asked(query, self._oversized(query.arguments) or changed)

    def _read_or_error(self, request: pb.AuthorizeRequest, snapshot: Snapshot) -> _Asked[Query] | InvalidRequestError:
        try:
            return self._read(request, snapshot)
        except InvalidRequestError as error:
            return error

    def _read_decide(self, request: pb.DecideRequest, snapshot: Snapshot) -> _Asked[DecideQuery]:
        try:
            query = wire.read_decide(request, self._verify)
            snapshot.authorizer.subject_store(query.subject_facts)
        except InvalidTokenError as error:
            return _Asked(None, _nobody(error))
        tools, envelope = snapshot.authorizer.model.tools, query.envelope
        if request.HasField("definition_json"):
            self._live.report(tools, envelope.server, [(envelope.tool, request.definition_json)])
        changed = self._live.denial(tools, envelope.server, envelope.tool)
        return _Asked(query, self._oversized(query.arguments) or changed)

    def _read_intercept(self, request: pb.InterceptRequest) -> ChainQuery | Interception:
        try:
            query = wire.read_intercept(request, self._verify)
        except InvalidTokenError as error:
            return Interception(b"", False, (), _nobody(error))
        oversized = self._oversized(query.payload.arguments)
        return query if oversized is None else Interception(b"", False, (), oversized)

    def _record_interception(
        self,
        request: pb.InterceptRequest,
        call: Call,
        phase: Phase,
        query: ChainQuery | Interception,
        answer: Interception,
        snapshot: Snapshot,
        duration_ns: int,
    ) -> str:
        return self._recorder.interception(
            phase,
            query if isinstance(query, ChainQuery) else None,
            answer,
            size=request.ByteSize(),
            remaining=call.time_remaining,
            duration_ns=duration_ns,
            for_decision_id=request.decision_id,
            request_id=request.request_id,
            caller=call.caller.name,
            revision=snapshot.revision,
        )

    def _record_decision(
        self,
        request: pb.DecideRequest,
        call: Call,
        query: DecideQuery | None,
        decided: Decided,
        snapshot: Snapshot,
        duration_ns: int,
    ) -> str:
        decision_id = self._recorder.decision(
            # What the agent asked for; what was authorized in its place is in the interceptors' part.
            asked_query(query) if query is not None else None,
            decided.authorization,
            size=request.ByteSize(),
            remaining=call.time_remaining,
            interception=decided.interception,
            duration_ns=duration_ns,
            request_id=request.request_id,
            caller=call.caller.name,
            revision=snapshot.revision,
        )
        self._compare(query, decided, decision_id, snapshot)
        return decision_id

    def _compare(
        self, query: Query | DecideQuery | None, answer: Authorization | Decided, decision_id: str, snapshot: Snapshot
    ) -> None:
        """Let the candidate bundle, if there is one, answer the same."""
        if self._candidate is not None and query is not None:
            self._candidate.offer(Answered(query, answer, decision_id, snapshot.revision))

    def _answer(
        self,
        request: pb.AuthorizeRequest,
        call: Call,
        asked: _Asked[Query],
        answer: Authorization,
        snapshot: Snapshot,
        duration_ns: int,
        response: pb.AuthorizeResponse,
    ) -> None:
        """Record the decision, then write the answer into `response`."""
        decision_id = self._recorder.decision(
            asked.query,
            answer,
            size=request.ByteSize(),
            remaining=call.time_remaining,
            duration_ns=duration_ns,
            request_id=request.request_id,
            caller=call.caller.name,
            revision=snapshot.revision,
        )
        self._compare(asked.query, answer, decision_id, snapshot)
        wire.write_authorization(answer, decision_id, snapshot.revision, response)


def _denied(asked: _Asked[Query]) -> Authorization | None:
    return None if asked.denial is None else Authorization(False, asked.denial)


def _settled(answer: Authorization, snapshot: Snapshot) -> Authorization:
    """The answer as it goes out; what shadow policies say is counted."""
    snapshot.flips.add(answer.shadow)
    return authorization_in_shadow(answer) if snapshot.in_shadow else answer


def _decided(asked: _Asked[DecideQuery], snapshot: Snapshot, request: pb.DecideRequest, deadline_ns: int) -> Decided:
    """The answer of both layers as it goes out."""
    if asked.denial is not None:
        decided = Decided(Authorization(False, asked.denial), Interception(b"", False, ()))
    else:
        decided = decide(snapshot.authorizer, snapshot.chain, asked.established, deadline_ns)
    snapshot.flips.add(decided.authorization.shadow)
    return decision_in_shadow(decided, request.tool_call.arguments_json) if snapshot.in_shadow else decided


def _intercepted(
    query: ChainQuery | Interception, snapshot: Snapshot, request: pb.InterceptRequest, deadline_ns: int
) -> Interception:
    """What the chain made of a payload as it goes out."""
    began_ns = time.perf_counter_ns()
    answer = query if isinstance(query, Interception) else intercept(snapshot.chain, query, deadline_ns)
    layer("interceptors", began_ns, time.perf_counter_ns())
    if not snapshot.in_shadow:
        return answer
    return interception_in_shadow(answer, request.result_json or request.tool_call.arguments_json)


def _nobody(error: InvalidTokenError) -> Denial:
    """The denial of a token's subject; why it is denied is for the log only."""
    scope = current()
    if scope is not None:
        scope.metrics.tokens_refused.add()
    _log.warning("token refused", cause=str(error))
    return NO_SUBJECT


def _deadline_ns(call: Call) -> int:
    """Until when the caller waits, as a time of `time.monotonic_ns`."""
    remaining: float | None = call.time_remaining()
    seconds = _LONGEST_SECONDS if remaining is None else min(remaining, _LONGEST_SECONDS)
    return time.monotonic_ns() + int(seconds * 1e9)


def _batch_error(error: InvalidRequestError) -> pb.BatchError:
    return pb.BatchError(code=code_pb2.INVALID_ARGUMENT, message=error.message, reason=error.reason, field=error.field)


def _require_time(call: Call) -> None:
    """Work for a caller that no longer waits is not done."""
    if call.time_remaining() == 0:
        raise DeadlineExceededError("the deadline passed before the call was answered")
