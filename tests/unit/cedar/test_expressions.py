"""Conditions that are evaluated here: what they say, and where they leave it to Cedar.

Each case is asked of Cedar too, so no expectation here can be anything but Cedar's own.
"""

from __future__ import annotations

import json
from typing import Any

import cedarpy
import pytest

from pdp.cedar.arguments import ToolInput
from pdp.cedar.cedar_types import Record
from pdp.cedar.expressions import Facts
from pdp.cedar.model import EntityUid
from pdp.cedar.policies import parse_policies
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.values import UnsureError, canonical
from tests.entity_stores import store_of

ADA, READ, DOC = EntityUid("User", "ada"), EntityUid("Action", "read"), EntityUid("Doc", "d")
TOOL = CallableTool(READ, DOC, ToolInput(Record()))
ENTITIES: list[dict[str, Any]] = [
    {
        "uid": {"type": "User", "id": "ada"},
        "attrs": {
            "age": 7,
            "boss": {"__entity": {"type": "User", "id": "bob"}},
            "gone": {"__entity": {"type": "User", "id": "x"}},
        },
        "tags": {"k": {"__entity": {"type": "User", "id": "bob"}}},
        "parents": [{"type": "Group", "id": "inner"}],
    },
    # Of simple values alone.
    {
        "uid": {"type": "User", "id": "bob"},
        "attrs": {"age": 9, "friend": {"__entity": {"type": "User", "id": "ada"}}},
        "parents": [],
    },
    {"uid": {"type": "Group", "id": "inner"}, "attrs": {}, "parents": [{"type": "Group", "id": "outer"}]},
    {"uid": {"type": "Action", "id": "read"}, "attrs": {}, "parents": [{"type": "Action", "id": "any"}]},
]
CONTEXT: dict[str, Any] = {
    "n": 1,
    "yes": True,
    "text": "a*b\0\U0001f600",
    "ada": {"__entity": {"type": "User", "id": "ada"}},
    "lookalike": {"type": "User", "id": "ada"},
    "set": [1, "1", True, [2, 1, 1], {"__entity": {"type": "User", "id": "ada"}}, {"a": [1], "b": 2}],
    "price": {"__extn": {"fn": "decimal", "arg": "1.50"}},
    "zero": {"__extn": {"fn": "decimal", "arg": "-0.0"}},
    "ip": {"__extn": {"fn": "ip", "arg": "10.0.0.1"}},
    "addresses": [{"__extn": {"fn": "ip", "arg": "10.0.0.1"}}],
    "most": 2**63 - 1,
    "least": -(2**63),
}


def _here(clauses: str, context: dict[str, Any]) -> bool | None:
    """What is said here of a policy with these clauses; None where it is left to Cedar."""
    [policy] = parse_policies("a.cedar", f"permit(principal, action, resource) {clauses};").policies
    if policy.condition is None:
        return None
    try:
        found = policy.condition.value(Facts(ADA, TOOL, context, store_of(ENTITIES)))
    except UnsureError:
        return None
    return found if type(found) is bool else None


def _there(clauses: str, context: dict[str, Any]) -> bool | None:
    """What Cedar says; None for an error."""
    uids = {name: uid._asdict() for name, uid in (("principal", ADA), ("action", READ), ("resource", DOC))}
    result = cedarpy.is_authorized(
        {**uids, "context": json.dumps(context)},
        f"permit(principal, action, resource) {clauses};",
        json.dumps(ENTITIES),
    )
    return None if result.diagnostics.errors else result.decision is cedarpy.Decision.Allow


def _said(condition: str) -> bool | None:
    """What is said here of one condition, which Cedar says too unless it is nothing."""
    clauses = f"when {{ {condition} }}"
    found = _here(clauses, CONTEXT)
    assert found is None or found is _there(clauses, CONTEXT)
    return found


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("principal.boss.age == 9", True),
        ('principal.boss.friend == User::"ada"', True),
        ("principal.boss.friend.age == 7", True),
        ("principal.boss.friend == principal", True),
        ('principal.boss.friend in Group::"outer"', True),
        ("[principal.boss.friend].contains(principal)", True),
        ("principal.boss has friend", True),
        ("principal.boss has boss", False),
        ('principal.boss.hasTag("k")', False),
        ("principal.boss.boss == 1", None),
        ('principal.boss.getTag("k") == 1', None),
    ],
)
def test_entities_of_simple_values(condition: str, expected: bool | None) -> None:
    """They are looked at as they are kept, also for references and for what they do not have."""
    assert _said(condition) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("context.n == 1", True),
        ('context.n == "1"', False),
        ("context.n == true", False),
        ("context.yes == 1", False),
        ('context.ada == User::"ada"', True),
        ("context.ada == context.lookalike", False),
        ('context.lookalike == {id: "ada", type: "User"}', True),
        ("[1, 2, 2] == [2, 1]", True),
        ("[1, 2] == [2, [1]]", False),
        ("[[]] == []", False),
        ("[true] == [1]", False),
        ("{a: {}} == {a: []}", False),
        ("{a: 1, b: [2, 3]} == {b: [3, 2], a: 1}", True),
        ('context.price == decimal("1.5")', True),
        ('context.zero == decimal("0.0")', True),
        ("context.price == 15000", False),
        ("context.price != context.zero", True),
    ],
)
def test_equality(condition: str, expected: bool) -> None:
    """Values of different kinds are never equal, and order, repetition and spelling make no difference."""
    assert _said(condition) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("context.set.contains(1)", True),
        ("[true].contains(1)", False),
        ("[1].contains(true)", False),
        ('["1"].contains(1)', False),
        ("[context.yes].contains(context.n)", False),
        ("[context.n, context.yes].contains(context.yes)", True),
        ("context.set.contains([1, 2])", True),
        ("context.set.contains(2)", False),
        ('context.set.contains(User::"ada")', True),
        ("context.set.contains(context.lookalike)", False),
        ("context.set.contains({b: 2, a: [1, 1]})", True),
        ('["a", context.text].contains("a")', True),
        ('context.addresses.contains("10.0.0.1")', False),
        ("context.set.containsAll([])", True),
        ("context.set.containsAny([])", False),
        ("context.set.containsAll([true, 1, 1])", True),
        ('[1, 2].containsAny([true, "1"])', False),
        ("[[1], [2]].containsAll([[2, 2]])", True),
        ("[].isEmpty()", True),
        ("context.set.isEmpty()", False),
    ],
)
def test_sets(condition: str, expected: bool) -> None:
    """A set holds what is equal to one of its items, whatever kinds stand side by side in it."""
    assert _said(condition) is expected


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("a*b\0\U0001f600", "a\\*b*", True),
        ("axb", "a\\*b", False),
        ("\u00e9", "e\u0301", False),
        ("\U0001f600", "*\U0001f600*", True),
        ("", "*", True),
        ("", "", True),
        ("ab", "**", True),
        ("ab", "ab*b", False),
        ("aba", "ab*ba", False),
        ("abba", "ab*ba", True),
        ("aab", "*a*b", True),
        ("ab", "*ab*ab*", False),
        ("a\\b", "a\\\\b", True),
        ("A", "a", False),
    ],
)
def test_like(text: str, pattern: str, expected: bool) -> None:
    """A pattern's literals are met one behind the other, none of them twice, and nothing is normalized."""
    text = text.replace("\\", "\\\\").replace("\0", "\\0")
    assert _said(f'"{text}" like "{pattern}"') is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("principal in principal", True),
        ('User::"x" in User::"x"', True),
        ('principal in Group::"outer"', True),
        ('Group::"outer" in principal', False),
        ('principal in [User::"bob", Group::"outer"]', True),
        ("principal in []", False),
        ('action in Action::"any"', True),
        ('action == Action::"any"', False),
        ('principal is User in Group::"inner"', True),
        ('principal is Group in Group::"inner"', False),
        ('User::"x" is User', True),
        ("principal has boss.age && principal.boss.age == 9", True),
        ("principal has gone.age", False),
        ('User::"x" has age', False),
        ('User::"x".hasTag("k")', False),
        ('principal.getTag("k").age == 9', True),
        ('principal.hasTag("age")', False),
        ("context has lookalike.id", True),
        ("{a: principal}.a.boss.age == 9", True),
    ],
)
def test_entities(condition: str, expected: bool) -> None:
    """References are followed, hierarchies climbed, and what does not exist has nothing and is in itself alone."""
    assert _said(condition) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("context.most + 0 == 9223372036854775807", True),
        ("-9223372036854775808 == context.least", True),
        ("-(-(context.n)) == 1", True),
        ("context.most > context.most - 1", True),
        ("3037000500 * 3037000499 > 0", True),
        ('context.price.lessThan(decimal("1.5001"))', True),
        ('context.zero.greaterThanOrEqual(decimal("0.0"))', True),
        ('decimal("-922337203685477.5807").lessThan(decimal("922337203685477.5807"))', True),
        ('decimal("-0.5").lessThan(context.zero)', True),
    ],
)
def test_numbers(condition: str, expected: bool) -> None:
    """Integers of 64 bits and decimals are exact up to their ends."""
    assert _said(condition) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "context.most + 1 > 0",
        "-context.least > 0",
        "context.most * 2 > 0",
        "context.absent",
        "principal.absent == 1",
        'User::"x".age == 1',
        'principal.getTag("none") == 1',
        "principal.hasTag(1)",
        "context.n",
        "!context.n",
        "context.n && true",
        "true && context.n",
        "false || context.n",
        "if context.n then true else true",
        "context.yes < 2",
        "context.text < 2",
        "context.price < context.price",
        'context.n.lessThan(decimal("1.0"))',
        'context.n like "1"',
        'context.lookalike in User::"ada"',
        "principal in [1]",
        'principal in [User::"ada", 1]',
        "context.lookalike is User",
        "context.n has a",
        'context.text.contains("a")',
        'decimal("1.12345") == 1',
        'decimal("x") == 1',
        "[context.absent].contains(1)",
    ],
)
def test_what_errs_is_left_to_cedar(condition: str) -> None:
    """What Cedar calls an error is never said anything of here."""
    assert _there(f"when {{ {condition} }}", CONTEXT) is None
    assert _said(condition) is None


@pytest.mark.parametrize(
    "condition",
    [
        "context.ip == context.ip",
        "context.ip.isIpv4()",
        'datetime("2025-01-01") < datetime("2025-01-02")',
        '[context.ip].containsAll([context.ip, "a"])',
        '{"__entity": {type: "User", id: "ada"}} == context.ada',
        '{"__extn": {fn: "decimal", arg: "1.5"}} == context.price',
    ],
)
def test_what_only_cedar_knows_is_left_to_it(condition: str) -> None:
    """Extension values but decimals, and records that look like escapes, are Cedar's."""
    assert _said(condition) is None


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ("", True),
        ("when { false } when { context.absent }", False),
        ("when { context.absent } when { false }", None),
        ("unless { true } when { context.absent }", False),
        ("unless { context.absent } unless { true }", None),
        ("when { false && context.absent }", False),
        ("unless { true || context.absent }", False),
        ("when { true && (false && 1) }", False),
        ("when { true || 1 } unless { if true then false else context.absent }", True),
        ("when { (context.absent || true) }", None),
    ],
)
def test_what_is_behind_is_not_looked_at(clauses: str, expected: bool | None) -> None:
    """Clauses and their parts are taken in order, and an error counts only if Cedar would come to it."""
    assert _here(clauses, CONTEXT) is expected
    assert _there(clauses, CONTEXT) is expected


@pytest.mark.parametrize(("levels", "is_known"), [(40, True), (60, False)])
def test_deep_conditions_are_left_to_cedar(levels: int, is_known: bool) -> None:
    """A condition is evaluated here to a depth that no stack minds."""
    found = _said("!(" * levels + "context.yes" + ")" * levels)
    assert (found is not None) is is_known


def test_long_chains_are_not_deep() -> None:
    """`&&` and `||` are one level, however many parts they have."""
    assert _said(" && ".join(["context.yes"] * 90)) is True
    assert _said(" || ".join(["!context.yes"] * 90)) is False


def test_values_too_deep_to_compare_are_left_to_cedar() -> None:
    """A value that would end the interpreter's stack is no answer and no crash."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnsureError):
        canonical(value)


def test_nobody_can_make_values_that_hash_alike() -> None:
    """Sets of integers that would all have one hash as Python's sets of integers do not have it here."""
    mask, factor = 2**64 - 1, 3644798167

    def mixed(hash_: int) -> int:
        return ((hash_ ^ 89869747 ^ (hash_ << 16)) * factor) & mask

    def unmixed(value: int) -> int:
        wanted = (value * pow(factor, -1, 2**64)) & mask ^ 89869747
        found = wanted
        for _ in range(4):
            found = wanted ^ ((found << 16) & mask)
        return found

    others = [(number, unmixed(mixed(number) ^ 0x123456789ABCDEF)) for number in range(2, 400)]
    alike = [[one, other] for one, other in others if other < 2**61 - 1]
    assert len(alike) > 10
    if len({hash(frozenset(pair)) for pair in alike}) > 1:
        pytest.skip("this interpreter hashes sets in another way")
    assert len({hash(canonical(pair)) for pair in alike}) == len(alike)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"x": 1}, True),
        ({"x": {"__entity": {"type": "User", "id": "ada"}}}, False),
        ({"y": 1}, None),
        ({"__entity": {"type": "User", "id": "ada"}}, None),
        ("x", None),
        (["x"], None),
        (1, None),
        (True, None),
    ],
)
def test_an_argument_is_read_from_a_record_only(given: Any, expected: bool | None) -> None:
    """`context.input.x` is what stands there in the record; where there is no record, it is left to Cedar."""
    clauses, context = "when { context.input.x == 1 }", {"input": given}
    assert _here(clauses, context) is expected
    assert expected is None or _there(clauses, context) is expected


def test_an_argument_of_an_odd_name_is_read_too() -> None:
    """A name that means something in Cedar's JSON is a name like others in a policy, and no argument has it."""
    assert _here('when { context.input["__entity"] == 1 }', {"input": {"x": 1}}) is None
    assert _here('when { context.input["a b"] == 1 }', {"input": {"a b": 1}}) is True
