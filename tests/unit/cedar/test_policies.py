"""Policy files to analysed policies."""

from __future__ import annotations

import pytest

from pdp.cedar.context import ContextUse
from pdp.cedar.model import EntityUid
from pdp.cedar.policies import OPEN, Constraint, ParsedPolicies, Policy, parse_policies

HEAD = "permit(principal, action, resource)"


def _one(text: str) -> Policy:
    parsed = parse_policies("policies/a.cedar", text)
    assert parsed.problems == ()
    [policy] = parsed.policies
    return policy


def _problems(text: str) -> list[str]:
    return [str(problem) for problem in parse_policies("p.cedar", text).problems]


# --- attacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [".", "has", "__entity", "__extn", "Var", "Value", "attr", "left", "getTag", "if-then"])
@pytest.mark.parametrize("value", ["1", "context", "principal", '{"attr": 1}', '{"left": context, "attr": "a"}'])
def test_records_may_have_any_key(key: str, value: str) -> None:
    """A record whose keys are words of Cedar's JSON form is a record, and what stands in it is still seen."""
    policy = _one(f'{HEAD} when {{ {{"{key}": {value}}} == context.wanted }};')
    assert ("wanted",) in policy.context.reads
    assert (() in policy.context.reads) == ("context" in value)


def test_an_entity_in_a_record_of_that_name_is_seen() -> None:
    """An entity literal under a key called `__entity` is an entity literal."""
    assert _one(f'{HEAD} when {{ {{"__entity": User::"a"}} has x }};').literals == {EntityUid("User", "a")}


def test_every_broken_statement_is_reported() -> None:
    """Each statement's mistake has its own line and column, and the good ones between them are still read."""
    text = (
        "permit(principal, action, resource);\n"
        "\n"
        "forbid(principal, action, resourc);\n"
        "// a comment; with a semicolon\n"
        "permit(principal, action)  ;\n"
        '@id("good") forbid(principal, action, resource);\n'
        "permit(principal, action, resource) when { context.a === 1 };\n"
        "permit(principal, action, resource) when { true"
    )
    assert _problems(text) == [
        "p.cedar:3:27: error: found an invalid variable in the policy scope: resourc",
        "p.cedar:5:1: error: this policy is missing the `resource` variable in the scope",
        "p.cedar:7:56: error: unexpected token `=`",
        "p.cedar:8:47: error: unexpected end of input",
    ]
    assert [policy.id for policy in parse_policies("p.cedar", text).policies] == ["p.cedar#1", "good"]


def test_positions_hold_in_large_files() -> None:
    """A mistake far down in a file is found there, and spoils nothing before or after it."""
    lines = [f"{HEAD};"] * 95
    lines[41] = "permit(principal, action, resource) when { 1 === 2 };"
    lines[90] = "nonsense;"
    parsed = parse_policies("p.cedar", "\n".join(lines))
    assert [(problem.line, problem.column) for problem in parsed.problems] == [(42, 48), (91, 9)]
    numbers = [int(policy.id.partition("#")[2]) for policy in parsed.policies]
    assert numbers == [number for number in range(1, 96) if number not in (42, 91)]
    assert all(policy.line == number for policy, number in zip(parsed.policies, numbers, strict=True))


@pytest.mark.parametrize(
    "bomb",
    [
        "(" * 100_000,
        "! " * 100_000 + "true",
        'principal["a"]' + '["a"]' * 100_000,
        "context has a" + ".a" * 3_900,
        "[" * 100_000,
        '{"a":' * 100_000,
        "if true then true else " * 50_000 + "true",
        "true" + " && true" * 50_000,
        "1" + " + 1" * 50_000,
        "principal" + ".a" * 50_000,
        "1 - " * 100_000 + "1",
    ],
)
def test_bombs_are_refused(bomb: str) -> None:
    """Nesting that would end the process in Cedar's parser is refused before Cedar sees it."""
    [problem] = _problems(f"{HEAD};\n{HEAD} when {{ {bomb} }};")
    assert problem.startswith("p.cedar:2:")
    assert "nests too deeply" in problem


def test_what_is_almost_too_deep_is_read() -> None:
    """Up to the bound policies are read, or refused with the reason, and nothing is raised."""
    for depth in (10, 30, 60):
        parsed = parse_policies("p.cedar", f"{HEAD} when {{ {'(' * depth}true{')' * depth} }};")
        assert len(parsed.policies) + len(parsed.problems) == 1
    assert _one(f"{HEAD} when {{ true{' && context.a' * 200} }};").context.reads == {("a",)}
    long = parse_policies("p.cedar", f"{HEAD} when {{ true{' || false' * 1_900} }};")
    assert len(long.policies) + len(long.problems) == 1


@pytest.mark.parametrize("text", ["\ufeff" + HEAD + ";", HEAD + "\0;", "\u202e" + HEAD + ";", '"', "'", "@", "@id("])
def test_garbage_is_an_error(text: str) -> None:
    """Marks, control characters and unfinished text give one problem each, and no policy."""
    assert len(_problems(text)) == 1
    assert parse_policies("p.cedar", text).policies == ()


@pytest.mark.parametrize("mode", ["Shadow", "off", "", "shadow ", "disabled"])
def test_unknown_enforcement_is_an_error(mode: str) -> None:
    """A policy whose enforcement nobody understands does not load: it would be enforced, or not, by accident."""
    expected = f"p.cedar:2:1: error: `@enforcement` is `{mode}`; write `shadow` or `enforce`"
    assert _problems(f'\n@enforcement("{mode}") {HEAD};') == [expected]


# --- what is read ----------------------------------------------------------------------------------------------------


def test_ids_come_from_the_annotation_or_the_place() -> None:
    """`@id` names a policy; without one, or with an empty one, the file and its number in it do."""
    text = f'@id("a/b c") {HEAD};\n{HEAD};\n@id("") {HEAD};\n@id {HEAD};'
    parsed = parse_policies("policies/x.cedar", text)
    assert [policy.id for policy in parsed.policies] == [
        "a/b c",
        *(f"policies/x.cedar#{number}" for number in (2, 3, 4)),
    ]


def test_annotations_are_kept_as_written() -> None:
    """Annotations keep their text with escapes resolved; one without a value has an empty text."""
    policy = _one('@message("say \\"no\\"\\n") @advice("ä\\u{1F600}") @flag forbid(principal, action, resource);')
    assert policy.annotations == {"message": 'say "no"\n', "advice": "ä\U0001f600", "flag": ""}
    assert policy.effect == "forbid"
    assert not policy.shadow
    assert _one(f'@enforcement("shadow") {HEAD};').shadow
    assert not _one(f'@enforcement("enforce") {HEAD};').shadow


def test_the_text_is_what_was_written() -> None:
    """What is evaluated later is the policy's own text, comments inside it included, and nothing of its neighbours."""
    inner = "permit(principal, action, resource) // why\n when { true };"
    [_, policy] = parse_policies("p.cedar", f"{HEAD};\n// before\n  {inner} // after").policies
    assert (policy.text, policy.line, policy.column) == (inner, 3, 3)


@pytest.mark.parametrize(
    ("scope", "principal"),
    [
        ("principal", OPEN),
        ('principal == User::"a"', Constraint(uid=EntityUid("User", "a"), exact=True)),
        ('principal in A::Group::"g"', Constraint(uid=EntityUid("A::Group", "g"))),
        ("principal is User", Constraint("User")),
        ('principal is User in Group::"g"', Constraint("User", EntityUid("Group", "g"))),
        ("principal == ?principal", Constraint(exact=True, slot="?principal")),
        ("principal in ?principal", Constraint(slot="?principal")),
        ("principal is User in ?principal", Constraint("User", slot="?principal")),
        ('principal == User::"\\u{1F600}\\"\\\\"', Constraint(uid=EntityUid("User", '\U0001f600"\\'), exact=True)),
    ],
)
def test_scopes_are_read(scope: str, principal: Constraint) -> None:
    """Each form of a scope is read as what it is."""
    policy = _one(f"permit({scope}, action, resource);")
    assert (policy.scope.principal, policy.scope.resource) == (principal, OPEN)
    assert policy.slots == (("?principal",) if "?" in scope else ())


def test_actions_are_read() -> None:
    """An open action is None; otherwise the actions and groups are named, none at all for an empty list."""
    read, write = EntityUid("Action", "read"), EntityUid("A::Action", "write")
    for scope, actions in (
        ("action", None),
        ('action == Action::"read"', (read,)),
        ('action in Action::"read"', (read,)),
        ('action in [Action::"read", A::Action::"write"]', (read, write)),
        ("action in []", ()),
    ):
        assert _one(f"permit(principal, {scope}, resource);").scope.actions == actions


@pytest.mark.parametrize(
    ("condition", "literals", "derefs"),
    [
        ("true", set(), 0),
        ('principal == User::"a"', {"a"}, 0),
        ('[User::"a", User::"b"].contains(principal)', {"a", "b"}, 0),
        ("principal.age > 1", set(), 1),
        ("principal.manager.age > 1", set(), 2),
        ("principal has manager && principal.manager has age", set(), 2),
        ('principal.manager in User::"a"', {"a"}, 1),
        ('User::"a".manager.manager.age > 1', {"a"}, 3),
        ('principal.hasTag("x") && principal.getTag("x").age > 1', set(), 2),
        ("context.who.manager.age > 1", set(), 2),
        ("context.n > 1", set(), 0),
        ("(if context.n > 1 then principal else resource).age > 1", set(), 1),
        ('principal in resource.acl && resource.folder.owner == User::"a"', {"a"}, 2),
    ],
)
def test_reach_is_bounded(condition: str, literals: set[str], derefs: int) -> None:
    """The entities that a condition names are known, and how many references it follows is never underestimated."""
    policy = _one(f"{HEAD} when {{ {condition} }};")
    assert policy.literals == {EntityUid("User", name) for name in literals}
    assert policy.derefs >= derefs
    assert policy.derefs <= derefs + 1


@pytest.mark.parametrize(
    ("condition", "reads", "asked"),
    [
        ("context.a == 1", {("a",)}, set()),
        ("context.a.b.c == 1", {("a", "b", "c")}, set()),
        ('context["odd key"].b == 1', {("odd key", "b")}, set()),
        ("context has a", set(), {("a",)}),
        ("context has a && context.a has b", set(), {("a",), ("a", "b")}),
        ("context == principal.c", {()}, set()),
        ("[context].contains(principal.c)", {()}, set()),
        ("(if true then context else context.x).y == 1", {(), ("x",)}, set()),
        ('context.ip.isInRange(ip("10.0.0.0/8"))', {("ip",)}, set()),
        ("principal.context == 1", set(), set()),
        ('"context" == principal.name', set(), set()),
    ],
)
def test_uses_of_the_context_are_found(
    condition: str, reads: set[tuple[str, ...]], asked: set[tuple[str, ...]]
) -> None:
    """What a condition reads of the context, and what it only asks for, is known path by path."""
    use = _one(f"{HEAD} when {{ {condition} }};").context
    assert use == ContextUse(frozenset(reads), frozenset(asked))


def test_unless_counts_as_well() -> None:
    """All conditions are read, `when` and `unless` alike."""
    policy = _one(f'{HEAD} when {{ context.a }} unless {{ context.b || principal == User::"x" }};')
    assert policy.context.reads == {("a",), ("b",)}
    assert policy.literals == {EntityUid("User", "x")}


def test_nothing_makes_no_policies() -> None:
    """An empty file, or one of comments alone, has no policies and no problems."""
    for text in ("", " \n", "// nothing\n// here"):
        assert parse_policies("p.cedar", text) == ParsedPolicies()
