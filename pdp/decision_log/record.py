"""One decision as one line of JSON. Pure: time, ids and the answer come in, text goes out.

The line is put together by hand because every call pays for it; each string goes through JSON's own escaping.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Literal

from pdp.candidate import Difference
from pdp.cedar.model import Authorization, EntityUid, Query, ShadowReport, ToolQuery
from pdp.decide import DecideQuery, asked_query
from pdp.decision_log.masking import Masking
from pdp.sandbox.chain import ChainQuery
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception, Outcome
from pdp.sandbox.reply import stated_json

ArgumentsPolicy = Literal["hash", "full", "none"]

#: The type of a tool call's action and resource, as the Cedar request had them.
_ACTION, _RESOURCE = "Action", "Server"


def decision_line(
    query: Query | None,
    answer: Authorization,
    *,
    time_ns: int,
    duration_ns: int,
    decision_id: str,
    request_id: str,
    revision: str,
    arguments: ArgumentsPolicy,
    mask: Masking | None = None,
    caller: str = "",
    trace_id: str = "",
    span_id: str = "",
    interception: Interception | None = None,
) -> str:
    """The record of one authorization, or with an `interception` of one decision by both layers; without a line end.

    `query` is None where no subject could be established (a token that does not verify). `time_ns` is Unix time.
    `mask` is for `arguments` that are written in full.
    """
    denial = answer.denial
    kind = "authorize" if interception is None else "decide"
    parts = [
        f'{{"kind":"{kind}","time":"{timestamp(time_ns)}","decision_id":"{decision_id}"',
        f'"decision":"{"ALLOW" if answer.allowed else "DENY"}"',
        f'"code":"{denial.code.value}","message":{quoted(denial.message)}' if denial else '"code":""',
        _question(query, arguments, mask) if query is not None else '"subject":null',
        f'"policies":{_strings(policy.policy_id for policy in answer.determining)}',
        f'"errors":{_errors(answer)}',
        f'"revision":"{revision}","duration_us":{duration_ns // 1000}',
    ]
    if interception is not None:
        parts.append(_interception(interception, arguments))
    parts += _carried(caller=caller, request_id=request_id, trace_id=trace_id, span_id=span_id)
    if answer.shadow is not None:
        parts.append(_shadow(answer.shadow))
    return ",".join(parts) + "}"


def _carried(**texts: str) -> list[str]:
    """What callers gave, as far as they did."""
    return [f'"{name}":{quoted(text)}' for name, text in texts.items() if text]


def _shadow(shadow: ShadowReport) -> str:
    return (
        f'"shadow":{{"would_be_decision":"{"ALLOW" if shadow.would_allow else "DENY"}",'
        f'"flipping":{_strings(shadow.flipping)},"matched":{_strings(shadow.matched)}{_would_be(shadow)}}}'
    )


def _would_be(shadow: ShadowReport) -> str:
    denial = shadow.would_be_denial
    return f',"code":"{denial.code.value}","message":{quoted(denial.message)}' if denial else ""


def difference_line(
    difference: Difference, *, time_ns: int, arguments: ArgumentsPolicy, mask: Masking | None = None
) -> str:
    """The record of a call that a candidate bundle answers in another way, without a line end."""
    answered, candidate = difference.answered, difference.candidate
    query = answered.query
    asked = asked_query(query) if isinstance(query, DecideQuery) else query
    denial = candidate.denial
    parts = [
        f'{{"kind":"candidate","time":"{timestamp(time_ns)}","for_decision_id":"{answered.decision_id}"',
        f'"difference":"{difference.kind}","decision":"{"ALLOW" if candidate.allowed else "DENY"}"',
        f'"code":"{denial.code.value}","message":{quoted(denial.message)}' if denial else '"code":""',
        _question(asked, arguments, mask),
        f'"policies":{_strings(difference.policies)}',
        f'"revision":"{answered.revision}","candidate_revision":"{difference.candidate_revision}"',
    ]
    return ",".join(parts) + "}"


def interception_line(
    phase: Phase,
    query: ChainQuery | None,
    answer: Interception,
    *,
    time_ns: int,
    duration_ns: int,
    decision_id: str,
    for_decision_id: str,
    request_id: str,
    revision: str,
    arguments: ArgumentsPolicy,
    mask: Masking | None = None,
    caller: str = "",
    trace_id: str = "",
    span_id: str = "",
) -> str:
    """The record of one run of an interceptor chain, without a line end.

    `query` is None where no subject could be established. `for_decision_id` names the decision that let the call go
    on, if the caller gave it. Of results nothing but the digest is ever written: they are data of tools.
    """
    denial = answer.denial
    parts = [
        f'{{"kind":"intercept","time":"{timestamp(time_ns)}","decision_id":"{decision_id}","phase":"{phase}"',
        f'"decision":"{"DENY" if denial else "ALLOW"}"',
        f'"code":"{denial.code.value}","message":{quoted(denial.message)}' if denial else '"code":""',
        _intercepted(query, arguments, mask) if query is not None else '"subject":null',
        _interception(answer, arguments),
        f'"revision":"{revision}","duration_us":{duration_ns // 1000}',
    ]
    parts += _carried(caller=caller, request_id=request_id, trace_id=trace_id, span_id=span_id)
    parts += _carried(for_decision_id=for_decision_id)
    return ",".join(parts) + "}"


def _intercepted(query: ChainQuery, policy: ArgumentsPolicy, mask: Masking | None) -> str:
    envelope, payload = query.envelope, query.payload
    call = ToolQuery(
        envelope.subject,
        envelope.server,
        envelope.tool,
        payload.arguments,
        envelope.session_id,
        on_behalf_of=envelope.on_behalf_of,
    )
    text = _question(call, policy, mask)
    if payload.result is not None and policy != "none":
        text += f',"result_sha256":"{hashlib.sha256(payload.result).hexdigest()}"'
    return text


def _interception(answer: Interception, policy: ArgumentsPolicy) -> str:
    text = f'"interceptors":[{",".join(map(_outcome, answer.outcomes))}]'
    if not answer.mutated:
        return f'"mutated":false,{text}'
    if policy == "none":
        return f'"mutated":true,{text}'
    return f'"mutated":true,"payload_sha256":"{hashlib.sha256(answer.payload).hexdigest()}",{text}'


def _outcome(outcome: Outcome) -> str:
    text = f'{{"name":{quoted(outcome.name)},"verdict":"{outcome.verdict}","duration_us":{outcome.duration_ns // 1000}'
    if outcome.shadow:
        text += ',"mode":"shadow"'
    if outcome.error_class is not None:
        text += f',"error_class":"{outcome.error_class.value}"'
    if outcome.reason:
        text += f',"reason":{quoted(outcome.reason)}'
    if outcome.stated:
        # A line of the log is ASCII; what is not stands in strings only.
        stated = _NOT_ASCII.sub(lambda match: quoted(match.group())[1:-1], stated_json(outcome.stated))
        text += f',"annotations":{stated}'
    return text + "}"


_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def _question(query: Query, policy: ArgumentsPolicy, mask: Masking | None) -> str:
    subject = f'"subject":{_uid(query.principal)}'
    if query.on_behalf_of is not None:
        subject += f',"on_behalf_of":{_uid(query.on_behalf_of)}'
    if not isinstance(query, ToolQuery):
        return f'{subject},"action":{_uid(query.action)},"resource":{_uid(query.resource)}'
    action = _uid(EntityUid(_ACTION, f"{query.server}/{query.tool}"))
    text = f'{subject},"action":{action},"resource":{_uid(EntityUid(_RESOURCE, query.server))}'
    if query.session_id:
        text += f',"session_id":{quoted(query.session_id)}'
    return text + _arguments(query.arguments, policy, mask)


def _arguments(arguments: bytes, policy: ArgumentsPolicy, mask: Masking | None) -> str:
    if policy == "none":
        return ""
    if policy == "full":
        # As text, not as JSON: what an agent sent need not be JSON, and is written down as it came.
        shown = arguments.decode("utf-8", "backslashreplace") if mask is None or not arguments else mask(arguments)
        if shown is not None:
            return f',"arguments":{quoted(shown)}'
    return f',"arguments_sha256":"{hashlib.sha256(arguments).hexdigest()}"'


def _uid(uid: EntityUid) -> str:
    return _short_uid(uid) if len(uid.type) + len(uid.id) <= _MAX_KEPT else _written_uid(uid)


#: Longer uids are written anew each time, so that what is kept stays small.
_MAX_KEPT = 256


@lru_cache(maxsize=16_384)
def _short_uid(uid: EntityUid) -> str:
    return _written_uid(uid)


def _written_uid(uid: EntityUid) -> str:
    return f'{{"type":{quoted(uid.type)},"id":{quoted(uid.id)}}}'


def _strings(values: Iterable[str]) -> str:
    return f"[{','.join(map(quoted, values))}]"


def _errors(answer: Authorization) -> str:
    if not answer.errors:
        return "[]"
    shown = (f'{{"policy":{quoted(e.policy_id)},"message":{quoted(e.message)}}}' for e in answer.errors)
    return f"[{','.join(shown)}]"


def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
