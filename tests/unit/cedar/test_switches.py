"""Which rules are cases of switches, and what a switch says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdp.cedar import switches
from pdp.cedar.arguments import ToolInput
from pdp.cedar.cedar_types import Record
from pdp.cedar.compiled import CompiledPolicies
from pdp.cedar.expressions import Expression, Facts
from pdp.cedar.index import PolicyIndex, Rule
from pdp.cedar.model import EntityUid
from pdp.cedar.policies import parse_policies
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.switches import Switch, find_switches
from pdp.cedar.value_expressions import IsValue
from pdp.cedar.values import UnsureError
from tests.entity_stores import store_of

_STORE = store_of([])
_TOOL = CallableTool(EntityUid("Action", "srv/get"), EntityUid("Server", "srv"), ToolInput(Record()))
_USER = EntityUid("User", "u")

#: More than enough values for a switch.
_MANY = [f'context.input.repo == "r{number}"' for number in range(20)]


def _conditions(texts: list[str]) -> list[Expression | None]:
    statements = [f"permit(principal, action, resource) when {{ {text} }};" for text in texts]
    parsed = parse_policies("p.cedar", "\n".join(statements))
    assert not parsed.problems
    return [policy.condition for policy in parsed.policies]


def _facts(**arguments: Any) -> Facts:
    return Facts(_USER, _TOOL, {"input": arguments, "undeclared": []}, _STORE)


def _numbers(switch: Switch, facts: Facts) -> list[int]:
    return sorted(switch.numbers(facts) or ())


def _switch(texts: list[str]) -> Switch:
    """The one that all of these are cases of."""
    [found] = set(find_switches(_conditions(texts)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        'context.input.repo == "x"',
        '"x" == context.input.repo',
        'context.input.repo == "x" && context.input.n > 3',
        '["x", "y", "r1"].contains(context.input.repo)',
    ],
)
def test_what_begins_with_the_question_is_a_case(text: str) -> None:
    """A comparison with a value that was written into the policy, or with several of them, whatever else follows."""
    *others, own = find_switches(_conditions([*_MANY, text]))
    assert own is not None
    assert set(others) == {own}
    assert _numbers(own, _facts(repo="x")) == [20]


@pytest.mark.parametrize(
    "text",
    [
        'context.input.repo != "x"',
        'context.input.repo == "x" || context.input.n > 3',
        '!(context.input.repo == "x")',
        "context.input.repo == context.input.owner",
        'context.input.repo like "x"',
        'context.input.owner == "x"',
        'context.input.n > 3 && context.input.repo == "x"',
        'context.input has repo && context.input.repo == "x"',
        '["x", 1].contains(context.input.repo)',
        "[].contains(context.input.repo)",
        f"{json.dumps(list(map(str, range(200))))}.contains(context.input.repo)",
        "true",
        'ip("::1").isLoopback() && context.input.repo == "x"',
    ],
)
def test_what_may_hold_otherwise_is_none(text: str) -> None:
    """What asks something else, or first, or can hold where the thing has another value, is not a case of the same."""
    *others, own = find_switches(_conditions([*_MANY, text]))
    assert own is None
    assert None not in others


def test_a_switch_needs_values_enough() -> None:
    """So many conditions with the same value are no switch: they are one expression."""
    assert set(find_switches(_conditions(['context.input.repo == "x"'] * 50))) == {None}
    assert set(find_switches(_conditions(_MANY[:7]))) == {None}
    assert None not in find_switches(_conditions(_MANY[:8]))


def test_kinds_of_values_are_apart() -> None:
    """`1` is not `true`, nor `"1"`, and an entity is not its parts."""
    longs = [f"context.input.value == {number}" for number in range(10)]
    texts = [f'context.input.value == "{number}"' for number in range(10)]
    entities = [f'context.input.value == User::"{number}"' for number in range(10)]
    found = find_switches(_conditions([*longs, *texts, *entities]))
    of_longs, of_texts, of_entities = (found[start] for start in (0, 10, 20))
    assert of_longs is not None
    assert of_texts is not None
    assert of_entities is not None
    reference = {"__entity": {"type": "User", "id": "1"}}
    for switch, value, number in ((of_longs, 1, 1), (of_texts, "1", 11), (of_entities, reference, 21)):
        assert _numbers(switch, _facts(value=value)) == [number]
        others: list[Any] = [v for v in (1, "1", reference) if v != value]
        for other in [*others, True, ["1"], {"type": "User", "id": "1"}, {}, ("User", "1")]:
            assert not _numbers(switch, _facts(value=other)), (value, other)


def test_where_the_value_is_not_known_each_is_unsure() -> None:
    """What is missing is an error to Cedar, and nothing may hide it."""
    switch = _switch(_MANY)
    for facts in (_facts(), Facts(_USER, _TOOL, {"input": 1}, _STORE)):
        with pytest.raises(UnsureError):
            switch.numbers(facts)
    assert not _numbers(switch, _facts(repo="other"))


def test_what_is_asked_before_is_asked_first() -> None:
    """Where that does not hold none does; where it errs or is no boolean, each is unsure."""
    switch = _switch([f"context.input has repo && {text}" for text in _MANY])
    assert not _numbers(switch, _facts())
    assert _numbers(switch, _facts(repo="r3")) == [3]
    asking = _switch([f"context.input.flag && {text}" for text in _MANY])
    assert not _numbers(asking, _facts(flag=False))
    assert _numbers(asking, _facts(flag=True, repo="r3")) == [3]
    for arguments in ({"repo": "r3"}, {"flag": 1, "repo": "r3"}, {"flag": True}):
        with pytest.raises(UnsureError):
            asking.numbers(_facts(**arguments))


def test_many_rules_of_one_value_are_found() -> None:
    """A value can have any number of rules, and a rule several values."""
    conditions = _conditions([*_MANY, *(f'["r1", "r2"].contains(context.input.repo) && {n} > 1' for n in range(30))])
    switch = find_switches(conditions)[0]
    assert switch is not None
    assert _numbers(switch, _facts(repo="r1")) == [1, *range(20, 50)]
    assert _numbers(switch, _facts(repo="r2")) == [2, *range(20, 50)]
    assert _numbers(switch, _facts(repo="r3")) == [3]


def test_a_common_value_is_told() -> None:
    """What many rules ask is near at hand anyway, so a tool that has few of them need not look for it."""
    switch = _switch([*_MANY, *['context.input.repo == "r1"'] * 64])
    assert switch.common == {1, *range(20, 84)}
    assert not _switch([*_MANY, *['context.input.repo == "r1"'] * 63]).common


@pytest.mark.parametrize("count", [12, 2_000])
@pytest.mark.parametrize("before", ["", "context.input has repo && "])
def test_only_what_can_hold_is_evaluated(count: int, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any number of rules that one thing tells apart, a call looks at those for the value that it has."""
    texts = [
        f'@id("{n}") permit(principal, action == Action::"srv/get", resource)'
        f' when {{ {before}context.input.repo == "r{n}" && context.input.n > 1 }};'
        for n in range(count)
    ]
    rules = [Rule(policy.id, policy) for policy in parse_policies("p.cedar", "\n".join(texts)).policies]
    here = CompiledPolicies(rules, PolicyIndex(rules), _STORE)
    candidates = here.candidates(_TOOL, _STORE)
    evaluated = 0
    value = IsValue.value

    def counted(expression: IsValue, facts: Facts) -> bool:
        nonlocal evaluated
        evaluated += 1
        return value(expression, facts)

    monkeypatch.setattr(IsValue, "value", counted)
    for number, n in ((0, 2), (5, 2), (7, 0), (count, 2)):
        answer = here.answer(candidates, _facts(repo=f"r{number}", n=n))
        assert answer is not None
        held = [str(number)] if number < count and n > 1 else []
        assert [policy.policy_id for policy in answer.determining] == held
    assert evaluated == 3
    # One of them would err, and Cedar has to say so.
    assert here.answer(candidates, _facts(repo="r1")) is None
    if not before:
        assert here.answer(candidates, _facts(n=2)) is None


def test_shadow_policies_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a call gets a shadow report does not hang on the values that it has."""
    texts = [
        f'@enforcement("shadow") permit(principal, action == Action::"srv/get", resource) when {{ {text} }};'
        for text in _MANY
    ]
    rules = [Rule(policy.id, policy) for policy in parse_policies("p.cedar", "\n".join(texts)).policies]
    reports = {}
    for fewest in (1, 10_000):
        monkeypatch.setattr(switches, "_FEWEST_VALUES", fewest)
        here = CompiledPolicies(rules, PolicyIndex(rules), _STORE)
        candidates = here.candidates(_TOOL, _STORE)
        found = [here.answer(candidates, _facts(repo=repo)) for repo in ("r1", "r1", "r2", "other")]
        reports[fewest] = [answer.shadow for answer in found if answer is not None]
    assert len(reports[1]) == 4
    assert reports[1] == reports[10_000]
    assert [report.would_allow for report in reports[1] if report is not None] == [True, True, True, False]
