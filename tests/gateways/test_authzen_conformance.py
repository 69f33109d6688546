"""The public certification scenario of the AuthZEN working group: its fixture as Cedar policies, its requests as given.

The fixture and the requests are those of "AuthZEN Authorization API 1.0 - Certification Scenario". Searches other than
for tools are not served.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bundles import Files
from tests.gateways.authzen_service import EVALUATION, EVALUATIONS, AuthZenService, serving

FIXTURE: Files = {
    "policies/records.cedar": """
        @id("read") permit(principal is user, action == Action::"read", resource is record);
        @id("write") permit(principal == user::"alice", action == Action::"write", resource is record)
          unless { resource has status && resource.status == "archived" };
        @id("admin") permit(principal is user, action == Action::"write", resource is record)
          when { principal has role && principal.role == "admin" }
          when { resource has status && resource.status == "archived" };
        @id("soft") permit(principal == user::"alice", action == Action::"delete", resource is record)
          when { context has action_properties && context.action_properties.soft };
    """
}

ALICE = {"type": "user", "id": "alice"}
BOB = {"type": "user", "id": "bob"}
ADMIN = {**BOB, "properties": {"role": "admin"}}
RECORD = {"type": "record", "id": "record-1"}
ACTIVE = {**RECORD, "properties": {"status": "active"}}
ARCHIVED = {"type": "record", "id": "record-2", "properties": {"status": "archived"}}


def named(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "properties": properties} if properties else {"name": name}


@pytest.fixture(scope="module")
def service() -> Iterator[AuthZenService]:
    with serving(FIXTURE) as found:
        yield found


DECISIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], bool]] = {
    "rule 1": (ALICE, named("read"), RECORD, {}, True),
    "rule 2": (ALICE, named("write"), RECORD, {}, True),
    "rule 3": (BOB, named("read"), RECORD, {}, True),
    "rule 4": (BOB, named("write"), RECORD, {}, False),
    "rule 5": (ALICE, named("write"), ARCHIVED, {}, False),
    "rule 6": (ADMIN, named("write"), ARCHIVED, {}, True),
    "rule 7": (ALICE, named("delete", soft=True), RECORD, {}, True),
    "rule 8": (ALICE, named("delete", soft=False), RECORD, {}, False),
    "with a context": (
        ALICE,
        named("read"),
        RECORD,
        {"context": {"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"}},
        True,
    ),
    "with more properties": (
        {**ALICE, "properties": {"department": "Sales", "role": "manager"}},
        named("read", method="GET"),
        {**RECORD, "properties": {"status": "active", "owner": "bob"}},
        {},
        True,
    ),
    "with unknown members": (ALICE, named("read"), RECORD, {"foo": "bar", "futureField": {"nested": True}}, True),
}


@pytest.mark.parametrize("case", DECISIONS)
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS])
def test_single_decisions(service: AuthZenService, case: str, path: str) -> None:
    """Each required decision comes out, from the endpoint for lists too where there is no list."""
    subject, action, resource, more, expected = DECISIONS[case]
    document = {"subject": subject, "action": action, "resource": resource, **more}
    assert service.ask(path, document).decision is expected
    assert service.ask(EVALUATIONS, {**document, "evaluations": []}).decision is expected


LISTS: dict[str, tuple[dict[str, Any], list[bool]]] = {
    "same subject and action": (
        {"subject": ALICE, "action": named("read"), "evaluations": [{"resource": RECORD}, {"resource": ARCHIVED}]},
        [True, True],
    ),
    "same subject and resource": (
        {"subject": BOB, "resource": RECORD, "evaluations": [{"action": named("read")}, {"action": named("write")}]},
        [True, False],
    ),
    "properties of resources": (
        {"subject": ALICE, "action": named("write"), "evaluations": [{"resource": ACTIVE}, {"resource": ARCHIVED}]},
        [True, False],
    ),
    "properties of subjects": (
        {"action": named("write"), "resource": ARCHIVED, "evaluations": [{"subject": ALICE}, {"subject": ADMIN}]},
        [False, True],
    ),
    "no defaults": (
        {
            "evaluations": [
                {"subject": ALICE, "action": named("read"), "resource": RECORD},
                {"subject": BOB, "action": named("write"), "resource": RECORD},
            ]
        },
        [True, False],
    ),
    "a context for all but one": (
        {
            "subject": ALICE,
            "action": named("read"),
            "context": {"time": "2025-06-27T18:03-07:00"},
            "evaluations": [
                {"resource": RECORD},
                {"resource": ARCHIVED, "context": {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}},
            ],
        },
        [True, True],
    ),
    "a malformed item": (
        {"subject": ALICE, "action": named("read"), "evaluations": [{"resource": RECORD}, {}]},
        [True, False],
    ),
}


@pytest.mark.parametrize("case", LISTS)
def test_lists(service: AuthZenService, case: str) -> None:
    """A list is answered in full and in order, and without a decision of its own."""
    document, expected = LISTS[case]
    answer = service.ask(EVALUATIONS, document)
    assert answer.status == 200
    assert answer.document.keys() == {"evaluations"}
    assert [item["decision"] for item in answer.document["evaluations"]] == expected


WHOLE = {"subject": ALICE, "action": named("read"), "resource": RECORD}
REFUSED: dict[str, Any] = {
    "no subject": {"action": named("read"), "resource": RECORD},
    "no action": {"subject": ALICE, "resource": RECORD},
    "no resource": {"subject": ALICE, "action": named("read")},
    "subject without type": {**WHOLE, "subject": {"id": "alice"}},
    "subject without id": {**WHOLE, "subject": {"type": "user"}},
    "action without name": {**WHOLE, "action": {}},
    "resource without type": {**WHOLE, "resource": {"id": "record-1"}},
    "resource without id": {**WHOLE, "resource": {"type": "record"}},
    "subject is a string": {**WHOLE, "subject": "alice"},
    "name is a number": {**WHOLE, "action": {"name": 123}},
    "malformed": b'{"subject": ',
    "empty": b"",
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes(service: AuthZenService, case: str) -> None:
    """What is missing, of a wrong type or no JSON is a 400."""
    assert service.ask(EVALUATION, REFUSED[case]).error["status"] == 400


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
def test_content_types(service: AuthZenService, content_type: str) -> None:
    """What does not call itself JSON is a 400."""
    assert service.ask(EVALUATION, WHOLE, Content_Type=content_type).error["reason"] == "INVALID_CONTENT_TYPE"


def test_request_ids(service: AuthZenService) -> None:
    """A request id comes back as it was, with decisions and with mistakes; without one the answer has none."""
    assert service.ask(EVALUATION, WHOLE, X_Request_ID="bfe9-42").headers["x-request-id"] == "bfe9-42"
    assert service.ask(EVALUATION, {}, X_Request_ID="bfe9-43").headers["x-request-id"] == "bfe9-43"
    assert "x-request-id" not in service.ask(EVALUATION, WHOLE).headers


def test_idempotent(service: AuthZenService) -> None:
    """The same question gets the same decision each time."""
    assert {service.ask(EVALUATION, WHOLE).decision for _ in range(5)} == {True}


def test_metadata(service: AuthZenService) -> None:
    """The metadata names the service and the endpoints that there are, and not the one that there is not."""
    answer = service.request("GET", "/.well-known/authzen-configuration")
    url = f"http://{service.address}"
    assert answer.status == 200
    assert answer.document == {
        "policy_decision_point": url,
        "access_evaluation_endpoint": f"{url}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{url}/access/v1/evaluations",
        "search_resource_endpoint": f"{url}/access/v1/search/resource",
        "search_action_endpoint": f"{url}/access/v1/search/action",
    }
