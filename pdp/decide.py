"""Both layers on one tool call: the request interceptors, then Cedar on the call as they left it."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import NamedTuple

from pdp.cedar.authorize import Authorizer
from pdp.cedar.json_text import canonical_text
from pdp.cedar.model import Authorization, Query, ShadowReport, ToolQuery
from pdp.sandbox.chain import Chain, ChainQuery, Payload, intercept
from pdp.sandbox.outcome import Interception, Outcome
from pdp.sandbox.reply import Envelope
from pdp.telemetry.scope import layer
from pdp.turns import tell_others


class DecideQuery(NamedTuple):
    """One tool call. `context` and `entities` are the caller's JSON texts, empty for none; `arguments` the agent's.

    `subject_facts` is as in `Subject`.
    """

    envelope: Envelope
    arguments: bytes
    context: bytes = b""
    entities: bytes = b""
    subject_facts: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer of both layers.

    Where `authorization` allows, `interception.payload` is what was authorized, byte for byte.
    """

    authorization: Authorization
    interception: Interception


def decide(authorizer: Authorizer, chain: Chain, query: DecideQuery, deadline_ns: int) -> Decided:
    """The answer of both layers, by a time of `time.monotonic_ns`.

    Raises InvalidRequestError where the caller's part is malformed, DeadlineExceededError where the time passes first.
    """
    envelope = query.envelope
    known = (envelope.server, envelope.tool) in authorizer.model.tools
    # 1. What nobody pinned is denied whatever interceptors say, so they are not asked.
    if not known or not chain.concerns("request", envelope.server, envelope.tool):
        untouched = Interception(query.arguments or b"{}", False, ())
        return Decided(authorized(authorizer, asked_query(query)), untouched)
    # 2. The interceptors see the call before anything else does, and may change it. They may take long.
    tell_others()
    chain_query = ChainQuery("request", envelope, Payload(query.arguments))
    began_ns = perf_counter_ns()
    interception = intercept(chain, chain_query, deadline_ns)
    layer("interceptors", began_ns, perf_counter_ns())
    if interception.denial is not None:
        return Decided(Authorization(False, interception.denial, shadow=_shadow(None, interception)), interception)
    # 3. Cedar is asked about exactly what the tool is to be called with.
    facts = _facts(interception.outcomes)
    answer = authorized(authorizer, _tool_query(query, interception.payload, facts))
    return Decided(_with_shadow(answer, interception), interception)


def authorized(authorizer: Authorizer, query: Query) -> Authorization:
    """What Cedar says, timed. Raises InvalidRequestError where the caller's part is malformed."""
    began_ns = perf_counter_ns()
    answer = authorizer.authorize(query)
    layer("policies", began_ns, perf_counter_ns())
    return answer


def asked_query(query: DecideQuery) -> ToolQuery:
    """What Cedar would be asked if there were no interceptors."""
    return _tool_query(query, query.arguments, "")


def _tool_query(query: DecideQuery, arguments: bytes, facts: str) -> ToolQuery:
    envelope = query.envelope
    return ToolQuery(
        envelope.subject,
        envelope.server,
        envelope.tool,
        arguments,
        envelope.session_id,
        query.context,
        query.entities,
        facts,
        envelope.on_behalf_of,
        query.subject_facts,
    )


def _facts(outcomes: tuple[Outcome, ...]) -> str:
    """What enforcing interceptors stated, by their names; what one in shadow mode says is for nobody to rely on."""
    stated = {outcome.name: outcome.annotations for outcome in outcomes if outcome.annotations and not outcome.shadow}
    return canonical_text(stated) if stated else ""


def _with_shadow(answer: Authorization, interception: Interception) -> Authorization:
    report = _shadow(answer, interception)
    if report is answer.shadow:
        return answer
    return Authorization(answer.allowed, answer.denial, answer.determining, answer.errors, report)


def _shadow(answer: Authorization | None, interception: Interception) -> ShadowReport | None:
    """The policies' report with what the shadow interceptors said, if there were any."""
    policies = answer.shadow if answer is not None else None
    shadows = [outcome for outcome in interception.outcomes if outcome.shadow]
    if not shadows:
        return policies
    allowed = answer is not None and answer.allowed
    would_allow = policies.would_allow if policies is not None else allowed
    would_allow = would_allow and not any(outcome.denies for outcome in shadows)
    flipping = policies.flipping if policies is not None else ()
    return ShadowReport(would_allow, flipping, policies.matched if policies is not None else ())
