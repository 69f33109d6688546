"""Rules that ask of one thing which value it is are answered as Cedar answers them, however many there are of a kind.

`PDP_DIFFERENTIAL_WORLDS` sets how many bundles are tried, each of them with several requests.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter

import pytest

from pdp.cedar import compiled, switches
from pdp.cedar.arguments import ToolInput
from pdp.cedar.cedar_types import Record, quoted
from pdp.cedar.compiled import CompiledPolicies
from pdp.cedar.expressions import Facts
from pdp.cedar.index import PolicyIndex, Rule
from pdp.cedar.policies import parse_policies
from pdp.cedar.policy_model import CallableTool
from tests.entity_stores import store_of
from tests.property.conditions import (
    GROUPS,
    LONGS,
    NAMES,
    STRINGS,
    USERS,
    Maker,
    Request,
    literal,
    make_entities,
    make_request,
)
from tests.property.plain import ask_cedar

WORLDS = int(os.environ.get("PDP_DIFFERENTIAL_WORLDS", "220"))
_BLOCK = 20
_REQUESTS = 20

_HOLDERS = ["context.input", "context.input", "context.input", "principal", "context", "resource", "principal.boss"]


def _literal(rng: random.Random, kind: str) -> str:
    if kind == "string":
        return quoted(rng.choice(STRINGS))
    return str(abs(rng.choice(LONGS)) % 10**9) if kind == "long" else literal(rng.choice(USERS))


def _asks(rng: random.Random, of: str, kind: str) -> str:
    """Asks of something which value it is, in one way or another; now and then it is of another kind."""
    kind = kind if rng.random() < 0.9 else rng.choice(["string", "long", "entity"])
    value = _literal(rng, kind)
    several = ", ".join(_literal(rng, kind) for _ in range(rng.randint(0, 3)))
    return rng.choice(
        [f"{of} == {value}"] * 7 + [f"{value} == {of}", f"[{several}].contains({of})", f"{of} != {value}"]
    )


def _condition(rng: random.Random) -> str:
    kind = rng.choice(["string", "string", "long", "entity"])
    holder, name = rng.choice(_HOLDERS), rng.choice(NAMES[kind][:1] if rng.random() < 0.8 else NAMES[kind])
    asked = _asks(rng, f"{holder}.{name}", kind)
    parts = [asked]
    if rng.random() < 0.6:
        parts.insert(0, f"{holder} has {name}")
    if rng.random() < 0.3:
        parts.insert(0, rng.choice(["context.f", "principal.n > 0", "context has input", "!context.g", "principal.f"]))
    if rng.random() < 0.15:
        parts.append(Maker(rng).boolean(2))
    joined = f" {rng.choice(['&&'] * 7 + ['||'])} ".join(parts)
    return rng.choice(["when"] * 9 + ["unless"]) + f" {{ {joined} }}"


def _policy(rng: random.Random) -> str:
    principal = rng.choice(["principal"] * 3 + [f"principal in {literal(rng.choice(GROUPS))}", "principal is User"])
    actions = ['action == Action::"read"', 'action in Action::"readers"', "action"]
    conditions = " ".join(_condition(rng) for _ in range(rng.choice([1, 1, 1, 2])))
    effect = rng.choice(["permit"] * 5 + ["forbid"])
    return f"{effect} ({principal}, {rng.choice(actions)}, resource) {conditions};"


def _there(policies: list[str], requests: list[Request], entities: list[dict[str, object]]) -> list[set[str] | None]:
    """The policies that decide for Cedar, by request; None where any of them errs."""
    return [
        None if answer.diagnostics.errors else set(answer.diagnostics.reasons)
        for answer in ask_cedar(policies, requests, entities)
    ]


def _try(seed: int, counts: Counter[str]) -> None:
    rng = random.Random(seed)
    policies = [_policy(rng) for _ in range(rng.choice([3, 10, 20, 40]))]
    entities = make_entities(rng)
    requests = [make_request(rng) for _ in range(_REQUESTS)]
    store = store_of(json.loads(json.dumps(entities)))
    parsed = parse_policies("p.cedar", "\n".join(policies))
    assert not parsed.problems
    rules = [Rule(f"policy{number}", policy) for number, policy in enumerate(parsed.policies)]
    here = CompiledPolicies(rules, PolicyIndex(rules), store)
    counts["cases"] += sum(switch is not None for switch in switches.find_switches([r.policy.condition for r in rules]))
    for request, held in zip(requests, _there(policies, requests, entities), strict=True):
        principal, action, resource, context = request
        candidates = here.candidates(CallableTool(action, resource, ToolInput(Record())), store)
        answer = here.answer(candidates, Facts(principal, candidates, context, store))
        counts["asked"] += 1
        if answer is not None:
            assert {policy.policy_id for policy in answer.determining} == held, (seed, request)
            counts["held" if held else "none held"] += 1


@pytest.mark.parametrize("block", range(0, WORLDS, _BLOCK))
def test_cases_are_answered_as_cedar_answers_them(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the rules decide that decide for Cedar, and none errs for it, wherever there is an answer."""
    counts: Counter[str] = Counter()
    for seed in range(block, min(block + _BLOCK, WORLDS)):
        # How soon rules become cases of switches, and whether they are gone through or found in tables.
        monkeypatch.setattr(switches, "_FEWEST_VALUES", (1, 2, 8)[seed % 3])
        monkeypatch.setattr(switches, "_FEW_NUMBERS", seed % 2)
        monkeypatch.setattr(switches, "_COMMON", (64, 1)[seed // 2 % 2])
        monkeypatch.setattr(compiled, "_FEW", (16, 1, 0)[seed // 3 % 3])
        _try(seed, counts)
    assert counts["cases"] > _BLOCK, counts
    assert counts["held"] + counts["none held"] > 0.1 * counts["asked"], counts
    assert min(counts["held"], counts["none held"]) > 0, counts
