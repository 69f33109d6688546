"""The corpus as values: cases read strictly.

README.md has the format; `forms` has what the service says in the form in which cases expect it. Nothing here asks
anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from pdp._gen.pdp.v1 import decision_service_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(__file__).resolve().parent / "cases"

#: Where a case can be asked, in the words of `not_at`.
LEVELS = frozenset({"core", "server", "cli"})
#: The RPCs that cases ask, with the messages of their requests and of their answers.
RPCS: Mapping[str, tuple[type[Message], type[Message]]] = {
    "Authorize": (pb.AuthorizeRequest, pb.AuthorizeResponse),
    "Decide": (pb.DecideRequest, pb.DecideResponse),
    "FilterTools": (pb.FilterToolsRequest, pb.FilterToolsResponse),
    "Intercept": (pb.InterceptRequest, pb.InterceptResponse),
}
#: A document of a question to the field of the request that it fills.
_DOCUMENTS = {
    "arguments": "arguments_json",
    "context": "context_json",
    "entities": "entities_json",
    "result": "result_json",
    "definition": "definition_json",
}
_QUESTION_KEYS = {"rpc", "request", "definitions", "definitions_hex", *_DOCUMENTS, *(f"{n}_hex" for n in _DOCUMENTS)}
_KEYS = {"name", "bundle", "config", "after", "not_at", "expect", *_QUESTION_KEYS}
_EXPECTATIONS = ({"response", "log"}, {"error"})
#: FilterTools decides nothing, so it writes no record.
_UNRECORDED = ({"response"}, {"error"})

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request to one RPC.

    `documents` are the bytes of `arguments`, `context` and so on as far as they are given, `definitions` those of the
    tools of a list, by name.
    """

    rpc: str
    request: Json
    documents: Mapping[str, bytes]
    definitions: Mapping[str, bytes]

    def message(self) -> Any:
        """The request as a message of its RPC."""
        message: Any = json_format.ParseDict(self.request, RPCS[self.rpc][0]())
        for name, content in self.documents.items():
            part = message.tool_call if name == "arguments" else message
            setattr(part, _DOCUMENTS[name], content)
        for tool in message.tools if self.definitions else ():
            if tool.name in self.definitions:
                tool.definition_json = self.definitions[tool.name]
        return message

    def asked_tools(self) -> set[tuple[str, str]]:
        """The tools, with their servers, that the question is about and that can have changed for it."""
        if self.rpc == "FilterTools":
            return {(self.request.get("server", ""), tool.get("name", "")) for tool in self.request.get("tools", ())}
        if self.rpc == "Intercept" or "tool_call" not in self.request:
            return set()
        call = self.request["tool_call"]
        return {(call.get("server", ""), call.get("tool", ""))}

    def reported_tools(self) -> set[tuple[str, str]]:
        """The tools of which the question brings a definition."""
        asked = self.asked_tools()
        return asked if "definition" in self.documents else {tool for tool in asked if tool[1] in self.definitions}


@dataclass(frozen=True, kw_only=True)
class Case(Question):
    """One case. Either `response` is set, and `log` where there is a record, or `error` is.

    `bundle` is a path below the repository's root, `after` what is asked before it, `not_at` the levels that cannot
    ask it, each with the reason.
    """

    name: str
    file: str
    bundle: str
    config: Json
    after: tuple[Question, ...]
    not_at: Mapping[str, str]
    response: Json | None
    log: Json | None
    error: Json | None

    @property
    def setting(self) -> tuple[str, str]:
        """The bundle and the configuration, as a key: cases with equal ones can share a service."""
        return self.bundle, json.dumps(self.config, sort_keys=True)

    @property
    def is_plain(self) -> bool:
        """Whether policies alone are asked: such a case can be a part of a batch."""
        return self.rpc == "Authorize" and not self.after


@cache
def load_cases() -> tuple[Case, ...]:
    """Every case, in the order of files and cases. Raises ValueError for a case that is not of the format."""
    files = [(path.stem, path.read_text("utf-8")) for path in sorted(CASES.glob("*.json"))]
    return tuple(case for stem, text in files for case in parse_cases(stem, text))


def parse_cases(file: str, text: str) -> list[Case]:
    """The cases of one file."""
    return [_case(file, expand(form)) for form in json.loads(text, object_pairs_hook=no_key_twice)]


def no_key_twice(pairs: list[tuple[str, Any]]) -> Json:
    """An object of JSON. Raises ValueError where a key stands twice."""
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
    expect = form["expect"]
    expectations = _UNRECORDED if form.get("rpc") == "FilterTools" else _EXPECTATIONS
    if form.keys() - _KEYS or expect.keys() not in expectations or not LEVELS.issuperset(form.get("not_at", {})):
        raise _not_of_the_format(file, form, _KEYS)
    return Case(
        **vars(_question(file, {key: form[key] for key in form.keys() & _QUESTION_KEYS})),
        name=form["name"],
        file=file,
        bundle=form["bundle"],
        config=form.get("config", {}),
        after=tuple(_question(file, before) for before in form.get("after", ())),
        not_at=form.get("not_at", {}),
        response=expect.get("response"),
        log=expect.get("log"),
        error=expect.get("error"),
    )


def _question(file: str, form: Json) -> Question:
    rpc = form.get("rpc", "Authorize")
    definitions = {name: text.encode() for name, text in form.get("definitions", {}).items()}
    definitions |= {name: bytes.fromhex(digits) for name, digits in form.get("definitions_hex", {}).items()}
    listed = {tool.get("name") for tool in form["request"].get("tools", ())}
    if form.keys() - _QUESTION_KEYS or rpc not in RPCS or not listed.issuperset(definitions):
        raise _not_of_the_format(file, form, _QUESTION_KEYS)
    documents = {name: content for name in _DOCUMENTS if (content := _document(form, name)) is not None}
    return Question(rpc=rpc, request=form["request"], documents=documents, definitions=definitions)


def _not_of_the_format(file: str, form: Json, keys: set[str]) -> ValueError:
    named = form.get("name", form.get("request"))
    return ValueError(f"{file}: `{named}` is not of the format; unknown keys: {sorted(form.keys() - keys)}")


def _document(form: Json, name: str) -> bytes | None:
    if f"{name}_hex" in form:
        return bytes.fromhex(form[f"{name}_hex"])
    return form[name].encode() if name in form else None
