"""This service's answers as AuthZEN decisions: plain JSON values, for `canonical_text`."""

from __future__ import annotations

from typing import Any

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.strict_json import parse_value
from pdp.errors import InvalidRequestError
from pdp.sandbox.reply import PAYLOAD_LIMITS
from pdp.servicers.gateways.authzen_mapping import MappingOptions, path_of
from pdp.servicers.gateways.authzen_requests import Page

#: The code of a denial that is this gateway's own: the call is allowed, but not as it was sent.
ARGUMENTS_CHANGED = "ARGUMENTS_CHANGED"
_CHANGED = "this call is allowed with other arguments only"

Decision = dict[str, Any]
Answer = pb.DecideResponse | pb.AuthorizeResponse


def decision(answer: Answer, options: MappingOptions) -> Decision:
    """The decision that an answer amounts to. Only DECISION_ALLOW is one that allows."""
    context: dict[str, Any] = {"decision_id": answer.decision_id, "revision": answer.revision}
    allowed = answer.decision == decision_pb2.DECISION_ALLOW
    if allowed and isinstance(answer, pb.DecideResponse) and answer.mutated:
        # Who does not look for them here would call the tool with arguments that nobody allowed.
        if options.changed_arguments == "deny":
            return {"decision": False, "context": {**context, "code": ARGUMENTS_CHANGED, "reason": _CHANGED}}
        context["arguments"] = parse_value(answer.arguments_json, PAYLOAD_LIMITS)
    if not allowed:
        context["code"] = _code(answer.denial)
        context["reason"] = answer.denial.message
    context["policies"] = [_policy(policy) for policy in answer.determining_policies]
    if answer.policy_errors:
        context["policy_errors"] = [{"id": error.policy_id, "message": error.message} for error in answer.policy_errors]
    if answer.HasField("shadow"):
        context["shadow"] = _shadow(answer.shadow)
    return {"decision": allowed, "context": context}


def found(results: list[dict[str, Any]], name: str, page: Page | None) -> dict[str, Any]:
    """What a search found, or the page of it that is wanted. `name` is the member that tells results apart.

    The token of the next page is the last result of this one, so nothing has to be remembered between two pages.
    """
    ordered = sorted(results, key=lambda result: str(result[name]))
    if page is None:
        return {"results": ordered}
    rest = [result for result in ordered if result[name] > page.after]
    shown = rest if page.limit is None else rest[: page.limit]
    token = shown[-1][name] if len(shown) < len(rest) else ""
    return {"results": shown, "page": {"next_token": token, "count": len(shown), "total": len(ordered)}}


def failed_item(error: InvalidRequestError, options: MappingOptions) -> Decision:
    """The decision about an item that is no question."""
    return {"decision": False, "context": {"error": error_form(400, error.reason, error.message, error.field, options)}}


def error_form(status: int, reason: str, message: str, field: str, options: MappingOptions) -> dict[str, Any]:
    """What is wrong with a request, in the one form that all mistakes have."""
    return {"status": status, "reason": reason, "message": message, "field": path_of(field, options)}


def _code(denial: decision_pb2.Denial) -> str:
    return decision_pb2.DenialCode.Name(denial.code).removeprefix("DENIAL_CODE_")


def _policy(policy: decision_pb2.DeterminingPolicy) -> dict[str, Any]:
    effect = decision_pb2.Effect.Name(policy.effect).removeprefix("EFFECT_").lower()
    return {"id": policy.policy_id, "effect": effect, "annotations": dict(policy.annotations)}


def _shadow(report: decision_pb2.ShadowReport) -> dict[str, Any]:
    form: dict[str, Any] = {
        "decision": report.would_be_decision == decision_pb2.DECISION_ALLOW,
        "flipping_policies": list(report.flipping_policies),
        "matched_policies": list(report.matched_policies),
    }
    if report.HasField("would_be_denial"):
        form["code"] = _code(report.would_be_denial)
    return form
