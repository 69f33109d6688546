"""Who evaluates changes nothing: what is evaluated here, what Cedar evaluates and what both do are the same answers.

`PDP_DIFFERENTIAL_WORLDS` sets how many worlds are tried.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import cedarpy
import pytest

from pdp.cedar import compiled as compiled_policies
from pdp.cedar import switches
from pdp.cedar.authorize import Authorizer
from pdp.cedar.compiled import CompiledPolicies
from pdp.cedar.model import Authorization, DenialCode, DeterminingPolicy, Query, ToolQuery
from pdp.cedar.options import AuthorizeOptions, Evaluator
from pdp.errors import InvalidRequestError
from tests.property.test_differential import FULL_SCHEMA, TOOLS, WORLDS, Sides, _action_entities, _shown
from tests.property.worlds import make_calls, make_queries, make_world, plain_answer

_BLOCK = 20
_QUERIES, _CALLS = 10, 50
_EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)

#: For a malformed question it is the field; of several mistakes in one field any may be named.
_Answer = Authorization | str


def _sides(seed: int) -> Sides:
    return Sides(make_world(seed, shadows=seed % 3 == 0))


def _options(evaluator: Evaluator, seed: int) -> AuthorizeOptions:
    """Every other world is asked with caches for decisions."""
    return AuthorizeOptions(decision_cache=seed % 2 * 1_000, evaluator=evaluator)


def _answer(authorizer: Authorizer, query: Query) -> _Answer:
    try:
        return authorizer.authorize(query)
    except InvalidRequestError as error:
        return error.field


def _answers(authorizer: Authorizer, queries: list[Query]) -> list[_Answer]:
    """The answers to each, asked alone and then together, which has to be the same."""
    alone = [_answer(authorizer, query) for query in queries]
    together: list[_Answer] = [
        found.field if isinstance(found, InvalidRequestError) else found
        for found in authorizer.authorize_batch(queries)
    ]
    assert together == alone
    return alone


@pytest.mark.parametrize("block", range(0, WORLDS // 4, _BLOCK))
def test_it_does_not_matter_who_evaluates(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluator gives every answer alike, alone and in a batch, and two of them are never in dispute."""
    for seed in range(block, min(block + _BLOCK, WORLDS // 4)):
        # Whether rules are gone through one by one or found in tables.
        monkeypatch.setattr(compiled_policies, "_FEW", (16, 1, 0)[seed // 2 % 3])
        # Whether they are cases of switches.
        monkeypatch.setattr(switches, "_FEWEST_VALUES", (1, 8)[seed // 3 % 2])
        sides = _sides(seed)
        queries: list[Query] = [*make_queries(sides.world, seed, _QUERIES), *make_calls(sides.world, seed, _CALLS)]
        options = {evaluator: _options(evaluator, seed) for evaluator in _EVALUATORS}
        found = {name: _answers(Authorizer(sides.model, option), queries) for name, option in options.items()}
        for query, compiled, cedar, checked in zip(
            queries, found["compiled"], found["cedar"], found["checked"], strict=True
        ):
            assert compiled == cedar == checked, (seed, query)
        assert options["checked"].counts.evaluators.disputed == 0
        assert options["cedar"].counts.evaluators.compiled == 0


@pytest.mark.parametrize("block", range(0, WORLDS // 4, _BLOCK))
def test_calls_are_answered_as_plain_cedar_does(block: int) -> None:
    """With all that can come with a call, answers are those of plain Cedar over the whole set and all entities."""
    for seed in range(block, min(block + _BLOCK, WORLDS // 4)):
        sides = Sides(make_world(seed))
        for call in make_calls(sides.world, seed, _CALLS):
            answer = _answer(sides.authorizer, call)
            if isinstance(answer, Authorization) and _reached_policies(answer):
                assert _shown(answer) == _plain(sides, call), (seed, call)


def _reached_policies(answer: Authorization) -> bool:
    return answer.denial is None or answer.denial.code in (DenialCode.FORBIDDEN, DenialCode.NO_MATCHING_POLICY)


def _plain(sides: Sides, call: ToolQuery) -> tuple[str, list[str], list[tuple[str, str]]]:
    [tool] = [tool for tool in TOOLS if tool.name == call.tool]
    converted = tool.input.convert(call.arguments)
    context = {**json.loads(call.context or "{}"), "input": converted.value, "undeclared": converted.undeclared}
    context |= {"session_id": call.session_id} if call.session_id else {}
    context |= {"interceptors": json.loads(call.facts)} if call.facts else {}
    context |= {"on_behalf_of": {"__entity": call.on_behalf_of._asdict()}} if call.on_behalf_of else {}
    request = {
        "principal": call.principal._asdict(),
        "action": {"type": "Action", "id": tool.action_id},
        "resource": {"type": "Server", "id": tool.server},
        "context": json.dumps(context),
    }
    return plain_answer(sides.world, sides.policies, sides.names, _entities(sides, call), None, request)


def _entities(sides: Sides, call: ToolQuery) -> cedarpy.Entities:
    """The world's entities with the call's own, and with what its token says of them."""
    schema = FULL_SCHEMA if sides.world.has_schema else None
    forms = {_key(form): form for form in [*sides.world.entities, *([] if schema else _action_entities())]}
    for said in json.loads(call.subject_facts or "[]"):
        known = forms.get(_key(said), {"uid": said["uid"], "attrs": {}, "parents": []})
        tags = {**known.get("tags", {}), **said["tags"]}
        forms[_key(said)] = {**known, "tags": tags, "parents": [*known["parents"], *said["parents"]]}
    for form in json.loads(call.entities or "[]"):
        forms.setdefault(_key(form), form)
    return cedarpy.Entities.from_json_str(json.dumps(list(forms.values())), schema)


def _key(form: dict[str, Any]) -> tuple[str, str]:
    return form["uid"]["type"], form["uid"]["id"]


def test_most_calls_are_answered_here() -> None:
    """The generated calls meet allows, forbids, default denials, and shadow reports often, and most without Cedar."""
    seen = {"allow": 0, DenialCode.FORBIDDEN: 0, DenialCode.NO_MATCHING_POLICY: 0, "shadow": 0, "flipped": 0}
    compiled = cedar = 0
    for seed in range(40):
        sides, options = _sides(seed), AuthorizeOptions(decision_cache=0)
        authorizer = Authorizer(sides.model, options)
        for call in make_calls(sides.world, seed, 25):
            answer = _answer(authorizer, call)
            if not isinstance(answer, Authorization):
                continue
            kind = "allow" if answer.denial is None else answer.denial.code
            seen[kind] = seen.get(kind, 0) + 1
            seen["shadow"] += answer.shadow is not None
            seen["flipped"] += answer.shadow is not None and bool(answer.shadow.flipping)
        compiled += options.counts.evaluators.compiled
        cedar += options.counts.evaluators.cedar
    assert compiled > cedar > 0, (compiled, cedar)
    assert min(seen.values()) > 10, seen


@pytest.mark.parametrize(
    "wrong",
    [
        Authorization(True),
        Authorization.denied(DenialCode.NO_MATCHING_POLICY, "no policy permits this call"),
        Authorization(True, None, (DeterminingPolicy("p", "permit", {}),)),
    ],
    ids=["allow", "denial", "reason"],
)
def test_a_dispute_denies(wrong: Authorization, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what is evaluated here and what Cedar says differ at all, a checked call is denied and counted, always."""
    monkeypatch.setattr(CompiledPolicies, "answer", lambda *_: wrong)
    disputed = 0
    for seed in range(12):
        sides = _sides(seed)
        authorizer = Authorizer(sides.model, _options("checked", seed))
        honest = Authorizer(sides.model, _options("cedar", seed))
        for call in make_calls(sides.world, seed, 10):
            cedar = _answer(honest, call)
            batch = authorizer.authorize_batch([call, call])
            found = _answer(authorizer, call)
            if not isinstance(cedar, Authorization) or not isinstance(found, Authorization):
                continue
            assert all(answer == found for answer in batch)
            if cedar == wrong or not _reached_policies(cedar):
                assert found.allowed == cedar.allowed
                continue
            disputed += 1
            assert not found.allowed
            assert found.denial is not None
            assert found.denial.code is DenialCode.POLICY_ERROR
    assert disputed > 20
