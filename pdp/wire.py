"""Protobuf to the words of the core and back. Requests are read strictly: what is malformed names its field."""

from __future__ import annotations

from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2
from pdp.cedar.cache import BoundedCache
from pdp.cedar.model import (
    ActionQuery,
    Authorization,
    Denial,
    DeterminingPolicy,
    EntityUid,
    Query,
    ShadowReport,
    ToolQuery,
)
from pdp.errors import InvalidRequestError, InvalidTokenError

#: Ids that are only carried along; longer ones are a mistake, and would be copied into every log line.
_MAX_ID_LENGTH = 256

_DENIAL_CODES = decision_pb2.DenialCode.DESCRIPTOR.values_by_name
_EFFECTS = {"permit": decision_pb2.EFFECT_PERMIT, "forbid": decision_pb2.EFFECT_FORBID}


def read_authorize(request: decision_service_pb2.AuthorizeRequest) -> Query:
    """The question in an AuthorizeRequest.

    Raises InvalidRequestError for what the caller got wrong, InvalidTokenError for a subject that is not established.
    """
    require_id(request.request_id, "request_id")
    target = request.WhichOneof("target")
    if target is None:
        raise InvalidRequestError("target", "give `action_on_resource` or `tool_call`", "MISSING_FIELD")
    principal = read_subject(request.subject)
    if target == "tool_call":
        call = request.tool_call
        require(call.server, "tool_call.server")
        require(call.tool, "tool_call.tool")
        require_id(call.session_id, "tool_call.session_id")
        return ToolQuery(
            principal,
            call.server,
            call.tool,
            call.arguments_json,
            call.session_id,
            request.context_json,
            request.entities_json,
        )
    asked = request.action_on_resource
    return ActionQuery(
        principal,
        read_uid(asked.action, "action_on_resource.action"),
        read_uid(asked.resource, "action_on_resource.resource"),
        request.context_json,
        request.entities_json,
    )


def read_subject(subject: decision_pb2.Subject) -> EntityUid:
    """The entity that asks."""
    kind = subject.WhichOneof("subject")
    if kind is None:
        raise InvalidRequestError("subject", "give `entity` or `token`", "MISSING_FIELD")
    if kind == "token":
        raise InvalidTokenError("no token issuer is configured")
    return read_uid(subject.entity, "subject.entity")


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


#: Responses without what is particular to one call, by the identity of the answer; the answer is kept beside its
#: response, so an identity is not used again while it is a key here. The size counts answers and policies they name.
_responses: BoundedCache[int, tuple[Authorization, decision_service_pb2.AuthorizeResponse]] = BoundedCache(4_096)


def write_authorization(
    answer: Authorization, decision_id: str, revision: str, response: decision_service_pb2.AuthorizeResponse
) -> None:
    """Write an answer into an empty `response`.

    The core gives equal answers as one object, so most have been written before.
    """
    known = _responses.get(id(answer))
    if known is None or known[0] is not answer:
        known = (answer, _response(answer))
        _responses.put(id(answer), known, 1 + len(answer.determining))
    response.MergeFrom(known[1])
    response.decision_id = decision_id
    response.revision = revision


def _response(answer: Authorization) -> decision_service_pb2.AuthorizeResponse:
    return decision_service_pb2.AuthorizeResponse(
        decision=_decision(answer.allowed),
        denial=write_denial(answer.denial) if answer.denial else None,
        determining_policies=[_determining(policy) for policy in answer.determining],
        policy_errors=[
            decision_pb2.PolicyError(policy_id=error.policy_id, message=error.message) for error in answer.errors
        ],
        shadow=_shadow(answer.shadow) if answer.shadow else None,
    )


def write_denial(denial: Denial) -> decision_pb2.Denial:
    """The denial with the API's code for it."""
    number = _DENIAL_CODES[f"DENIAL_CODE_{denial.code.value}"].number
    return decision_pb2.Denial(code=decision_pb2.DenialCode.ValueType(number), message=denial.message)


def _determining(policy: DeterminingPolicy) -> decision_pb2.DeterminingPolicy:
    return decision_pb2.DeterminingPolicy(
        policy_id=policy.policy_id, effect=_EFFECTS[policy.effect], annotations=policy.annotations
    )


def _decision(allowed: bool) -> decision_pb2.Decision.ValueType:
    return decision_pb2.DECISION_ALLOW if allowed else decision_pb2.DECISION_DENY


def _shadow(report: ShadowReport) -> decision_pb2.ShadowReport:
    return decision_pb2.ShadowReport(
        would_be_decision=_decision(report.would_allow),
        flipping_policies=report.flipping,
        matched_policies=report.matched,
    )
