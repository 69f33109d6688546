"""How the answers to questions read."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from google.protobuf.message import Message

from pdp._gen.pdp.v1 import decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1.decision_service_pb2 import AuthorizeResponse, DecideResponse, InterceptResponse
from pdp.bundle.layout import printable
from pdp.cli.documents import message_document
from pdp.cli.json_lines import payload_lines
from pdp.cli.remote import enum_name
from pdp.cli.terminal import answer, answer_json, duration_text, painted

Decision: TypeAlias = AuthorizeResponse | DecideResponse
Answer: TypeAlias = Decision | InterceptResponse

_COLORS = {
    interceptor_pb2.VERDICT_PASS: "green",
    interceptor_pb2.VERDICT_TRANSFORM: "yellow",
    interceptor_pb2.VERDICT_DENY: "red",
    interceptor_pb2.VERDICT_FAILED: "red",
}


def show(response: Message, lines: Iterable[str], arguments: Namespace) -> None:
    """Print an answer: itself for programs, `lines` for people."""
    if arguments.json:
        answer_json(message_document(response))
        return
    for line in lines:
        answer(line)


def is_allow(response: Answer) -> bool:
    """Whether the answer is an allow; whatever else it is, an unknown value too, is a deny."""
    return response.decision == decision_pb2.DECISION_ALLOW


def decision_line(response: Answer) -> str:
    """The decision, and why it is a denial."""
    if is_allow(response):
        return painted("ALLOW", "green")
    return f"{painted('DENY', 'red')} {denial_text(response.denial)}"


def denial_text(denial: decision_pb2.Denial) -> str:
    """`FORBIDDEN: paths with `..` are not allowed`."""
    return f"{enum_name(decision_pb2.DenialCode, denial.code, 'DENIAL_CODE_')}: {printable(denial.message)}"


def origin_line(response: Answer) -> str:
    """Where to find the decision again, and what gave it."""
    return painted(f"  decision {printable(response.decision_id)}, revision {printable(response.revision)}", "dim")


def policy_lines(response: Decision) -> Iterator[str]:
    """The policies that decided, with their annotations, and those that failed."""
    for policy in response.determining_policies:
        effect = enum_name(decision_pb2.Effect, policy.effect, "EFFECT_").lower()
        yield f"  {effect} `{printable(policy.policy_id)}`"
        for name, value in sorted(policy.annotations.items()):
            if name != "id":
                yield f"    @{printable(name)}: {printable(value)}"
    for error in response.policy_errors:
        yield f"  {painted('failed', 'yellow')} `{printable(error.policy_id)}`: {printable(error.message)}"


def shadow_lines(response: Decision) -> Iterator[str]:
    """What would have been decided, where something that is not enforced had a say."""
    if not response.HasField("shadow"):
        return
    shadow = response.shadow
    would_be = painted(enum_name(decision_pb2.Decision, shadow.would_be_decision, "DECISION_"), "yellow")
    why = f" {denial_text(shadow.would_be_denial)}" if shadow.HasField("would_be_denial") else ""
    yield f"  if what is in shadow were enforced: {would_be}{why}"
    for policy_id in shadow.matched_policies:
        effect = ", which changes the decision" if policy_id in shadow.flipping_policies else ""
        yield f"    `{printable(policy_id)}` matches{effect}"


def outcome_lines(response: InterceptResponse | DecideResponse) -> Iterator[str]:
    """What each interceptor did, in the order in which they ran."""
    for outcome in response.interceptors:
        yield f"  {_outcome_text(outcome)}"


def payload_part(response: InterceptResponse | DecideResponse, field: str | None) -> Iterator[str]:
    """What goes on in the place of what was sent: the payload in this field, if there is one, called after it."""
    yield f"  mutated: {painted('yes', 'yellow') if response.mutated else 'no'}"
    if field is None:
        return
    yield f"  {field.removesuffix('_json')}:"
    for line in payload_lines(getattr(response, field)):
        yield f"    {printable(line)}"


def _outcome_text(outcome: interceptor_pb2.InterceptorOutcome) -> str:
    verdict = enum_name(interceptor_pb2.Verdict, outcome.verdict, "VERDICT_").lower()
    shadow = outcome.mode == interceptor_pb2.INTERCEPTOR_MODE_SHADOW
    mark = ", shadow: changes nothing" if shadow else ""
    text = f"{painted(verdict, _COLORS.get(outcome.verdict, 'red'))} `{printable(outcome.name)}`"
    text += painted(f" ({duration_text(outcome.duration.ToNanoseconds())}{mark})", "dim")
    if outcome.annotations_json:
        text += f" states {printable(outcome.annotations_json.decode('utf-8', 'backslashreplace'))}"
    causes = [printable(outcome.reason)] if outcome.reason else []
    if outcome.error_class:
        causes.insert(0, enum_name(interceptor_pb2.ErrorClass, outcome.error_class, "ERROR_CLASS_").lower())
    return ": ".join([text, *causes])
