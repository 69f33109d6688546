"""Conditions evaluated here say what Cedar says of them, wherever they say anything.

`PDP_DIFFERENTIAL_WORLDS` sets how many sets of conditions are tried, each of them with several requests; the default
makes more than 20,000 pairs of a condition and a request.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter

import cedarpy
import pytest

from pdp.cedar.arguments import ToolInput
from pdp.cedar.cedar_types import Record
from pdp.cedar.entities import EntityStore
from pdp.cedar.expression_reader import read_conditions
from pdp.cedar.expressions import Expression, Facts
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.values import UnsureError
from tests.entity_stores import store_of
from tests.property.conditions import Request, make_entities, make_policy, make_request
from tests.property.plain import ask_cedar

WORLDS = int(os.environ.get("PDP_DIFFERENTIAL_WORLDS", "220"))
_BLOCK = 20
_POLICIES, _REQUESTS = 12, 10


def _store(entities: list[dict[str, object]]) -> EntityStore:
    return store_of(json.loads(json.dumps(entities)))


def _read(policies: list[str]) -> list[Expression | None]:
    forms = json.loads(cedarpy.policies_to_json_str("\n".join(policies)))["staticPolicies"]
    return [read_conditions(forms[f"policy{number}"]["conditions"]) for number in range(len(policies))]


def _here(expression: Expression | None, facts: Facts) -> bool | None:
    """What is said here; None for nothing."""
    if expression is None:
        return None
    try:
        found = expression.value(facts)
    except UnsureError:
        return None
    return found if type(found) is bool else None


def _there(policies: list[str], requests: list[Request], entities: list[dict[str, object]]) -> list[list[bool | None]]:
    """What Cedar says of each policy, for each request; None for an error. All are permits, so all are reported."""
    return [_said(answer, len(policies)) for answer in ask_cedar(policies, requests, entities)]


def _said(answer: cedarpy.AuthzResult, count: int) -> list[bool | None]:
    failed = {error.split("`")[1] for error in answer.diagnostics.errors}
    satisfied = set(answer.diagnostics.reasons)
    names = [f"policy{number}" for number in range(count)]
    return [None if name in failed else name in satisfied for name in names]


def _try(seed: int, counts: Counter[object]) -> None:
    rng = random.Random(seed)
    policies = [make_policy(rng) for _ in range(_POLICIES)]
    entities = make_entities(rng)
    requests = [make_request(rng) for _ in range(_REQUESTS)]
    store, expressions = _store(entities), _read(policies)
    for request, answers in zip(requests, _there(policies, requests, entities), strict=True):
        principal, action, resource, context = request
        facts = Facts(principal, CallableTool(action, resource, ToolInput(Record())), context, store)
        for policy, expression, there in zip(policies, expressions, answers, strict=True):
            here = _here(expression, facts)
            assert here is None or here is there, (seed, policy, request, here, there)
            counts[here, there] += 1


@pytest.mark.parametrize("block", range(0, WORLDS, _BLOCK))
def test_what_is_said_here_is_what_cedar_says(block: int) -> None:
    """A condition that is true or false here is so for Cedar, without an error, and most conditions are."""
    counts: Counter[object] = Counter()
    for seed in range(block, min(block + _BLOCK, WORLDS)):
        _try(seed, counts)
    total, truths, lies = counts.total(), counts[True, True], counts[False, False]
    assert truths + lies > 0.4 * total, counts
    assert min(truths, lies) > 0.1 * total, counts
