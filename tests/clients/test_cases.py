"""The cases themselves: that they are read strictly, and that nothing is missing."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cases import CaseError, read_case, read_cases
from tests.clients.messages import METHODS, filled, request_of, response_of, written
from tests.clients.runner import CLIENTS, LANGUAGES

GOOD: dict[str, Any] = {
    "name": "a claim",
    "servers": {"main": {"kind": "scripted", "answers": {"Decide": [{"status": "INTERNAL"}]}}},
    "steps": [
        {"open": "a", "server": "main", "options": {"tls": {"ca": "right"}}},
        {"call": "a", "method": "Decide", "request": {}, "expect": {"error": {"code": "INTERNAL"}}},
    ],
}


def spoiled(path: list[str | int], value: Any) -> dict[str, Any]:
    """The good case with one thing changed."""
    case = copy.deepcopy(GOOD)
    inside: Any = case
    for name in path[:-1]:
        inside = inside[name]
    inside[path[-1]] = value
    return case


def test_the_good_case_is_one() -> None:
    """What the other tests spoil is a case."""
    assert str(read_case("g", GOOD)) == "g: a claim"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["comment"], "x"),
        (["servers", "main", "kind"], "magic"),
        (["servers", "main", "port"], 1),
        (["servers", "main", "tls"], "yes"),
        (["servers", "main", "answers", "Decide"], []),
        (["servers", "main", "answers", "Guess"], [{"never": True}]),
        (["servers", "main", "answers", "Decide", 0], {"never": True, "status": "INTERNAL"}),
        (["servers", "main", "answers", "Decide", 0], {"never": True, "after": 1}),
        (["steps", 0, "server"], "other"),
        (["steps", 0, "target"], "127.0.0.1:1"),
        (["steps", 0, "options", "timeout"], 1),
        (["steps", 0, "options", "tls", "insecure"], True),
        (["steps", 0, "stop"], "main"),
        (["steps", 1, "method"], "Guess"),
        (["steps", 1, "timeout_ms"], 1),
        (["steps", 1, "expect"], {}),
        (["steps", 1, "expect"], {"allowed": True}),
        (["steps", 1, "expect"], {"error": {}}),
        (["steps", 1, "expect"], {"error": {"code": "INTERNAL", "text": "x"}}),
        (["steps", 1, "expect"], {"error": {"code": "INTERNAL"}, "allowed": False}),
        (["steps", 1], {"wait": 5}),
        (["steps", 1], {"open": "a", "server": "main"}),
        (["steps", 1], {"close": "b"}),
        (["steps", 0, "refused"], True),
    ],
)
def test_a_case_that_says_something_else_is_refused(path: list[str | int], value: Any) -> None:
    """A misspelt or unknown member would be a case that claims less than it seems to, so it is a mistake."""
    with pytest.raises(CaseError):
        read_case("g", spoiled(path, value))


@pytest.mark.parametrize(
    "text", ['[{"name": "a", "name": "b", "servers": {}, "steps": []}]', '[{"steps": []}]', "[", "[1]"]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Members that are there twice, or missing, and JSON that is none, are mistakes of the file."""
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CaseError, match=r"x\.json"):
        read_cases(tmp_path)


def test_every_method_is_asked_in_a_real_service_and_fails_somewhere() -> None:
    """The cases have an exact answer of the real service for each method, and an error of each."""
    answered, failed = set(), set()
    for case in read_cases():
        for step in case.steps:
            if "call" in step and "error" in step["expect"]:
                failed.add(step["method"])
            elif "call" in step and any(server["kind"] == "service" for server in case.servers.values()):
                answered.add(step["method"])
    assert answered == failed == set(METHODS)


def test_messages_of_the_cases_are_messages() -> None:
    """Every message that a case writes can be read, so that a misspelt field is no empty one."""
    for case in read_cases():
        for step in case.steps:
            if "request" in step:
                request_of(step["method"], step["request"])
        for server in case.servers.values():
            for method, answers in server.get("answers", {}).items():
                for answer in answers:
                    response_of(method, answer.get("response", {}))


def test_a_star_is_any_text_that_is_not_empty() -> None:
    """`*` stands for a text, and for nothing else; everything beside it is compared."""
    actual = {"a": "x", "b": ["y", "z"], "c": {"d": "w"}}
    assert filled({"a": "*", "b": ["*", "z"], "c": {"d": "*"}}, actual) == actual
    others: list[Any] = [{"a": "", "b": []}, {"b": []}, {"a": 1, "b": []}, {"a": ["x"], "b": []}]
    for other in [*others, {"a": "x", "b": [], "c": 1}]:
        assert filled({"a": "*", "b": []}, other) != other


def test_json_is_written_as_text() -> None:
    """What a case writes as the text of a `*_json` member is its UTF-8 in the message, and comes back as text."""
    fields = {"tool_call": {"tool": {"repeat": "ab", "times": 2}, "arguments_json": '{"é": 1}'}}
    message = request_of("Decide", fields)
    assert message.tool_call.arguments_json == '{"é": 1}'.encode()  # type: ignore[attr-defined]
    assert written(message) == {"tool_call": {"tool": "abab", "arguments_json": '{"é": 1}'}}


@pytest.mark.parametrize("language", LANGUAGES)
def test_there_is_a_client(language: str) -> None:
    """Each language has its page, its generator and its conformance program, which can be started."""
    assert (CLIENTS / language / "README.md").is_file()
    for script in ("conformance", "generate"):
        assert os.access(CLIENTS / language / script, os.X_OK)


def test_no_language_is_left_out() -> None:
    """A client that has a conformance program is tested."""
    assert {path.parent.name for path in CLIENTS.glob("*/conformance") if path.is_file()} == set(LANGUAGES)


def test_what_is_tried_again() -> None:
    """Only UNAVAILABLE is tried again, twice at most, and only for DecisionService, whose RPCs can be repeated."""
    config = json.loads((CLIENTS / "service_config.json").read_text())
    [method] = config["methodConfig"]
    assert method["name"] == [{"service": "pdp.v1.DecisionService"}]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert method["retryPolicy"]["maxAttempts"] == 3
