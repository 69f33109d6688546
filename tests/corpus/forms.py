"""What the service says, in the form in which cases expect it: without what is different every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from pdp.cedar.model import Authorization, Denial
from pdp.decide import Decided
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception, Outcome
from tests.corpus.corpus import Case, Json, no_key_twice

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
#: Fields of responses that hold JSON; cases have them as text.
_TEXTS = frozenset({"arguments_json", "result_json", "annotations_json"})


# --- the core's answers ----------------------------------------------------------------------------------------------


def answer_form(answer: Authorization) -> Json:
    """The core's answer."""
    form: Json = {"decision": _decision(answer.allowed), **_denied(answer.denial)}
    if answer.determining:
        form["determining_policies"] = [
            {"policy_id": policy.policy_id, "effect": f"EFFECT_{policy.effect.upper()}"}
            | ({"annotations": dict(policy.annotations)} if policy.annotations else {})
            for policy in answer.determining
        ]
    if answer.errors:
        form["policy_errors"] = [{"policy_id": error.policy_id, "message": error.message} for error in answer.errors]
    if answer.shadow is not None:
        lists = {"flipping_policies": answer.shadow.flipping, "matched_policies": answer.shadow.matched}
        form["shadow"] = {"would_be_decision": _decision(answer.shadow.would_allow)}
        form["shadow"] |= {name: list(ids) for name, ids in lists.items() if ids}
        form["shadow"] |= _denied(answer.shadow.would_be_denial, "would_be_denial")
    return form


def decided_form(decided: Decided) -> Json:
    """The core's answer of both layers."""
    form = answer_form(decided.authorization) | _outcomes(decided.interception.outcomes)
    shadows = [outcome for outcome in decided.interception.outcomes if outcome.shadow]
    if "shadow" in form:
        form["shadow"] |= _outcomes(shadows)
    if decided.authorization.allowed:
        form |= _payload(decided.interception, "arguments_json")
    return form


def interception_form(answer: Interception, phase: Phase) -> Json:
    """What the core made of a payload."""
    form = {"decision": _decision(answer.denial is None), **_denied(answer.denial), **_outcomes(answer.outcomes)}
    if answer.denial is None:
        form |= _payload(answer, "arguments_json" if phase == "request" else "result_json")
    return form


def filtered_form(names: Iterable[str], denials: Mapping[str, Denial | None]) -> Json:
    """The core's answer about a list of tools."""
    allowed = [name for name in names if denials[name] is None]
    hidden = [{"name": name, **_denied(denials[name])} for name in names if denials[name] is not None]
    return ({"allowed": allowed} if allowed else {}) | ({"hidden": hidden} if hidden else {})


def _decision(allowed: bool) -> str:
    return "DECISION_ALLOW" if allowed else "DECISION_DENY"


def _denied(denial: Denial | None, name: str = "denial") -> Json:
    return {} if denial is None else {name: {"code": f"DENIAL_CODE_{denial.code.value}", "message": denial.message}}


def _payload(answer: Interception, name: str) -> Json:
    return ({"mutated": True} if answer.mutated else {}) | {name: answer.payload.decode()}


def _outcomes(outcomes: Iterable[Outcome]) -> Json:
    forms = [_outcome(outcome) for outcome in outcomes]
    return {"interceptors": forms} if forms else {}


def _outcome(outcome: Outcome) -> Json:
    form: Json = {"name": outcome.name, "verdict": f"VERDICT_{outcome.verdict.upper()}"}
    form |= {"reason": outcome.reason} if outcome.reason else {}
    form |= {"error_class": f"ERROR_CLASS_{outcome.error_class.name}"} if outcome.error_class is not None else {}
    form["mode"] = f"INTERCEPTOR_MODE_{'SHADOW' if outcome.shadow else 'ENFORCE'}"
    return form | ({"annotations_json": json.dumps(outcome.stated, separators=(",", ":"))} if outcome.stated else {})


# --- the service's answers -------------------------------------------------------------------------------------------


def expected_error(case: Case, error: Json) -> Json:
    """What the case expects of `error`, so that the two can be compared: a case may leave the message open."""
    assert case.error is not None, f"an error where an answer was expected: {error}"
    return {**error, **case.error}


def response_form(response: Any) -> Json:
    """The service's answer without the decision id, the revision, and how long interceptors took."""
    kept = type(response)()
    kept.CopyFrom(response)
    for name in ("decision_id", "revision"):
        if name in kept.DESCRIPTOR.fields_by_name:
            kept.ClearField(name)
    for outcome in (*getattr(kept, "interceptors", ()), *getattr(getattr(kept, "shadow", None), "interceptors", ())):
        outcome.ClearField("duration")
    return message_form(kept)


def message_form(message: Message) -> Json:
    """A message in proto JSON, but with JSON in it as text."""
    form = json_format.MessageToDict(message, preserving_proto_field_name=True)
    texts: Json = _with_texts(form, lambda encoded: base64.b64decode(encoded).decode())
    return texts


def read_message(form: Json, message: Message) -> None:
    """Read what `message_form` gives into an empty message."""
    json_format.ParseDict(_with_texts(form, lambda text: base64.b64encode(text.encode()).decode()), message)


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_with_texts(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    # Annotations of policies are the authors' and may have any name.
    return {
        key: change(inner) if key in _TEXTS else inner if key == "annotations" else _with_texts(inner, change)
        for key, inner in value.items()
    }


def without_open_reasons(found: Json, expected: Json | None) -> Json:
    """`found`, without those reasons of failed interceptors that `expected` leaves open.

    Of what broke down inside a module, the reason is in the words of WebAssembly's engine.
    """
    wanted = expected or {}
    kept = dict(found)
    if "interceptors" in found:
        outcomes = found["interceptors"]
        # That there are more or fewer of them than expected is for the comparison to tell.
        expectations = wanted.get("interceptors", [])[: len(outcomes)]
        pairs: Iterable[tuple[Json, Json]] = zip_longest(outcomes, expectations, fillvalue={})
        kept["interceptors"] = [_without_open_reason(outcome, form) for outcome, form in pairs]
    if "shadow" in found:
        kept["shadow"] = without_open_reasons(found["shadow"], wanted.get("shadow"))
    return kept


def _without_open_reason(outcome: Json, expected: Json) -> Json:
    failed = outcome["verdict"] in {"failed", "VERDICT_FAILED"}
    if not failed or "reason" in expected:
        return outcome
    assert outcome["reason"], "a failure without a reason"
    return {name: value for name, value in outcome.items() if name != "reason"}


# --- the records -----------------------------------------------------------------------------------------------------


def record_form(case: Case, line: str, *, decision_id: str, revision: str) -> Json:
    """The decision-log record without what is different every time; that is checked here.

    Digests are checked too, and left out unless the case expects them.
    """
    record: Json = json.loads(line, object_pairs_hook=no_key_twice)
    for place in ("writer", "seq", "hash"):
        record.pop(place, None)  # its place in the chain, once it is in one
    assert _TIME.fullmatch(record.pop("time"))
    assert record.pop("decision_id") == decision_id
    assert record.pop("revision") == revision
    for timed in (record, *record.get("interceptors", ())):
        duration = timed.pop("duration_us")
        assert type(duration) is int
        assert duration >= 0
    for name, content in _digested(case).items():
        if name in record and name not in (case.log or {}):
            assert record.pop(name) == hashlib.sha256(content).hexdigest()
    return without_open_reasons(record, case.log)


def _digested(case: Case) -> Json:
    """What the digests are of that the case need not repeat, by their names in the record."""
    policy = case.config.get("decision_log", {}).get("arguments", "hash")
    if policy == "none":
        return {}
    digested = {"result_sha256": case.documents.get("result", b"")}
    if policy == "hash":
        digested["arguments_sha256"] = case.documents.get("arguments", b"")
    # Where a call is denied after it was changed, the answer does not have what it was changed to: the case has to say.
    for payload in ("arguments_json", "result_json"):
        if case.response is not None and payload in case.response:
            digested["payload_sha256"] = case.response[payload].encode()
    return digested
