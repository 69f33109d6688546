"""Protobuf to the words of the core and back. Requests are read strictly: what is malformed names its field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2, interceptor_pb2
from pdp.cedar.cache import BoundedCache
from pdp.cedar.model import (
    ActionQuery,
    Authorization,
    Denial,
    DeterminingPolicy,
    EntityUid,
    PolicyError,
    Query,
    ShadowReport,
    Subject,
    ToolQuery,
)
from pdp.cedar.questions import require_acted_for, require_type
from pdp.cedar.strict_json import JsonError, parse_object, parse_value
from pdp.decide import Decided, DecideQuery
from pdp.errors import InvalidRequestError, InvalidTokenError
from pdp.sandbox.chain import ChainQuery, Payload
from pdp.sandbox.model import ErrorClass, Phase
from pdp.sandbox.outcome import Interception, Outcome
from pdp.sandbox.reply import PAYLOAD_LIMITS, Envelope, stated_json

#: Ids that are only carried along; longer ones are a mistake, and would be copied into every log line.
_MAX_ID_LENGTH = 256

_DENIAL_CODES = decision_pb2.DenialCode.DESCRIPTOR.values_by_name
_PHASES: dict[int, Phase] = {
    interceptor_pb2.PHASE_REQUEST: "request",
    interceptor_pb2.PHASE_RESPONSE: "response",
}
PHASE_NUMBERS = {phase: interceptor_pb2.Phase.ValueType(number) for number, phase in _PHASES.items()}
_VERDICTS = {
    "pass": interceptor_pb2.VERDICT_PASS,
    "transform": interceptor_pb2.VERDICT_TRANSFORM,
    "deny": interceptor_pb2.VERDICT_DENY,
    "failed": interceptor_pb2.VERDICT_FAILED,
}
_ERROR_CLASSES = interceptor_pb2.ErrorClass.DESCRIPTOR.values_by_name
_EFFECTS = {"permit": decision_pb2.EFFECT_PERMIT, "forbid": decision_pb2.EFFECT_FORBID}


#: Makes a subject of a token, or raises InvalidTokenError.
Verify = Callable[[str], Subject]


def refuse_tokens(token: str) -> Subject:
    """Where no issuer is configured, no token establishes anybody."""
    raise InvalidTokenError("no token issuer is configured")


def read_authorize(request: decision_service_pb2.AuthorizeRequest, verify: Verify = refuse_tokens) -> Query:
    """The question in an AuthorizeRequest.

    Raises InvalidRequestError for what the caller got wrong, InvalidTokenError for a subject that is not established.
    """
    if request.request_id:
        require_id(request.request_id, "request_id")
    target = request.WhichOneof("target")
    if target is None:
        raise InvalidRequestError("target", "give `action_on_resource` or `tool_call`", "MISSING_FIELD")
    subject = read_subject(request.subject, verify)
    if target == "tool_call":
        call = read_tool_call(request.tool_call)
        return ToolQuery(
            subject.principal,
            call.server,
            call.tool,
            call.arguments_json,
            call.session_id,
            request.context_json,
            request.entities_json,
            "",
            subject.on_behalf_of,
            subject.facts,
        )
    asked = request.action_on_resource
    return ActionQuery(
        subject.principal,
        read_uid(asked.action, "action_on_resource.action"),
        read_uid(asked.resource, "action_on_resource.resource"),
        request.context_json,
        request.entities_json,
        subject.on_behalf_of,
        subject.facts,
    )


def read_intercept(request: decision_service_pb2.InterceptRequest, verify: Verify = refuse_tokens) -> ChainQuery:
    """The question in an InterceptRequest; raises as `read_authorize` does."""
    phase = read_phase(request.phase)
    require_id(request.request_id, "request_id")
    require_id(request.decision_id, "decision_id")
    call = read_tool_call(request.tool_call)
    result = _read_result(request, phase)
    subject = read_subject(request.subject, verify)
    # No policy is asked, which would see to it.
    require_type(subject.principal, "subject.entity.type")
    if subject.on_behalf_of is not None:
        require_acted_for(subject.on_behalf_of, None)
    context = request.context_json or b"{}"
    _require_json(context, "context_json", an_object=True)
    envelope = _envelope(subject, call, request.request_id, context)
    return ChainQuery(phase, envelope, Payload(call.arguments_json, result, request.result_is_error))


def _envelope(subject: Subject, call: decision_pb2.ToolCall, request_id: str, context: bytes) -> Envelope:
    return Envelope(
        subject.principal, call.server, call.tool, call.session_id, request_id, context, subject.on_behalf_of
    )


def read_decide(request: decision_service_pb2.DecideRequest, verify: Verify = refuse_tokens) -> DecideQuery:
    """The question in a DecideRequest; raises as `read_authorize` does."""
    require_id(request.request_id, "request_id")
    call = read_tool_call(request.tool_call)
    subject = read_subject(request.subject, verify)
    context = request.context_json
    if context:
        _require_json(context, "context_json", an_object=True)
    envelope = _envelope(subject, call, request.request_id, context or b"{}")
    return DecideQuery(envelope, call.arguments_json, context, request.entities_json, subject.facts)


def read_filter(request: decision_service_pb2.FilterToolsRequest, verify: Verify = refuse_tokens) -> Subject:
    """Who asks in a FilterToolsRequest, which is well-formed; raises as `read_authorize` does."""
    require(request.server, "server")
    for number, tool in enumerate(request.tools):
        if not tool.name:
            require(tool.name, f"tools[{number}].name")
    return read_subject(request.subject, verify)


def listed(request: decision_service_pb2.FilterToolsRequest) -> list[tuple[str, bytes | None]]:
    """The tools of a list: their names, and their definitions where they came."""
    return [(tool.name, tool.definition_json if tool.HasField("definition_json") else None) for tool in request.tools]


def read_phase(phase: interceptor_pb2.Phase.ValueType) -> Phase:
    """The phase, which has to be given."""
    known = _PHASES.get(phase)
    if known is None:
        raise InvalidRequestError("phase", "give `PHASE_REQUEST` or `PHASE_RESPONSE`", "MISSING_FIELD")
    return known


def _read_result(request: decision_service_pb2.InterceptRequest, phase: Phase) -> bytes | None:
    if phase == "request":
        for field in ("result_json", "result_is_error"):
            if getattr(request, field):
                raise InvalidRequestError(field, f"`{field}` goes with `PHASE_RESPONSE` only", "UNEXPECTED_FIELD")
        return None
    if not request.result_json:
        raise InvalidRequestError("result_json", "`result_json` is missing", "MISSING_FIELD")
    _require_json(request.result_json, "result_json")
    return request.result_json


def read_tool_call(call: decision_pb2.ToolCall) -> decision_pb2.ToolCall:
    """The call, its names given and its ids not overlong."""
    if not (call.server and call.tool):
        require(call.server, "tool_call.server")
        require(call.tool, "tool_call.tool")
    if call.session_id:
        require_id(call.session_id, "tool_call.session_id")
    return call


def _require_json(document: bytes, field: str, *, an_object: bool = False) -> None:
    try:
        (parse_object if an_object else parse_value)(document, PAYLOAD_LIMITS)
    except JsonError as error:
        raise InvalidRequestError(field, f"`{field}`: {error}", "INVALID_JSON") from None


def read_subject(subject: decision_pb2.Subject, verify: Verify = refuse_tokens) -> Subject:
    """Who asks."""
    kind = subject.WhichOneof("subject")
    if kind is None:
        raise InvalidRequestError("subject", "give `entity` or `token`", "MISSING_FIELD")
    acting = subject.HasField("on_behalf_of")
    if kind == "token":
        if acting:
            message = "a token says itself whom its subject acts for"
            raise InvalidRequestError("subject.on_behalf_of", message, "UNEXPECTED_FIELD")
        return verify(subject.token)
    on_behalf_of = read_uid(subject.on_behalf_of, "subject.on_behalf_of") if acting else None
    return Subject(read_uid(subject.entity, "subject.entity"), on_behalf_of)


def read_uid(uid: decision_pb2.EntityUid, field: str) -> EntityUid:
    """A uid, both parts given: an empty id is more often a lost identity than a name."""
    kind, name = uid.type, uid.id
    if not (kind and name):
        require(kind, f"{field}.type")
        require(name, f"{field}.id")
    return EntityUid(kind, name)


def require(value: str, field: str) -> None:
    """Raise InvalidRequestError unless `value` is given."""
    if not value:
        raise InvalidRequestError(field, f"`{field}` is missing", "MISSING_FIELD")


def require_id(value: str, field: str) -> None:
    """Raise InvalidRequestError if an id that is only carried along is overlong."""
    if len(value) > _MAX_ID_LENGTH:
        raise InvalidRequestError(field, f"`{field}` is longer than {_MAX_ID_LENGTH} characters", "TOO_LONG")


#: Responses without what is particular to one call, serialized, by the identity of the answer; the answer is kept
#: beside its revision and its response, so an identity is not used again while it is a key here. The size counts
#: answers and policies they name.
_responses: BoundedCache[int, tuple[Authorization, str, bytes]] = BoundedCache(4_096)


def write_authorization(
    answer: Authorization, decision_id: str, revision: str, response: decision_service_pb2.AuthorizeResponse
) -> None:
    """Write an answer into an empty `response`.

    The core gives equal answers as one object, so most have been written before.
    """
    known = _responses.get(id(answer))
    if known is None or known[0] is not answer or known[1] != revision:
        known = (answer, revision, _response(answer, revision).SerializeToString())
        # Errors can quote arguments of any length.
        if not answer.errors:
            _responses.put(id(answer), known, 1 + len(answer.determining))
    response.MergeFromString(known[2])
    response.decision_id = decision_id


def _response(answer: Authorization, revision: str) -> decision_service_pb2.AuthorizeResponse:
    return decision_service_pb2.AuthorizeResponse(
        decision=_decision(answer.allowed),
        denial=write_denial(answer.denial) if answer.denial else None,
        determining_policies=map(_determining, answer.determining),
        policy_errors=map(_policy_error, answer.errors),
        shadow=_shadow(answer.shadow) if answer.shadow else None,
        revision=revision,
    )


def write_denial(denial: Denial) -> decision_pb2.Denial:
    """The denial with the API's code for it."""
    number = _DENIAL_CODES[f"DENIAL_CODE_{denial.code.value}"].number
    return decision_pb2.Denial(code=decision_pb2.DenialCode.ValueType(number), message=denial.message)


def _determining(policy: DeterminingPolicy) -> decision_pb2.DeterminingPolicy:
    return decision_pb2.DeterminingPolicy(
        policy_id=policy.policy_id, effect=_EFFECTS[policy.effect], annotations=policy.annotations
    )


def _policy_error(error: PolicyError) -> decision_pb2.PolicyError:
    return decision_pb2.PolicyError(policy_id=error.policy_id, message=error.message)


def _decision(allowed: bool) -> decision_pb2.Decision.ValueType:
    return decision_pb2.DECISION_ALLOW if allowed else decision_pb2.DECISION_DENY


def _shadow(report: ShadowReport) -> decision_pb2.ShadowReport:
    return decision_pb2.ShadowReport(
        would_be_decision=_decision(report.would_allow),
        flipping_policies=report.flipping,
        matched_policies=report.matched,
        would_be_denial=write_denial(report.would_be_denial) if report.would_be_denial else None,
    )


def write_interception(
    answer: Interception, phase: Phase, decision_id: str, revision: str
) -> decision_service_pb2.InterceptResponse:
    """The answer of a chain, with the payload exactly when it may go on."""
    response = decision_service_pb2.InterceptResponse(
        decision=_decision(answer.denial is None),
        denial=write_denial(answer.denial) if answer.denial else None,
        interceptors=[write_outcome(outcome) for outcome in answer.outcomes],
        decision_id=decision_id,
        revision=revision,
    )
    if answer.denial is None:
        response.mutated = answer.mutated
        if phase == "request":
            response.arguments_json = answer.payload
        else:
            response.result_json = answer.payload
    return response


def write_decision(decided: Decided, decision_id: str, revision: str) -> decision_service_pb2.DecideResponse:
    """The answer of both layers, with the arguments exactly when the tool may be called."""
    answer, interception = decided.authorization, decided.interception
    response = decision_service_pb2.DecideResponse(
        decision=_decision(answer.allowed),
        denial=write_denial(answer.denial) if answer.denial else None,
        determining_policies=map(_determining, answer.determining),
        policy_errors=map(_policy_error, answer.errors),
        shadow=_shadow(answer.shadow) if answer.shadow else None,
        decision_id=decision_id,
        revision=revision,
        interceptors=map(write_outcome, interception.outcomes),
    )
    if answer.shadow is not None:
        shadows = (outcome for outcome in interception.outcomes if outcome.shadow)
        response.shadow.interceptors.extend(map(write_outcome, shadows))
    if answer.allowed:
        response.mutated = interception.mutated
        response.arguments_json = interception.payload
    return response


def write_filtered(
    names: Sequence[str], denials: Mapping[str, Denial | None], revision: str
) -> decision_service_pb2.FilterToolsResponse:
    """A list of tools, filtered; both parts in the order of `names`."""
    # Most of a long list is hidden for one of a few reasons.
    written: dict[Denial, decision_pb2.Denial] = {}
    hidden = []
    for name in names:
        denial = denials[name]
        if denial is not None:
            message = written.get(denial)
            if message is None:
                message = written[denial] = write_denial(denial)
            hidden.append(decision_service_pb2.HiddenTool(name=name, denial=message))
    allowed = [name for name in names if denials[name] is None]
    return decision_service_pb2.FilterToolsResponse(allowed=allowed, hidden=hidden, revision=revision)


def write_outcome(outcome: Outcome) -> interceptor_pb2.InterceptorOutcome:
    """What one interceptor did."""
    message = interceptor_pb2.InterceptorOutcome(
        name=outcome.name,
        verdict=_VERDICTS[outcome.verdict],
        reason=outcome.reason,
        mode=write_mode(outcome.shadow),
        annotations_json=stated_json(outcome.stated).encode() if outcome.stated else b"",
    )
    if outcome.error_class is not None:
        message.error_class = write_error_class(outcome.error_class)
    message.duration.FromNanoseconds(outcome.duration_ns)
    return message


def write_mode(shadow: bool) -> interceptor_pb2.InterceptorMode.ValueType:
    """The API's word for it."""
    return interceptor_pb2.INTERCEPTOR_MODE_SHADOW if shadow else interceptor_pb2.INTERCEPTOR_MODE_ENFORCE


def write_error_class(error_class: ErrorClass) -> interceptor_pb2.ErrorClass.ValueType:
    """The API's word for it."""
    return interceptor_pb2.ErrorClass.ValueType(_ERROR_CLASSES[f"ERROR_CLASS_{error_class.name}"].number)
