"""AuthZEN over real HTTP against the real service: decisions, lists, and what becomes of faults."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pdp.errors import ConfigError, DeadlineExceededError, UnavailableError
from pdp.identity.callers import ANYONE
from pdp.limits_config import LimitsConfig
from pdp.servicers.gateways.authzen import Decisions, HttpCall
from pdp.servicers.gateways.authzen_connection import ConnectionLimits
from pdp.servicers.gateways.authzen_server import HttpServer, ServerOptions
from tests.gateways.authzen_service import (
    BUNDLE,
    EVALUATION,
    EVALUATIONS,
    POLICIES,
    AuthZenService,
    asked,
    called,
    serving,
)


@pytest.fixture(scope="module")
def service() -> Iterator[AuthZenService]:
    with serving(POLICIES) as found:
        yield found


def test_a_tool_call_is_decided_by_its_arguments(service: AuthZenService) -> None:
    """The arguments of a tool call are typed and decide."""
    assert service.ask(EVALUATION, called("srv/write", arguments={"n": 3})).decision is True
    assert service.ask(EVALUATION, called("srv/write", arguments={"n": 30})).decision is False


def test_reasons(service: AuthZenService) -> None:
    """A denial says why, and names the policies with their annotations."""
    answer = service.ask(EVALUATION, called("srv/read", arguments={"owner": "secret"}))
    assert answer.decision is False
    context = answer.document["context"]
    assert (context["code"], context["reason"]) == ("FORBIDDEN", "not this one")
    assert context["policies"] == [
        {
            "id": "secret",
            "effect": "forbid",
            "annotations": {"advice": "ask the owner", "id": "secret", "message": "not this one"},
        }
    ]


def test_shadow(service: AuthZenService) -> None:
    """What a shadow policy would have changed is told, and changes nothing."""
    answer = service.ask(EVALUATION, called("srv/write", arguments={"n": 3}))
    assert answer.decision is True
    assert answer.document["context"]["shadow"] == {
        "decision": False,
        "flipping_policies": ["maybe"],
        "matched_policies": ["maybe"],
    }


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (called("srv/gone"), "UNKNOWN_TOOL"),
        (called("gone/read"), "UNKNOWN_TOOL"),
        (called("srv/read", arguments=[]), "INVALID_ARGUMENTS"),
        (called("srv/read", arguments={"n": 2**63}), "INVALID_ARGUMENTS"),
        (called("srv/read", arguments={"n": 1.5}), "INVALID_ARGUMENTS"),
        (called("other/drop"), "NO_MATCHING_POLICY"),
        (asked("read", "e"), "NO_MATCHING_POLICY"),
    ],
)
def test_denials(service: AuthZenService, document: Any, code: str) -> None:
    """What the agent got wrong, and what nobody permits, is a 200 with a denial."""
    answer = service.ask(EVALUATION, document)
    assert answer.decision is False
    assert answer.document["context"]["code"] == code


def test_decisions_are_recorded(service: AuthZenService) -> None:
    """Each decision is a line in the decision log, under the id of the answer and the id of the request."""
    answer = service.ask(EVALUATION, asked(), X_Request_ID="req-1")
    [record] = [
        line for line in service.log.records if line["decision_id"] == answer.document["context"]["decision_id"]
    ]
    assert record["request_id"] == "req-1"
    assert answer.document["context"]["revision"] == record["revision"]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (asked(kind="not a type"), "subject.type"),
        ({**asked(), "resource": {"type": "a b", "id": "x"}}, "resource.type"),
        (asked(context={"x": 1.5}), "context"),
        (called("srv/read", context={"undeclared": True, "input": {}}), "context"),
        ({**asked(), "subject": {"type": "Agent", "id": "a", "properties": {"x": None}}}, "properties"),
    ],
)
def test_what_the_core_refuses(service: AuthZenService, document: Any, field: str) -> None:
    """What the core finds malformed is a 400 that names the member in AuthZEN's words."""
    error = service.ask(EVALUATION, document).error
    assert (error["status"], error["field"]) == (400, field)


def test_properties_never_change_what_the_bundle_says() -> None:
    """Properties that differ from what the bundle knows about an entity are refused, and do not silently lose."""
    entity = {"uid": {"type": "Agent", "id": "a"}, "attrs": {"role": "reader"}, "parents": []}
    with serving({**BUNDLE, "entities/a.json": json.dumps([entity])}) as service:
        document = asked()
        document["subject"]["properties"] = {"role": "admin"}
        assert service.ask(EVALUATION, document).error["field"] == "properties"
        document["subject"]["properties"] = {"role": "reader"}
        assert service.ask(EVALUATION, document).decision is True


# --- lists ------------------------------------------------------------------------------------------------------------

ALLOWED, DENIED = {"resource": {"type": "Doc", "id": "d"}}, {"resource": {"type": "Doc", "id": "e"}}


@pytest.mark.parametrize(
    ("semantic", "items", "expected"),
    [
        ("execute_all", [ALLOWED, DENIED, ALLOWED], [True, False, True]),
        ("deny_on_first_deny", [ALLOWED, DENIED, ALLOWED], [True, False]),
        ("deny_on_first_deny", [ALLOWED, {"resource": 1}, ALLOWED], [True, False]),
        ("deny_on_first_deny", [ALLOWED, ALLOWED], [True, True]),
        ("permit_on_first_permit", [DENIED, ALLOWED, DENIED], [False, True]),
        ("permit_on_first_permit", [DENIED, {}, "x"], [False, False, False]),
    ],
)
def test_semantics(semantic: str, items: list[Any], expected: list[bool]) -> None:
    """A list ends where its semantic says, with the decision that ended it, and nothing behind is decided."""
    with serving(POLICIES) as service:
        document = {
            "subject": {"type": "Agent", "id": "a"},
            "action": {"name": "read"},
            "options": {"evaluations_semantic": semantic, "other": 1},
            "evaluations": items,
        }
        answer = service.ask(EVALUATIONS, document)
        assert [item["decision"] for item in answer.document["evaluations"]] == expected
        malformed = sum("resource" not in item or item["resource"] == 1 for item in items[: len(expected)])
        assert len(service.log.records) == len(expected) - malformed


def test_items_say_what_is_wrong(service: AuthZenService) -> None:
    """A malformed item is a denial with the mistake in its context; tools and other questions may stand together."""
    items = [{"resource": {"type": "Doc"}}, "x", called("srv/read"), {"subject": {"type": "a b", "id": "x"}}]
    answer = service.ask(EVALUATIONS, {**asked(), "evaluations": items})
    found = answer.document["evaluations"]
    assert [item["decision"] for item in found] == [False, False, True, False]
    assert [item["context"].get("error", {}).get("field") for item in found] == [
        "resource.id",
        "evaluations",
        None,
        "subject.type",
    ]


def test_lists_are_bounded() -> None:
    """More questions than configured are refused before any is decided."""
    with serving(POLICIES, limits=LimitsConfig(batch_requests=3)) as service:
        assert service.ask(EVALUATIONS, {**asked(), "evaluations": [{}] * 4}).error["status"] == 413
        assert service.log.records == []
        assert len(service.ask(EVALUATIONS, {**asked(), "evaluations": [{}] * 3}).document["evaluations"]) == 3


def test_ten_thousand_questions(service: AuthZenService) -> None:
    """A list of 10,000 is refused by its length, and one with as many as are allowed is answered."""
    assert service.ask(EVALUATIONS, {**asked(), "evaluations": [{}] * 10_000}).error["reason"] == "OVER_LIMIT"
    answer = service.ask(EVALUATIONS, {**asked(), "evaluations": [ALLOWED] * 5_000})
    assert [item["decision"] for item in answer.document["evaluations"]] == [True] * 5_000


# --- faults -----------------------------------------------------------------------------------------------------------


class Failing:
    """Stands before the service and fails instead."""

    def __init__(self, inner: Decisions, error: Exception) -> None:
        self.Decide = inner.Decide
        self.FilterTools = inner.FilterTools
        self._error = error

    def Authorize(self, request: Any, call: Any) -> Any:
        """Fail."""
        raise self._error


def test_bugs_tell_nothing() -> None:
    """A bug is a 500 with an id, and nothing of its cause; in a list too it is no decision."""
    with serving(around=lambda inner: Failing(inner, RuntimeError("secret cause"))) as service:
        for path, document in ((EVALUATION, asked()), (EVALUATIONS, {**asked(), "evaluations": [{}]})):
            answer = service.ask(path, document, X_Request_ID="req-9")
            assert answer.error["status"] == 500
            assert b"secret" not in answer.body
            assert answer.headers["x-request-id"] == "req-9"


def test_not_ready() -> None:
    """A service that cannot decide says so, and gives no decision."""
    with serving(around=lambda inner: Failing(inner, UnavailableError("no bundle is loaded"))) as service:
        assert service.ask(EVALUATION, asked()).error["status"] == 503


def test_too_late() -> None:
    """A service that runs out of time says so, and gives no decision."""
    with serving(around=lambda inner: Failing(inner, DeadlineExceededError("the deadline passed"))) as service:
        assert service.ask(EVALUATION, asked()).error["status"] == 504


def test_time_runs_out() -> None:
    """A request's time is over at its deadline, and never negative."""
    now = time.monotonic()
    assert HttpCall(ANYONE, "", now - 1).time_remaining() == 0
    assert 0 < HttpCall(ANYONE, "", now + 60).time_remaining() <= 60


def test_an_address_in_use(service: AuthZenService) -> None:
    """An address that is in use is a mistake in the configuration, told when the service starts."""
    with pytest.raises(ConfigError, match="cannot listen on"):
        HttpServer(service.address, ConnectionLimits(1_000), ServerOptions())
