"""The two ways of asking Cedar give one answer."""

from __future__ import annotations

import cedarpy
import pytest

from pdp.cedar import engine

UID = {"type": "User", "id": 'a"b'}
POLICIES = cedarpy.PolicySet.from_str(
    'permit(principal, action, resource); permit(principal, action == Action::"a", resource);'
    'forbid(principal, action == Action::"b", resource);'
    'forbid(principal, action == Action::"c", resource) when { context.x > 1 };'
    'permit(principal, action, resource) when { context.y["\\",\\"metrics\\":"] };'
)
ENTITIES = cedarpy.Entities.from_json_str("[]")


def _request(action: str, context: str) -> dict[str, object]:
    return {"principal": UID, "action": {"type": "Action", "id": action}, "resource": UID, "context": context}


REQUESTS = [
    _request("a", "{}"),
    _request("b", "{}"),
    _request("c", '{"x": 2}'),
    _request("c", '{"x": "text", "y": {}}'),
    _request("a", "[]"),
    _request("a", '{"x": 1.5}'),
]


def test_the_direct_way_is_in_use() -> None:
    """The installed cedarpy behaves as the direct way needs, so nobody pays for the public one unknowingly."""
    assert engine.ask is engine.ask_directly


@pytest.mark.parametrize("request_", REQUESTS)
def test_both_ways_agree(request_: dict[str, object]) -> None:
    """Decision, reasons and errors are the same, for answers, errors and refused requests."""
    [direct] = engine.ask_directly([request_], POLICIES, ENTITIES, None)
    [public] = engine.ask_publicly([request_], POLICIES, ENTITIES, None)
    one, other = engine.read(direct), engine.read(public)
    assert (one.decision, sorted(one.reasons), sorted(one.errors)) == (
        other.decision,
        sorted(other.reasons),
        sorted(other.errors),
    )


def test_raw_answers_hold_no_timings() -> None:
    """The same question gives the same raw answer every time, or nothing would ever be worked out only once."""
    answers = {engine.ask([_request("b", "{}")], POLICIES, ENTITIES, None)[0] for _ in range(50)}
    assert len(answers) == 1


def test_a_different_extension_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the extension's call is gone or answers differently, the public way is chosen."""
    monkeypatch.setattr(engine, "ask_directly", lambda *_: ['{"decision":"Allow","diagnostics":{"errors":[]}}'])
    assert engine._choose() is engine.ask_publicly
