"""Where one tool has thousands of rules, a call looks at those that apply to who asks, and at no more of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest

from pdp.cedar.arguments import ToolInput
from pdp.cedar.cedar_types import Record
from pdp.cedar.compiled import CompiledPolicies
from pdp.cedar.entities import EntityStore
from pdp.cedar.expressions import Facts
from pdp.cedar.index import PolicyIndex, Rule
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.policies import parse_policies
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.switches import Switch
from tests.entity_stores import store_of

_MANY = 4_000
_TOOL = CallableTool(EntityUid("Action", "srv/get"), EntityUid("Server", "srv"), ToolInput(Record()))
_STORE = store_of(
    {"uid": {"type": "User", "id": f"u{n}"}, "parents": [{"type": "Team", "id": f"t{n // 8}"}]} for n in range(_MANY)
)
#: Bytes that a call may have at a time; to go through all rules, or to copy them, takes many times that.
_MOST_MEMORY = 16 * 1024


class _Bundle:
    """The policies, and a template's links for everybody."""

    def __init__(self, texts: Iterable[str]) -> None:
        parsed = parse_policies("p.cedar", "\n".join(texts))
        assert not parsed.problems
        users = [EntityUid("User", f"u{n}") for n in range(_MANY)]
        templates = [policy for policy in parsed.policies if policy.slots]
        rules = [Rule(policy.id, policy) for policy in parsed.policies if not policy.slots]
        for number, user in enumerate(users if templates else ()):
            policy = templates[number % len(templates)]
            rules.append(Rule(f"{policy.id} of {user.id}", policy, {"?principal": user}))
        self._here = CompiledPolicies(rules, PolicyIndex(rules), _STORE)
        self._candidates = self._here.candidates(_TOOL, _STORE)

    def answer(self, user: str, arguments: dict[str, Any], entities: EntityStore = _STORE) -> Authorization | None:
        """The answer to a call that brings no entities of its own."""
        candidates = self._candidates if entities is _STORE else self._here.candidates(_TOOL, entities)
        facts = Facts(EntityUid("User", user), candidates, {"input": arguments, "undeclared": []}, entities)
        return self._here.answer(candidates, facts)

    def memory(self, user: str, arguments: dict[str, Any], entities: EntityStore = _STORE) -> int:
        """How many bytes at once such a call takes when it is asked again."""
        self.answer(user, arguments, entities)
        tracemalloc.start()
        try:
            self.answer(user, arguments, entities)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def _allowed(answer: Authorization | None) -> bool | None:
    return None if answer is None else answer.allowed


_LINKS = [
    f'@id("e{n}") permit(principal == ?principal, action == Action::"srv/get", resource)'
    f' when {{ context.input.env == "e{n}" }};'
    for n in range(10)
]
_OWN = [
    f'permit(principal == User::"u{n}", action == Action::"srv/get", resource)'
    f' when {{ ["dev", "test", "e{n}"].contains(context.input.env) }};'
    for n in range(_MANY)
]


@pytest.mark.parametrize("texts", [_LINKS, _OWN])
@pytest.mark.parametrize(
    ("user", "arguments"),
    [("u1", {"env": "e1"}), ("u1", {"env": "dev"}), ("u1", {"env": "none"}), ("u1", {}), ("nobody", {"env": "e1"})],
)
def test_rules_of_others_cost_nothing(texts: list[str], user: str, arguments: dict[str, Any]) -> None:
    """A value that everybody's rules ask for, or one that is missing, does not make a call look at all of them."""
    bundle = _Bundle(texts)
    mine = texts is _LINKS and arguments == {"env": "e1"}
    mine |= texts is _OWN and arguments in ({"env": "e1"}, {"env": "dev"})
    expected = None if user == "u1" and not arguments else mine and user == "u1"
    assert _allowed(bundle.answer(user, arguments)) is expected
    assert bundle.memory(user, arguments) < _MOST_MEMORY
    assert _allowed(bundle.answer("nobody", {})) is False
    assert bundle.memory("nobody", {}) < _MOST_MEMORY


def test_switches_of_others_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups whose rules ask other things first have switches of their own, and only those of one's own are asked."""
    bundle = _Bundle(
        f'permit(principal in Team::"t{n // 32}", action == Action::"srv/get", resource)'
        f' when {{ context.input.n > {n // 32} && context.input.env == "e{n}" }};'
        for n in range(_MANY)
    )
    asked = []
    numbers = Switch.numbers

    def counted(switch: Switch, facts: Facts) -> Any:
        asked.append(switch)
        return numbers(switch, facts)

    monkeypatch.setattr(Switch, "numbers", counted)
    assert _allowed(bundle.answer("u0", {"n": 1, "env": "e3"})) is True
    assert _allowed(bundle.answer("u0", {"n": 1, "env": "e40"})) is False
    assert len(asked) == 2


def test_shadow_policies_of_others_cost_nothing() -> None:
    """A call that brings entities has its own candidates, and they copy nothing of a long table."""
    bundle = _Bundle(
        ['@id("s") @enforcement("shadow") permit(principal == ?principal, action == Action::"srv/get", resource);']
    )
    entities = store_of([{"uid": {"type": "User", "id": "guest"}}], _STORE)
    for store in (_STORE, entities):
        mine, others = bundle.answer("u1", {}, store), bundle.answer("nobody", {}, store)
        assert mine is not None
        assert mine.shadow is not None
        assert mine.shadow.would_allow
        assert others is not None
        assert others.shadow is None
        assert bundle.memory("u1", {}, store) < _MOST_MEMORY
