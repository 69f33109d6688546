"""One decision as one line of JSON. Pure: time, ids and the answer come in, text goes out.

The line is put together by hand because every call pays for it; each string goes through JSON's own escaping. For the
same reason what comes again and again is kept as text. Names that are not quoted are made by this service of letters
and digits.
"""

from __future__ import annotations

import hashlib
import re
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Literal

from pdp.candidate import Difference
from pdp.cedar.model import Authorization, EntityUid, Query, ToolQuery
from pdp.decide import DecideQuery, asked_query
from pdp.decision_log.digests import sha256
from pdp.decision_log.masking import Masking
from pdp.decision_log.verdict import coded, strings, verdict
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
    decision, grounds, shadow = verdict(answer)
    asked = _question(query, arguments, mask) if query is not None else '"subject":null'
    carried = _carried(caller, request_id, trace_id, span_id) if caller or request_id or trace_id else ""
    kind, intercepted = "authorize", ""
    if interception is not None:
        kind, intercepted = "decide", f",{_interception(interception, arguments)}"
    return (
        f'{{"kind":"{kind}","time":"{timestamp(time_ns)}","decision_id":"{decision_id}",{decision},{asked},{grounds},'
        f'"revision":"{revision}","duration_us":{duration_ns // 1000}{intercepted}'
        f"{carried}{shadow}}}"
    )


def _carried(caller: str, request_id: str, trace_id: str, span_id: str, for_decision_id: str = "") -> str:
    """What callers gave, as far as they did: members that begin with a comma."""
    text = f',"caller":{quoted(caller)}' if caller else ""
    if request_id:
        text += f',"request_id":{quoted(request_id)}'
    if trace_id:
        text += f',"trace_id":{quoted(trace_id)}'
    if span_id:
        text += f',"span_id":{quoted(span_id)}'
    if for_decision_id:
        text += f',"for_decision_id":{quoted(for_decision_id)}'
    return text


def difference_line(
    difference: Difference, *, time_ns: int, arguments: ArgumentsPolicy, mask: Masking | None = None
) -> str:
    """The record of a call that a candidate bundle answers in another way, without a line end."""
    answered, candidate = difference.answered, difference.candidate
    query = answered.query
    asked = asked_query(query) if isinstance(query, DecideQuery) else query
    parts = [
        f'{{"kind":"candidate","time":"{timestamp(time_ns)}","for_decision_id":"{answered.decision_id}"',
        f'"difference":"{difference.kind}","decision":"{"ALLOW" if candidate.allowed else "DENY"}"',
        coded(candidate.denial),
        _question(asked, arguments, mask),
        f'"policies":{strings(difference.policies)}',
        f'"revision":"{answered.revision}","candidate_revision":"{difference.candidate_revision}"',
    ]
    return ",".join(parts) + "}"


def interception_line(
    phase: Phase,
    query: ChainQuery | None,
    answer: Interception,
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
    parts = [
        f'{{"kind":"intercept","time":"{timestamp(time_ns)}","decision_id":"{decision_id}","phase":"{phase}"',
        f'"decision":"{"DENY" if answer.denial is not None else "ALLOW"}"',
        coded(answer.denial),
        _intercepted(query, arguments, mask) if query is not None else '"subject":null',
        _interception(answer, arguments),
        f'"revision":"{revision}","duration_us":{duration_ns // 1000}',
    ]
    return f"{','.join(parts)}{_carried(caller, request_id, trace_id, span_id, for_decision_id)}}}"


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
    if not isinstance(query, ToolQuery):
        subject = _subject(query.principal, query.on_behalf_of)
        return f'{subject},"action":{_uid(query.action)},"resource":{_uid(query.resource)}'
    server, tool = query.server, query.tool
    call = (_short_call if len(server) + len(tool) <= _MAX_KEPT else _written_call)(server, tool)
    text = f"{_subject(query.principal, query.on_behalf_of)},{call}"
    if query.session_id:
        text += f',"session_id":{quoted(query.session_id)}'
    return text + _arguments(query.arguments, policy, mask)


def _written_call(server: str, tool: str) -> str:
    action = _written_uid(EntityUid(_ACTION, f"{server}/{tool}"))
    return f'"action":{action},"resource":{_written_uid(EntityUid(_RESOURCE, server))}'


def _subject(principal: EntityUid, on_behalf_of: EntityUid | None) -> str:
    subject = f'"subject":{_uid(principal)}'
    return subject if on_behalf_of is None else f'{subject},"on_behalf_of":{_uid(on_behalf_of)}'


def _arguments(arguments: bytes, policy: ArgumentsPolicy, mask: Masking | None) -> str:
    if policy == "none":
        return ""
    if policy == "full":
        # As text, not as JSON: what an agent sent need not be JSON, and is written down as it came.
        shown = arguments.decode("utf-8", "backslashreplace") if mask is None or not arguments else mask(arguments)
        if shown is not None:
            return f',"arguments":{quoted(shown)}'
    return f',"arguments_sha256":"{sha256(arguments).hex()}"'


def _uid(uid: EntityUid) -> str:
    return _short_uid(uid) if len(uid.type) + len(uid.id) <= _MAX_KEPT else _written_uid(uid)


def _written_uid(uid: EntityUid) -> str:
    return f'{{"type":{quoted(uid.type)},"id":{quoted(uid.id)}}}'


#: What is longer is written anew each time, so that what is kept stays small.
_MAX_KEPT = 256
_short_uid = lru_cache(maxsize=16_384)(_written_uid)
_short_call = lru_cache(maxsize=16_384)(_written_call)


@lru_cache(maxsize=4)  # the records of a batch have one time
def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    microseconds = time_ns // 1000
    return f"{_second(microseconds // 1_000_000)}{microseconds % 1_000_000:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds))
