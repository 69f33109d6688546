"""The corpus as values: cases read strictly, and what the service says in the form in which cases expect it.

README.md has the format. Nothing here asks anything.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.model import Authorization

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(__file__).resolve().parent / "cases"

#: Where a case can be asked, in the words of `not_at`.
LEVELS = frozenset({"core", "server", "cli"})
#: A document of a case to the field of the request that it fills.
_DOCUMENTS = {"arguments": "arguments_json", "context": "context_json", "entities": "entities_json"}
_KEYS = {
    "name",
    "bundle",
    "config",
    "request",
    "not_at",
    "expect",
    *_DOCUMENTS,
    *(f"{name}_hex" for name in _DOCUMENTS),
}
_EXPECTATIONS = ({"response", "log"}, {"error"})
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One case. Either `response` and `log` are set or `error` is.

    `bundle` is a path below the repository's root, `documents` the bytes of `arguments`, `context` and `entities` as
    far as they are given, `not_at` the levels that cannot ask it, each with the reason.
    """

    name: str
    file: str
    bundle: str
    config: Json
    request: Json
    documents: Mapping[str, bytes]
    not_at: Mapping[str, str]
    response: Json | None
    log: Json | None
    error: Json | None

    @property
    def setting(self) -> tuple[str, str]:
        """The bundle and the configuration, as a key: cases with equal ones can share a service."""
        return self.bundle, json.dumps(self.config, sort_keys=True)

    def message(self) -> pb.AuthorizeRequest:
        """The request as a message."""
        message = json_format.ParseDict(self.request, pb.AuthorizeRequest())
        for name, content in self.documents.items():
            part = message.tool_call if name == "arguments" else message
            setattr(part, _DOCUMENTS[name], content)
        return message


@cache
def load_cases() -> tuple[Case, ...]:
    """Every case, in the order of files and cases. Raises ValueError for a case that is not of the format."""
    files = [(path.stem, path.read_text("utf-8")) for path in sorted(CASES.glob("*.json"))]
    return tuple(case for stem, text in files for case in parse_cases(stem, text))


def parse_cases(file: str, text: str) -> list[Case]:
    """The cases of one file."""
    return [_case(file, expand(form)) for form in json.loads(text, object_pairs_hook=_no_key_twice)]


def _no_key_twice(pairs: list[tuple[str, Any]]) -> Json:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError(f"a key stands twice in {sorted(value)}")
    return value


def expand(value: Any) -> Any:
    """`value` with every `{"$text": [part, …]}` replaced by the text that it describes."""
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$text"}:
        return "".join(part if isinstance(part, str) else part["repeat"] * part["times"] for part in value["$text"])
    return {key: expand(inner) for key, inner in value.items()}


def _case(file: str, form: Json) -> Case:
    unknown = form.keys() - _KEYS
    expect = form["expect"]
    if unknown or expect.keys() not in _EXPECTATIONS or not LEVELS.issuperset(form.get("not_at", {})):
        raise ValueError(f"{file}: `{form.get('name')}` is not of the format; unknown keys: {sorted(unknown)}")
    return Case(
        name=form["name"],
        file=file,
        bundle=form["bundle"],
        config=form.get("config", {}),
        request=form["request"],
        documents={name: content for name in _DOCUMENTS if (content := _document(form, name)) is not None},
        not_at=form.get("not_at", {}),
        response=expect.get("response"),
        log=expect.get("log"),
        error=expect.get("error"),
    )


def _document(form: Json, name: str) -> bytes | None:
    if f"{name}_hex" in form:
        return bytes.fromhex(form[f"{name}_hex"])
    return form[name].encode() if name in form else None


# --- what the service says, in the form of the cases ---------------------------------------------------------------


def answer_form(answer: Authorization) -> Json:
    """The core's answer."""
    form: Json = {"decision": _decision(answer.allowed)}
    if answer.denial is not None:
        form["denial"] = {"code": f"DENIAL_CODE_{answer.denial.code.value}", "message": answer.denial.message}
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
    return form


def _decision(allowed: bool) -> str:
    return "DECISION_ALLOW" if allowed else "DECISION_DENY"


def expected_error(case: Case, error: Json) -> Json:
    """What the case expects of `error`, so that the two can be compared: a case may leave the message open."""
    assert case.error is not None, f"an error where a decision was expected: {error}"
    return {**error, **case.error}


def response_form(response: pb.AuthorizeResponse) -> Json:
    """The service's answer without the decision id and the revision."""
    kept = pb.AuthorizeResponse()
    kept.CopyFrom(response)
    kept.ClearField("decision_id")
    kept.ClearField("revision")
    form: Json = json_format.MessageToDict(kept, preserving_proto_field_name=True)
    return form


def record_form(case: Case, line: str, *, decision_id: str, revision: str) -> Json:
    """The decision-log record without what is different every time; that is checked here.

    The digest of the arguments is checked too, and left out unless the case expects it.
    """
    record: Json = json.loads(line, object_pairs_hook=_no_key_twice)
    assert _TIME.fullmatch(record.pop("time"))
    assert record.pop("decision_id") == decision_id
    assert record.pop("revision") == revision
    duration = record.pop("duration_us")
    assert type(duration) is int
    assert duration >= 0
    if "arguments_sha256" in record:
        digest = hashlib.sha256(case.documents.get("arguments", b"")).hexdigest()
        assert record["arguments_sha256"] == digest
        if case.log is not None and "arguments_sha256" not in case.log:
            del record["arguments_sha256"]
    return record
