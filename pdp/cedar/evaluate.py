"""One request against one policy slice: Cedar's answers put together into an `Authorization`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cedarpy

from pdp.cedar.index import Rule
from pdp.cedar.model import (
    Authorization,
    Denial,
    DenialCode,
    DeterminingPolicy,
    EntityUid,
    PolicyError,
    ShadowReport,
)
from pdp.cedar.slices import PolicyGroup, PolicySlice


class RefusedRequestError(ValueError):
    """Cedar could not build the request (never a decision); the text is Cedar's."""


class CedarRequest(NamedTuple):
    """A request as Cedar takes it: `context` is JSON text, `schema` is None where the context needs no check."""

    principal: EntityUid
    action: EntityUid
    resource: EntityUid
    context: str
    entities: cedarpy.Entities
    schema: cedarpy.Schema | None

    def arguments(self) -> dict[str, object]:
        """The request in cedarpy's form. Uids go as dicts: the surface syntax does not survive escapes."""
        return {
            "principal": {"type": self.principal.type, "id": self.principal.id},
            "action": {"type": self.action.type, "id": self.action.id},
            "resource": {"type": self.resource.type, "id": self.resource.id},
            "context": self.context,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy group says: the satisfied rules that count, and the rules that failed."""

    allowed: bool
    satisfied: tuple[Rule, ...]
    failed: tuple[tuple[Rule, str], ...]


def evaluate(policy_slice: PolicySlice, requests: Sequence[CedarRequest], *, strict: bool) -> list[Authorization]:
    """Answer each request. All must share entities and schema; raises RefusedRequestError if Cedar refuses one.

    With `strict`, a forbid that fails to evaluate denies: Cedar alone would skip it, as if it had not been written.
    """
    enforced = _ask(policy_slice.enforced, requests)
    answers = [_authorization(outcome, strict) for outcome in enforced]
    if not policy_slice.has_shadow:
        return answers
    permits = _ask_shadow(policy_slice.shadow_permits, requests)
    forbids = _ask_shadow(policy_slice.shadow_forbids, requests)
    return [
        _with_shadow(answer, permit, forbid, strict)
        for answer, permit, forbid in zip(answers, permits, forbids, strict=True)
    ]


_NOTHING = Outcome(False, (), ())


def _ask_shadow(group: PolicyGroup | None, requests: Sequence[CedarRequest]) -> list[Outcome]:
    return [_NOTHING] * len(requests) if group is None else _ask(group, requests)


def _ask(group: PolicyGroup, requests: Sequence[CedarRequest]) -> list[Outcome]:
    first = requests[0]
    results = cedarpy.is_authorized_batch(
        [request.arguments() for request in requests], group.policy_set, first.entities, first.schema
    )
    return [_outcome(group, result) for result in results]


def _outcome(group: PolicyGroup, result: cedarpy.AuthzResult) -> Outcome:
    decision = result.decision
    diagnostics = result.diagnostics
    if decision is cedarpy.Decision.NoDecision:
        raise RefusedRequestError("; ".join(diagnostics.errors))
    satisfied = tuple(group.rules[name] for name in diagnostics.reasons)
    failed = tuple(_failed(group, error) for error in diagnostics.errors) if diagnostics.errors else ()
    return Outcome(decision is cedarpy.Decision.Allow, satisfied, failed)


_ERROR_PREFIX = "error while evaluating policy `"


def _failed(group: PolicyGroup, error: str) -> tuple[Rule, str]:
    """The rule that an evaluation error speaks of. An error that names none of ours is a broken promise of Cedar's.

    The names are Cedar's own (`policy0`, `link0`), so nothing that a policy author writes can be mistaken for one.
    """
    name, _, message = error.removeprefix(_ERROR_PREFIX).partition("`: ")
    return group.rules[name], message


def _authorization(outcome: Outcome, strict: bool) -> Authorization:
    errors = _policy_errors(outcome.failed)
    failed_forbids = [rule for rule, _ in outcome.failed if rule.policy.effect == "forbid"]
    determining = _determining(outcome.satisfied)
    forbidden = not outcome.allowed and bool(outcome.satisfied)
    if forbidden:
        return Authorization(False, _forbidden(outcome.satisfied), determining, errors)
    if strict and failed_forbids:
        text = "a policy that could forbid this call failed to evaluate"
        return Authorization(False, Denial(DenialCode.POLICY_ERROR, text), (), errors)
    if outcome.allowed:
        return Authorization(True, None, determining, errors)
    return Authorization(False, Denial(DenialCode.NO_MATCHING_POLICY, "no policy permits this call"), (), errors)


def _policy_errors(failed: Sequence[tuple[Rule, str]]) -> tuple[PolicyError, ...]:
    # Cedar reports in no particular order; ours is the same for the same call.
    return tuple(sorted((PolicyError(rule.id, message) for rule, message in failed), key=lambda e: e.policy_id))


def _determining(rules: Sequence[Rule]) -> tuple[DeterminingPolicy, ...]:
    found = [DeterminingPolicy(rule.id, rule.policy.effect, rule.policy.annotations) for rule in rules]
    return tuple(sorted(found, key=lambda policy: policy.policy_id)) if len(found) > 1 else tuple(found)


def _forbidden(rules: Sequence[Rule]) -> Denial:
    """`@message` is what the policy's author wants the agent to read; without one the policy stays unnamed."""
    messages = {rule.policy.annotations.get("message", ""): None for rule in sorted(rules, key=lambda r: r.id)}
    text = "; ".join(message for message in messages if message)
    return Denial(DenialCode.FORBIDDEN, text or "a policy forbids this call")


def _with_shadow(answer: Authorization, permits: Outcome, forbids: Outcome, strict: bool) -> Authorization:
    """The answer with a report of what it would be if the shadow policies were enforced."""
    stopping = {rule.id for rule in forbids.satisfied}
    if strict:
        stopping |= {rule.id for rule, _ in forbids.failed}
    permitting = {rule.id for rule in permits.satisfied}
    if answer.allowed:
        would_allow, flipping = not stopping, stopping
    elif answer.denial is not None and answer.denial.code is DenialCode.NO_MATCHING_POLICY and not stopping:
        would_allow, flipping = bool(permitting), permitting
    else:
        would_allow, flipping = False, set()
    failed = {rule.id for outcome in (permits, forbids) for rule, _ in outcome.failed}
    matched = {rule.id for rule in forbids.satisfied} | permitting | failed
    report = ShadowReport(would_allow, tuple(sorted(flipping)), tuple(sorted(matched)))
    return Authorization(answer.allowed, answer.denial, answer.determining, answer.errors, report)
