"""Protobuf to the words of the core and back."""

from __future__ import annotations

from typing import Any

import pytest

from pdp import wire
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.cache import BoundedCache
from pdp.cedar.model import (
    ActionQuery,
    Authorization,
    Denial,
    DenialCode,
    DeterminingPolicy,
    EntityUid,
    PolicyError,
    ShadowReport,
    ToolQuery,
)
from pdp.errors import InvalidRequestError, InvalidTokenError

UID = {"type": "Agent", "id": "a"}
CALL = {"server": "s", "tool": "t"}
TOOL_CALL: dict[str, Any] = {"subject": {"entity": UID}, "tool_call": CALL}
ACTION: dict[str, Any] = {"subject": {"entity": UID}, "action_on_resource": {"action": UID, "resource": UID}}


def _request(**fields: Any) -> pb.AuthorizeRequest:
    return pb.AuthorizeRequest(**fields)


def _changed(request: dict[str, Any], path: str, value: Any) -> pb.AuthorizeRequest:
    """The request with the value at `path` replaced, or removed for None."""
    head, *rest = path.split(".")
    whole = dict(request)
    inner = whole
    for name in [head, *rest][:-1]:
        inner[name] = dict(inner[name])
        inner = inner[name]
    inner.pop(path.rpartition(".")[2], None)
    if value is not None:
        inner[path.rpartition(".")[2]] = value
    return _request(**whole)


@pytest.mark.parametrize(
    ("request_", "removed", "field"),
    [
        (TOOL_CALL, "subject", "subject"),
        (TOOL_CALL, "subject.entity", "subject"),
        (TOOL_CALL, "subject.entity.type", "subject.entity.type"),
        (TOOL_CALL, "subject.entity.id", "subject.entity.id"),
        (TOOL_CALL, "tool_call", "target"),
        (TOOL_CALL, "tool_call.server", "tool_call.server"),
        (TOOL_CALL, "tool_call.tool", "tool_call.tool"),
        (ACTION, "subject", "subject"),
        (ACTION, "action_on_resource", "target"),
        (ACTION, "action_on_resource.action", "action_on_resource.action.type"),
        (ACTION, "action_on_resource.action.type", "action_on_resource.action.type"),
        (ACTION, "action_on_resource.action.id", "action_on_resource.action.id"),
        (ACTION, "action_on_resource.resource", "action_on_resource.resource.type"),
        (ACTION, "action_on_resource.resource.type", "action_on_resource.resource.type"),
        (ACTION, "action_on_resource.resource.id", "action_on_resource.resource.id"),
    ],
)
def test_every_missing_field_is_named(request_: dict[str, Any], removed: str, field: str) -> None:
    """A field without which there is no question is missed by its path."""
    with pytest.raises(InvalidRequestError) as caught:
        wire.read_authorize(_changed(request_, removed, None))
    assert (caught.value.field, caught.value.reason) == (field, "MISSING_FIELD")


@pytest.mark.parametrize(
    ("request_", "field"),
    [(TOOL_CALL, "request_id"), (ACTION, "request_id"), (TOOL_CALL, "tool_call.session_id")],
)
def test_ids_that_are_carried_along_are_bounded(request_: dict[str, Any], field: str) -> None:
    """256 characters are enough for the id of a request or a session; more are refused."""
    wire.read_authorize(_changed(request_, field, "é" * 256))
    with pytest.raises(InvalidRequestError) as caught:
        wire.read_authorize(_changed(request_, field, "x" * 257))
    assert (caught.value.field, caught.value.reason) == (field, "TOO_LONG")


def test_a_tool_call_is_read_whole() -> None:
    """Every part of a tool call reaches the core as it was sent."""
    call = {**CALL, "arguments_json": b"\xff{", "session_id": "s1"}
    request = _request(subject={"entity": UID}, tool_call=call, context_json=b"{", entities_json=b"[")
    expected = ToolQuery(EntityUid("Agent", "a"), "s", "t", b"\xff{", "s1", b"{", b"[")
    assert wire.read_authorize(request) == expected


def test_an_action_is_read_whole() -> None:
    """Every part of a question about any action reaches the core as it was sent."""
    uids = {name: {"type": name, "id": f"\0{name}\n"} for name in ("A", "B", "C")}
    request = _request(
        subject={"entity": uids["A"]},
        action_on_resource={"action": uids["B"], "resource": uids["C"]},
        context_json=b"{",
        entities_json=b"[",
    )
    a, b, c = (EntityUid(name, f"\0{name}\n") for name in "ABC")
    assert wire.read_authorize(request) == ActionQuery(a, b, c, b"{", b"[")


@pytest.mark.parametrize("token", ["", "eyJhbGciOiJub25lIn0.e30."])
def test_a_token_establishes_nobody(token: str) -> None:
    """Without a configured issuer no token says who asks, not even an empty one."""
    with pytest.raises(InvalidTokenError) as caught:
        wire.read_authorize(_request(subject={"token": token}, tool_call=CALL))
    assert token not in str(caught.value) or not token


def test_an_entity_wins_over_a_token_only_where_it_is_last() -> None:
    """A subject is one of the two: what was set last, as protobuf has it."""
    both = _request(**TOOL_CALL).subject
    both.token = "x"
    with pytest.raises(InvalidTokenError):
        wire.read_subject(both)


# --- answers ---------------------------------------------------------------------------------------------------------


def _written(answer: Authorization) -> pb.AuthorizeResponse:
    response = pb.AuthorizeResponse()
    wire.write_authorization(answer, "d", "r", response)
    return response


def test_an_answer_is_written_whole() -> None:
    """Every part of an answer is in the response, annotations included."""
    answer = Authorization(
        False,
        Denial(DenialCode.FORBIDDEN, "no"),
        (DeterminingPolicy("p", "forbid", {"advice": "ä", "": ""}),),
        (PolicyError("q", "failed"),),
        ShadowReport(True, ("a",), ("a", "b")),
    )
    policy = {"policy_id": "p", "effect": decision_pb2.EFFECT_FORBID, "annotations": {"advice": "ä", "": ""}}
    would_be = {"would_be_decision": decision_pb2.DECISION_ALLOW}
    expected: dict[str, Any] = {
        "decision": decision_pb2.DECISION_DENY,
        "denial": {"code": decision_pb2.DENIAL_CODE_FORBIDDEN, "message": "no"},
        "determining_policies": [policy],
        "policy_errors": [{"policy_id": "q", "message": "failed"}],
        "shadow": {**would_be, "flipping_policies": ["a"], "matched_policies": ["a", "b"]},
        "decision_id": "d",
        "revision": "r",
    }
    assert _written(answer) == pb.AuthorizeResponse(**expected)


def test_an_allow_has_neither_denial_nor_shadow() -> None:
    """What does not apply is unset, not empty."""
    response = _written(Authorization(True, None, (DeterminingPolicy("p", "permit", {}),)))
    assert response.decision == decision_pb2.DECISION_ALLOW
    assert not response.HasField("denial")
    assert not response.HasField("shadow")
    assert response.determining_policies[0].effect == decision_pb2.EFFECT_PERMIT


@pytest.mark.parametrize("code", DenialCode)
def test_every_code_has_a_number(code: DenialCode) -> None:
    """Each of the core's codes is one of the API's, by name, and a denial is never anything but DENY."""
    response = _written(Authorization.denied(code, "m"))
    assert decision_pb2.DenialCode.Name(response.denial.code) == f"DENIAL_CODE_{code.name}"
    assert response.decision == decision_pb2.DECISION_DENY


def test_answers_are_never_mixed_up() -> None:
    """However many answers come and go, each response is that of its own answer, with its own id and revision."""
    for number in range(20_000):
        answer = Authorization(number % 2 == 0, None, (DeterminingPolicy(str(number), "permit", {}),))
        response = pb.AuthorizeResponse()
        wire.write_authorization(answer, f"d{number}", f"r{number}", response)
        assert response.determining_policies[0].policy_id == str(number)
        assert (response.decision_id, response.revision) == (f"d{number}", f"r{number}")
        assert (response.decision == decision_pb2.DECISION_ALLOW) == answer.allowed


def test_large_answers_do_not_pile_up() -> None:
    """What is kept of answers that name thousands of policies is bounded by the policies, not by the answers."""
    for number in range(50):
        policies = tuple(DeterminingPolicy(f"{number} {name}", "permit", {}) for name in range(1_000))
        assert len(_written(Authorization(True, None, policies)).determining_policies) == 1_000
    assert len(wire._responses) <= 10


def test_answers_with_errors_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error can quote an argument of a megabyte, so no response with one stays in memory."""
    monkeypatch.setattr(wire, "_responses", BoundedCache(4_096))
    for number in range(8):
        denial = Denial(DenialCode.POLICY_ERROR, "a policy failed")
        answer = Authorization(False, denial, (), (PolicyError("p", f"{number}{'x' * 10_000}"),))
        assert _written(answer).policy_errors[0].message.startswith(str(number))
    assert len(wire._responses) == 0


def test_one_response_does_not_change_another() -> None:
    """What a caller of this function does to one response is not seen in the next one of the same answer."""
    answer = Authorization(True, None, (DeterminingPolicy("p", "permit", {"a": "b"}),))
    first = _written(answer)
    first.determining_policies[0].annotations["a"] = "changed"
    first.determining_policies.add()
    assert dict(_written(answer).determining_policies[0].annotations) == {"a": "b"}
    assert len(_written(answer).determining_policies) == 1
