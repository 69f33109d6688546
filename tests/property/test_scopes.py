"""The index names exactly the policies whose scope a request matches, whatever entities requests bring."""

from __future__ import annotations

import json
import os
import random
from typing import Any, NamedTuple

import cedarpy
import pytest

from pdp.cedar import candidates as candidates_module
from pdp.cedar import compiled as module
from pdp.cedar.arguments import ToolInput
from pdp.cedar.candidates import Candidates
from pdp.cedar.cedar_types import Record
from pdp.cedar.compiled import CompiledPolicies
from pdp.cedar.entities import EntityStore
from pdp.cedar.expressions import Facts
from pdp.cedar.index import PolicyIndex, Rule
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.policies import parse_policies
from pdp.cedar.policy_model import CallableTool
from tests.entity_stores import store_of

WORLDS = int(os.environ.get("PDP_DIFFERENTIAL_WORLDS", "220")) // 4
_REQUESTS = 80

_TYPES = ["User", "Group", "A::User", "Server"]
_UIDS = [EntityUid(kind, f"i{number}") for kind in _TYPES for number in range(5)]
_ACTIONS = [EntityUid("Action", f"a{number}") for number in range(5)]

#: Each entity with its parents.
_Parents = dict[EntityUid, list[EntityUid]]


class _Rules(NamedTuple):
    """Permits for everything in their scope, here and as Cedar takes them; `names` are ours by Cedar's."""

    rules: list[Rule]
    policies: cedarpy.PolicySet
    names: dict[str, str]


def _scope(rng: random.Random, variable: str) -> str:
    uid, kind = rng.choice(_UIDS), rng.choice(_TYPES)
    forms = ["", f" == {uid}", f" in {uid}", f" is {kind}", f" is {kind} in {uid}", f" is {kind} in {uid}"]
    return variable + rng.choice(forms)


def _action(rng: random.Random) -> str:
    several = ", ".join(map(str, rng.sample(_ACTIONS, rng.randrange(4))))
    one = rng.choice(_ACTIONS)
    return rng.choice(["action", f"action == {one}", f"action in {one}", f"action in [{several}]"])


def _template(rng: random.Random) -> str:
    principal = rng.choice(["== ?principal", "in ?principal", "is User in ?principal", "is Group in ?principal"])
    resource = rng.choice([" == ?resource", " in ?resource", " is Server in ?resource", ""])
    return f"permit(principal {principal}, {_action(rng)}, resource{resource});"


def _rules(rng: random.Random) -> _Rules:
    texts = [
        f"permit({_scope(rng, 'principal')}, {_action(rng)}, {_scope(rng, 'resource')});"
        for _ in range(rng.choice([3, 20, 60]))
    ]
    texts += [_template(rng) for _ in range(rng.randrange(4))]
    parsed = parse_policies("p.cedar", "\n".join(texts))
    assert not parsed.problems
    rules: list[Rule] = []
    links: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for number, policy in enumerate(parsed.policies):
        if not policy.slots:
            names[f"policy{number}"] = f"r{number}"
            rules.append(Rule(f"r{number}", policy))
            continue
        for link in range(3):
            slots = {slot: rng.choice(_UIDS) for slot in policy.slots}
            values = {slot: uid._asdict() for slot, uid in slots.items()}
            name = f"l{number}-{link}"
            names[name] = name
            rules.append(Rule(name, policy, slots))
            links.append({"template_id": f"policy{number}", "new_id": name, "values": values})
    policies = cedarpy.PolicySet.from_str("\n".join(texts))
    return _Rules(rules, policies.with_linked_batch(links) if links else policies, names)


def _hierarchy(rng: random.Random, uids: list[EntityUid]) -> _Parents:
    order = rng.sample(uids, len(uids))
    later = {uid: order[position + 1 :] for position, uid in enumerate(order)}
    return {
        uid: rng.sample(above, min(len(above), rng.randrange(3))) for uid, above in later.items() if rng.random() < 0.6
    }


def _forms(parents: _Parents) -> list[dict[str, Any]]:
    # Some have simple values alone, which decides how they are kept.
    return [
        {
            "uid": uid._asdict(),
            "attrs": {"some": []} if uid.id[-1] in "13" else {},
            "parents": [parent._asdict() for parent in above],
        }
        for uid, above in parents.items()
    ]


def _store(parents: _Parents, base: EntityStore | None = None) -> EntityStore:
    return store_of(_forms(parents), base)


def _overlays(rng: random.Random, base: _Parents, store: EntityStore) -> list[tuple[_Parents, EntityStore]]:
    """The base, and it with some entities that have more parents, as requests and tokens can give them."""
    found = [(base, store)]
    for _ in range(3):
        more = {
            uid: [parent for parent in dict.fromkeys([*base.get(uid, []), *rng.sample(_UIDS, 2)]) if parent != uid]
            for uid in rng.sample(_UIDS, 5)
        }
        laid_over = _store(more, store)
        every = {**base, **more}
        if not laid_over.find_cycles({parent for above in every.values() for parent in above}):
            found.append((every, laid_over))
    return found


def _cedar(rules: _Rules, parents: _Parents, uids: tuple[EntityUid, EntityUid, EntityUid]) -> set[str]:
    request = dict(zip(("principal", "action", "resource"), (uid._asdict() for uid in uids), strict=True))
    entities = cedarpy.Entities.from_json_str(json.dumps(_forms(parents)))
    result = cedarpy.is_authorized({**request, "context": "{}"}, rules.policies, entities)
    return {rules.names[reason] for reason in result.diagnostics.reasons}


class _Bundle:
    """Rules over entities, and the candidates of what was asked before."""

    def __init__(self, rules: _Rules, store: EntityStore) -> None:
        self.rules = rules
        self.index = PolicyIndex(rules.rules)
        self._compiled = CompiledPolicies(rules.rules, self.index, store)
        self._kept: dict[tuple[object, ...], Candidates] = {}

    def answer(self, uids: tuple[EntityUid, EntityUid, EntityUid], entities: EntityStore) -> Authorization | None:
        """The answer of the compiled rules."""
        principal, action, resource = uids
        place = action, resource, id(entities)
        if place not in self._kept:
            self._kept[place] = self._compiled.candidates(CallableTool(action, resource, ToolInput(Record())), entities)
        candidates = self._kept[place]
        return self._compiled.answer(candidates, Facts(principal, candidates.tool, {}, entities))


@pytest.mark.parametrize("seed", range(WORLDS))
def test_what_applies_is_what_cedar_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates and answers are Cedar's for every request, whatever entities the requests before had with them."""
    rng = random.Random(seed)
    # Whether rules are gone through one by one or found in tables.
    monkeypatch.setattr(module, "_FEW", rng.choice([0, 1, 2, 16]))
    monkeypatch.setattr(candidates_module, "_ANSWERS_OF_EACH", rng.choice([1, 16]))
    base = {**_hierarchy(rng, _UIDS), **_hierarchy(rng, _ACTIONS)}
    store = _store(base)
    # Two bundles can have the same entities: one that was reloaded, and the one before.
    bundles = [_Bundle(_rules(rng), store) for _ in range(2)]
    overlays = _overlays(rng, base, store)
    #: Few, so that many requests are about the same.
    resources = rng.sample(_UIDS, 4)
    for _ in range(_REQUESTS):
        bundle, (parents, entities) = rng.choice(bundles), rng.choice(overlays)
        principal = rng.choice([*_UIDS, EntityUid("User", "nobody")])
        uids = principal, rng.choice(_ACTIONS), rng.choice(resources)
        expected = _cedar(bundle.rules, parents, uids)
        sides = [(uid, entities.ancestors(uid)) for uid in uids]
        assert {bundle.rules.rules[number].id for number in bundle.index.candidates(*sides)} == expected
        answer = bundle.answer(uids, entities)
        assert answer is not None
        assert {policy.policy_id for policy in answer.determining} == expected
