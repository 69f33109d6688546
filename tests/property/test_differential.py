"""The index, the slices and the cut contexts change nothing: the service answers as plain Cedar over everything does.

`PDP_DIFFERENTIAL_WORLDS` sets how many worlds are tried; the default makes at least 20,000 requests. `make
differential` runs many more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import cedarpy
import pytest

from pdp.cedar.authorize import Authorizer
from pdp.cedar.caller_context import CallerContext
from pdp.cedar.index import Rule
from pdp.cedar.model import ActionQuery, Authorization, DenialCode, EntityUid, Query, ToolQuery
from pdp.cedar.options import AuthorizeOptions
from pdp.cedar.policies import parse_policies
from pdp.cedar.policy_model import CallableTool, PolicyModel
from pdp.cedar.tool_schema import Tool, parse_manifest, schema_text
from pdp.errors import InvalidRequestError
from tests.entity_stores import store_of
from tests.property.worlds import MANIFEST, SCHEMA, World, make_queries, make_world, plain_answer

WORLDS = int(os.environ.get("PDP_DIFFERENTIAL_WORLDS", "220"))
QUERIES = 100
_BLOCK = 20


def _tools() -> list[Tool]:
    tools, problems = parse_manifest("srv", MANIFEST)
    assert not problems
    return list(tools)


TOOLS = _tools()
FULL_SCHEMA = cedarpy.Schema.from_str(SCHEMA + schema_text(TOOLS, principal_types=["User"]))


class Sides:
    """One world, twice: as the service holds it and as plain cedarpy does."""

    def __init__(self, world: World, *, strict: bool = False, decision_cache: int = 0) -> None:
        self.world = world
        self.schema = FULL_SCHEMA if world.has_schema else None
        entities = [*world.entities, *([] if world.has_schema else _action_entities())]
        self.entities = cedarpy.Entities.from_json_str(json.dumps(entities), self.schema)
        self._build_plain()
        options = AuthorizeOptions(decision_cache=decision_cache, strict_policy_errors=strict)
        self.model = self._model()
        self.authorizer = Authorizer(self.model, options)

    def _build_plain(self) -> None:
        parsed = parse_policies("w.cedar", "\n".join(self.world.policies))
        assert not parsed.problems, parsed.problems
        self.parsed = parsed.policies
        base = cedarpy.PolicySet.from_str("\n".join(self.world.policies))
        self.names = {f"policy{number}": policy.id for number, policy in enumerate(parsed.policies)}
        self.policies = base.with_linked_batch(self.world.links) if self.world.links else base

    def _model(self) -> PolicyModel:
        by_id = {policy.id: policy for policy in self.parsed}
        rules = [Rule(policy.id, policy) for policy in self.parsed if not policy.slots]
        for link in self.world.links:
            slots = {slot: EntityUid(**uid) for slot, uid in link["values"].items()}
            rules.append(Rule(link["new_id"], by_id[link["template_id"]], slots))
        actions = [form for form in json.loads(str(self.entities)) if form["uid"]["type"] == "Action"]
        return PolicyModel(
            rules=rules,
            entities=store_of([*self.world.entities, *actions]),
            schema=self.schema,
            tools={(tool.server, tool.name): _callable(tool) for tool in TOOLS},
            principal_types=frozenset({"User"}) if self.schema else None,
            context=CallerContext(closed=self.schema is not None),
        )

    def plain(self, query: Query) -> tuple[str, list[str], list[tuple[str, str]]]:
        """What plain cedarpy says to `query`, with the whole context and all entities."""
        entities = self.entities
        if query.entities:
            known = {(entity["uid"]["type"], entity["uid"]["id"]) for entity in self.world.entities}
            fresh = [e for e in json.loads(query.entities) if (e["uid"]["type"], e["uid"]["id"]) not in known]
            entities = entities.with_added_json_str(json.dumps(fresh), self.schema)
        request = _request(query)
        return plain_answer(self.world, self.policies, self.names, entities, self.schema, request)


def _callable(tool: Tool) -> CallableTool:
    return CallableTool(EntityUid("Action", tool.action_id), EntityUid("Server", tool.server), tool.input)


def _action_entities() -> list[dict[str, Any]]:
    pairs = [(tool.action_id, tool.groups) for tool in TOOLS]
    pairs += [("read", ("readers", "any")), ("any", ("readers",)), ("write", ()), ("readers", ())]
    return [
        {
            "uid": {"type": "Action", "id": name},
            "attrs": {},
            "parents": [{"type": "Action", "id": group} for group in groups],
        }
        for name, groups in pairs
    ]


def _request(query: Query) -> dict[str, Any]:
    if isinstance(query, ActionQuery):
        action, resource, context = query.action, query.resource, json.loads(query.context or "{}")
    else:
        [tool] = [tool for tool in TOOLS if tool.name == query.tool]
        converted = tool.input.convert(query.arguments)
        context = {"input": converted.value, "undeclared": converted.undeclared}
        context.update({"session_id": query.session_id} if query.session_id else {})
        action, resource = EntityUid("Action", tool.action_id), EntityUid("Server", tool.server)
    uids = {"principal": query.principal, "action": action, "resource": resource}
    return {**{name: uid._asdict() for name, uid in uids.items()}, "context": json.dumps(context)}


def _shown(answer: Authorization) -> tuple[str, list[str], list[tuple[str, str]]]:
    decision = "Allow" if answer.allowed else "Deny"
    reasons = sorted(policy.policy_id for policy in answer.determining)
    return decision, reasons, sorted((error.policy_id, error.message) for error in answer.errors)


@pytest.mark.parametrize("block", range(0, WORLDS, _BLOCK))
def test_answers_equal_those_of_plain_cedar(block: int) -> None:
    """Decision, determining policies and errors are those of the whole set, asked one by one and in a batch."""
    for seed in range(block, min(block + _BLOCK, WORLDS)):
        sides = Sides(make_world(seed))
        queries = make_queries(sides.world, seed, QUERIES)
        batch = sides.authorizer.authorize_batch(queries)
        for query, from_batch in zip(queries, batch, strict=True):
            answer = sides.authorizer.authorize(query)
            assert _shown(answer) == sides.plain(query), (seed, query)
            assert from_batch == answer, (seed, query)


@pytest.mark.parametrize("block", range(0, WORLDS // 10, _BLOCK))
def test_strict_errors_and_caches_change_only_what_they_say(block: int) -> None:
    """With strict errors a failed forbid denies; everything else is as without; the second answer is the first."""
    for seed in range(block, min(block + _BLOCK, WORLDS // 10)):
        sides = Sides(make_world(seed), strict=True, decision_cache=1_000)
        forbids = _forbids(sides)
        for query in make_queries(sides.world, seed, QUERIES):
            answer = sides.authorizer.authorize(query)
            decision, reasons, errors = sides.plain(query)
            if decision == "Deny" and reasons:
                assert _shown(answer) == (decision, reasons, errors)
            elif forbids & {name for name, _ in errors}:
                assert answer.denial is not None
                assert answer.denial.code is DenialCode.POLICY_ERROR
                assert _shown(answer) == ("Deny", [], errors)
            else:
                assert _shown(answer) == (decision, reasons, errors)
            assert sides.authorizer.authorize(query) == answer


def _forbids(sides: Sides) -> set[str]:
    effects: Mapping[str, str] = {policy.id: policy.effect for policy in sides.parsed}
    found = {name for name, effect in effects.items() if effect == "forbid"}
    return found | {link["new_id"] for link in sides.world.links if effects[link["template_id"]] == "forbid"}


def test_the_worlds_are_worth_asking() -> None:
    """The generated requests meet allows, forbids, default denials, errors and determining links, all of them often."""
    seen = {"allow": 0, "forbid": 0, "default": 0, "error": 0, "link": 0, "tool allow": 0}
    for seed in range(40):
        sides = Sides(make_world(seed))
        for query in make_queries(sides.world, seed, 25):
            decision, reasons, errors = sides.plain(query)
            seen["allow"] += decision == "Allow"
            seen["forbid"] += decision == "Deny" and bool(reasons)
            seen["default"] += decision == "Deny" and not reasons
            seen["error"] += bool(errors)
            seen["link"] += any("-link" in reason for reason in reasons)
            seen["tool allow"] += decision == "Allow" and isinstance(query, ToolQuery)
    assert min(seen.values()) > 20, seen


def test_a_batch_keeps_tool_calls_and_actions_apart() -> None:
    """A tool call and the same question spelled out, in one batch: the latter is still checked against the schema."""
    world = next(world for world in map(make_world, range(100)) if world.has_schema)
    sides = Sides(world)
    ada = EntityUid("User", "u0")
    call = ToolQuery(ada, "srv", "get", b'{"owner": "ada"}')
    spelled_out = ActionQuery(ada, EntityUid("Action", "srv/get"), EntityUid("Server", "srv"), b'{"input": 3}')
    answers = sides.authorizer.authorize_batch([call, spelled_out])
    assert isinstance(answers[0], Authorization)
    assert isinstance(answers[1], InvalidRequestError)
