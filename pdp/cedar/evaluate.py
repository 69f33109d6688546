"""One request against one policy slice: Cedar's answers put together into an `Authorization`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cedarpy

from pdp.cedar.engine import RawAnswer, ask, read
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
from pdp.cedar.slices import PolicyGroup, PolicyGroups, PolicySlice


class RefusedRequestError(ValueError):
    """Cedar could not build the request (never a decision); the text is Cedar's."""


def cedar_uids(principal: EntityUid, action: EntityUid, resource: EntityUid) -> dict[str, object]:
    """Who, what and on what, in cedarpy's form. As dicts: the surface syntax does not survive escapes."""
    parts = {"principal": principal, "action": action, "resource": resource}
    return {name: {"type": uid.type, "id": uid.id} for name, uid in parts.items()}


class CedarRequest(NamedTuple):
    """A request as Cedar takes it: `uids` from `cedar_uids`, `context` as JSON text.

    `schema` is None where the context needs no check.
    """

    uids: dict[str, object]
    context: str
    entities: cedarpy.Entities
    schema: cedarpy.Schema | None

    def arguments(self) -> dict[str, object]:
        """The request in cedarpy's form."""
        return {**self.uids, "context": self.context}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy group says: the satisfied rules that count, and the rules that failed."""

    allowed: bool
    satisfied: tuple[Rule, ...]
    failed: tuple[tuple[Rule, str], ...]


#: Cedar's answers about the enforced rules, the shadow permits and the shadow forbids; None where there are none.
RawAnswers = tuple[RawAnswer | None, ...]


def evaluate(
    policy_slice: PolicySlice, requests: Sequence[CedarRequest], fixed: RawAnswers | None, *, strict: bool
) -> list[Authorization]:
    """Answer each request. All must share entities and schema; raises RefusedRequestError if Cedar refuses one.

    `fixed` is what `evaluate_fixed` said for requests of this shape; None evaluates every candidate. With `strict`, a
    forbid that fails to evaluate denies: Cedar alone would skip it, as if it had not been written.
    """
    groups = policy_slice.all if fixed is None else policy_slice.varying
    return [_answer(policy_slice, groups, raw, fixed, strict) for raw in _ask(groups, requests)]


def evaluate_fixed(policy_slice: PolicySlice, request: CedarRequest) -> RawAnswers:
    """What the candidates say that never look at the context: the same for every request of `request`'s shape."""
    [raw] = _ask(policy_slice.fixed, [request._replace(context="{}")])
    return raw


def _ask(groups: PolicyGroups, requests: Sequence[CedarRequest]) -> Iterable[RawAnswers]:
    arguments = [request.arguments() for request in requests]
    if groups.has_shadow:
        return zip(*(_ask_group(group, requests[0], arguments) for group in groups), strict=True)
    return [(raw, None, None) for raw in _ask_group(groups.enforced, requests[0], arguments)]


def _ask_group(
    group: PolicyGroup | None, first: CedarRequest, arguments: list[dict[str, object]]
) -> Sequence[RawAnswer | None]:
    if group is None:
        return [None] * len(arguments)
    return ask(arguments, group.policy_set, first.entities, first.schema)


def _answer(
    policy_slice: PolicySlice, groups: PolicyGroups, raw: RawAnswers, fixed: RawAnswers | None, strict: bool
) -> Authorization:
    """The authorization that Cedar's answers amount to.

    Different calls get equal answers from Cedar, so each is worked out once for a slice.
    """
    known = policy_slice.answers.get((raw, fixed))
    if known is None:
        outcomes = [_outcome(group, answer) for group, answer in zip(groups, raw, strict=True)]
        if fixed is not None:
            others = [_outcome(group, answer) for group, answer in zip(policy_slice.fixed, fixed, strict=True)]
            outcomes = [_joined(*pair) for pair in zip(outcomes, others, strict=True)]
        enforced, permits, forbids = outcomes
        known = _authorization(enforced, strict)
        if policy_slice.has_shadow:
            known = _with_shadow(known, permits, forbids, strict)
        if _is_small(raw) and (fixed is None or _is_small(fixed)):
            policy_slice.answers.put((raw, fixed), known)
    return known


#: Errors can quote ids of any length that a caller sent; such answers are not kept.
_MAX_KEPT = 8_192


def _is_small(raw: RawAnswers) -> bool:
    return all(not isinstance(answer, str) or len(answer) <= _MAX_KEPT for answer in raw)


_NOTHING = Outcome(False, (), ())

NOT_PERMITTED = Denial(DenialCode.NO_MATCHING_POLICY, "no policy permits this call")


def _joined(one: Outcome, other: Outcome) -> Outcome:
    """The outcome of two groups of rules evaluated as one."""
    return _weighed((*one.satisfied, *other.satisfied), one.failed + other.failed)


def _weighed(satisfied: Iterable[Rule], failed: tuple[tuple[Rule, str], ...] = ()) -> Outcome:
    """What rules amount to of which these are satisfied: any forbid decides, otherwise any permit."""
    rules = tuple(satisfied)
    forbids = tuple([rule for rule in rules if rule.policy.effect == "forbid"])
    return Outcome(bool(rules) and not forbids, forbids or rules, failed)


def authorization_of(satisfied: Sequence[Rule], *, has_shadow: bool) -> Authorization:
    """The answer where these candidates are satisfied and none fails. `has_shadow`: some candidate is a shadow."""
    if not has_shadow:
        return _authorization(_weighed(satisfied), strict=True)
    answer = _authorization(_weighed(rule for rule in satisfied if not rule.policy.shadow), strict=True)
    shadows = [rule for rule in satisfied if rule.policy.shadow]
    permits, forbids = (_weighed(rule for rule in shadows if rule.policy.effect == e) for e in ("permit", "forbid"))
    return _with_shadow(answer, permits, forbids, strict=True)


def _outcome(group: PolicyGroup | None, raw: RawAnswer | None) -> Outcome:
    if group is None or raw is None:
        return _NOTHING
    decision, reasons, errors = read(raw)
    if decision == "NoDecision":
        raise RefusedRequestError("; ".join(errors))
    satisfied = tuple(group.rules[name] for name in reasons)
    return Outcome(decision == "Allow", satisfied, tuple(_failed(group, error) for error in errors))


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
        return Authorization(False, forbidden_by(outcome.satisfied), determining, errors)
    if strict and failed_forbids:
        text = "a policy that could forbid this call failed to evaluate"
        return Authorization(False, Denial(DenialCode.POLICY_ERROR, text), (), errors)
    if outcome.allowed:
        return Authorization(True, None, determining, errors)
    return Authorization(False, NOT_PERMITTED, (), errors)


def _policy_errors(failed: Sequence[tuple[Rule, str]]) -> tuple[PolicyError, ...]:
    if not failed:
        return ()
    # Cedar reports in no particular order; ours is the same for the same call.
    return tuple(sorted((PolicyError(rule.id, message) for rule, message in failed), key=lambda e: e.policy_id))


def _determining(rules: Sequence[Rule]) -> tuple[DeterminingPolicy, ...]:
    found = [DeterminingPolicy(rule.id, rule.policy.effect, rule.policy.annotations) for rule in rules]
    return tuple(sorted(found, key=lambda policy: policy.policy_id)) if len(found) > 1 else tuple(found)


def forbidden_by(rules: Sequence[Rule]) -> Denial:
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
    errors = _policy_errors((*permits.failed, *forbids.failed))
    return Authorization(answer.allowed, answer.denial, answer.determining, answer.errors + errors, report)
