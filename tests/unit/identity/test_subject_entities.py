"""A token's facts joined with the bundle's."""

from __future__ import annotations

import json
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.entities import EntityStore
from pdp.cedar.model import EntityUid
from pdp.cedar.subject_entities import merge_subject_entities
from pdp.errors import InvalidTokenError
from tests.entity_stores import store_of

ALICE = EntityUid("User", "alice")
BOT = EntityUid("Agent", "bot")
SCHEMA = cedarpy.Schema.from_str(
    """
    entity Group in [Group];
    entity Agent in [Group] { model: String };
    entity User in [Group] { email?: String, level?: Long, share?: decimal, names?: Set<String> } tags String;
    action call appliesTo { principal: [Agent, User], resource: [Group], context: { on_behalf_of?: User } };
    """
)


def _form(uid: EntityUid, *parents: str, attrs: Any = None, tags: Any = None) -> dict[str, Any]:
    groups = [{"type": "Group", "id": parent} for parent in parents]
    return {"uid": uid._asdict(), "attrs": attrs or {}, "tags": tags or {}, "parents": groups}


def _base(*forms: dict[str, Any]) -> EntityStore:
    return store_of(forms)


def _refusal(base: EntityStore, *forms: dict[str, Any], schema: cedarpy.Schema | None = None) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        merge_subject_entities(base, forms, schema)
    return str(caught.value)


def _group(name: str) -> EntityUid:
    return EntityUid("Group", name)


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_an_unknown_subject_is_added(schema: cedarpy.Schema | None) -> None:
    """A subject that the bundle does not know is there with what the token says; its groups need not exist."""
    base = _base(_form(_group("staff"), "all"))
    store = merge_subject_entities(base, [_form(ALICE, "staff", "new", attrs={"level": 3}, tags={"t": "x"})], schema)
    alice = store.get(ALICE)
    assert alice is not None
    assert (alice.attrs, alice.tags) == ({"level": 3}, {"t": "x"})
    assert store.ancestors(ALICE) == {_group("staff"), _group("all"), _group("new")}
    assert base.get(ALICE) is None
    assert store.get(_group("staff")) is not None


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_facts_add_up(schema: cedarpy.Schema | None) -> None:
    """Parents, attributes and tags of bundle and token are joined; what both say alike is said once."""
    names = ["a", "b"]
    base = _base(_form(ALICE, "staff", attrs={"level": 3, "names": names}, tags={"t": "x"}))
    said = _form(ALICE, "staff", "night", attrs={"names": ["b", "a", "b"], "email": "a@x"}, tags={"u": "y", "t": "x"})
    alice = merge_subject_entities(base, [said], schema).get(ALICE)
    assert alice is not None
    assert alice.parents == (_group("staff"), _group("night"))
    assert alice.attrs.keys() == {"level", "names", "email"}
    assert alice.tags == {"t": "x", "u": "y"}


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (3, 4),
        (1, True),
        (0, False),
        ("a", "A"),
        ("a", "a "),
        ("é", "e\u0301"),
        ("1", 1),
        (["a"], "a"),
        (["a"], ["a", "b"]),
        ([], ["a"]),
        ({"__extn": {"fn": "decimal", "arg": "1.0"}}, "1.0"),
        ({"__entity": {"type": "User", "id": "bob"}}, {"type": "User", "id": "bob"}),
    ],
)
@pytest.mark.parametrize(("part", "word"), [("attrs", "attribute"), ("tags", "tag")])
def test_conflicts_are_errors(part: str, word: str, known: Any, said: Any) -> None:
    """Where bundle and token give one attribute or tag different values, neither wins: the token is invalid."""
    for ours, theirs in ((known, said), (said, known)):
        found = _refusal(_base(_form(ALICE, **{part: {"k": ours}})), _form(ALICE, **{part: {"k": theirs}}))
        assert found == f'`User::"alice"`: the bundle and the token give the {word} `k` different values'


@pytest.mark.parametrize(
    "said",
    [
        _form(ALICE, attrs={"undeclared": 1}),
        _form(ALICE, attrs={"level": "3"}),
        _form(ALICE, tags={"t": 1}),
        _form(BOT),
        _form(BOT, attrs={"model": "m", "email": "x"}),
        _form(EntityUid("Stranger", "x")),
        {**_form(ALICE), "parents": [{"type": "User", "id": "bob"}]},
        _form(_group("g"), attrs={"x": 1}),
    ],
)
def test_the_schema_is_kept(said: dict[str, Any]) -> None:
    """With a schema a subject that does not conform is invalid: attributes, types, required ones, groups, tags."""
    assert "does not fit the bundle's schema" in _refusal(_base(), said, schema=SCHEMA)
    assert merge_subject_entities(_base(), [said], None).get(EntityUid(**said["uid"])) is not None


def test_what_the_token_lacks_the_bundle_may_give() -> None:
    """It is the joined entity that has to conform."""
    base = _base(_form(BOT, attrs={"model": "m1"}))
    bot = merge_subject_entities(base, [_form(BOT, "blue")], SCHEMA).get(BOT)
    assert bot is not None
    assert bot.attrs == {"model": "m1"}


@pytest.mark.parametrize("kind", ["Action", "Acme::Action"])
def test_actions_are_the_bundles_alone(kind: str) -> None:
    """A token is no action and puts nobody into one."""
    action = EntityUid(kind, "call")
    assert "is an action" in _refusal(_base(), _form(action))
    assert "is an action" in _refusal(_base(), {**_form(ALICE), "parents": [action._asdict()]})


def test_nobody_is_its_own_ancestor() -> None:
    """Groups of the token that lead back to the subject, or are it, are refused."""
    circle = _base({**_form(_group("staff")), "parents": [ALICE._asdict()]})
    assert "its own ancestor" in _refusal(circle, _form(ALICE, "staff"))
    assert "its own ancestor" in _refusal(_base(), {**_form(ALICE), "parents": [ALICE._asdict()]})
    pair = [{**_form(ALICE), "parents": [BOT._asdict()]}, {**_form(BOT), "parents": [ALICE._asdict()]}]
    assert "its own ancestor" in _refusal(_base(), *pair)


def test_nobody_comes_twice() -> None:
    """A subject that is given twice is refused, alike or not."""
    assert "given twice" in _refusal(_base(), _form(ALICE), _form(ALICE))


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"uid": "User"},
        {"uid": {"type": "User"}},
        {**_form(ALICE), "parents": [1]},
        {**_form(ALICE), "parents": [{"type": "Group"}]},
        _form(ALICE, attrs={"x": {"__entity": "y"}}),
        _form(ALICE, attrs={"x": {"__extn": {"fn": "decimal", "arg": "x"}}}),
        _form(ALICE, attrs={"x": 1.5}),
        _form(ALICE, attrs={"x": None}),
        _form(ALICE, tags={"x": 2**63}),
    ],
)
def test_broken_entities_are_refused(form: dict[str, Any]) -> None:
    """What is no entity, or no value of Cedar's, is an invalid token and no other error."""
    assert _refusal(_base(), form)


def test_the_bundle_stays_as_it_is() -> None:
    """The bundle's own entities are not touched, for other tokens and other calls."""
    base = _base(_form(ALICE, "staff", attrs={"level": 3}))
    before = base.text(ALICE)
    merge_subject_entities(base, [_form(ALICE, "admins", attrs={"email": "x"})], None)
    assert base.text(ALICE) == before
    assert base.ancestors(ALICE) == {_group("staff")}


_names = st.sampled_from(["a", "b", "c"])
_facts = st.dictionaries(_names, st.integers(0, 1) | st.booleans() | st.lists(_names, max_size=2), max_size=3)


@given(known=_facts, said=_facts, groups=st.tuples(st.lists(_names), st.lists(_names)))
def test_nothing_is_lost_and_nothing_won(
    known: dict[str, Any], said: dict[str, Any], groups: tuple[list[str], list[str]]
) -> None:
    """The joined entity has exactly what bundle and token say, or is refused because they differ."""
    base = _base(_form(ALICE, *groups[0], attrs=known))
    try:
        alice = merge_subject_entities(base, [_form(ALICE, *groups[1], attrs=said)], None).get(ALICE)
    except InvalidTokenError:
        assert any(json.dumps(known[key]) != json.dumps(said[key]) for key in known.keys() & said.keys())
        return
    assert alice is not None
    assert set(alice.parents) == {_group(name) for name in groups[0] + groups[1]}
    assert alice.attrs.keys() == known.keys() | said.keys()
    for key, value in alice.attrs.items():
        for facts in (known, said):
            assert key not in facts or _as_cedar(facts[key]) == _as_cedar(value)


def _as_cedar(value: Any) -> Any:
    return frozenset(value) if isinstance(value, list) else json.dumps(value)


POLICIES = """
permit (principal in Group::"agents", action, resource)
when { context has on_behalf_of && context.on_behalf_of in Group::"staff" };
"""


@pytest.mark.parametrize(
    ("agent_groups", "user_groups", "allowed"),
    [(["agents"], ["staff"], True), (["agents"], [], False), ([], ["staff"], False), (["staff"], ["agents"], False)],
)
@pytest.mark.parametrize("from_bundle", [True, False])
def test_both_must_be_allowed(
    agent_groups: list[str], user_groups: list[str], allowed: bool, from_bundle: bool
) -> None:
    """A policy can require that both the agent and the user it acts for are allowed, by facts from either side."""
    full = [_form(BOT, *agent_groups, attrs={"model": "m"}), _form(ALICE, *user_groups)]
    bare = [_form(BOT, attrs={"model": "m"}), _form(ALICE)]
    base, said = (_base(*full), bare) if from_bundle else (_base(), full)
    store = merge_subject_entities(base, said, SCHEMA)
    request = {
        "principal": BOT._asdict(),
        "action": {"type": "Action", "id": "call"},
        "resource": {"type": "Group", "id": "any"},
        "context": {"on_behalf_of": {"__entity": ALICE._asdict()}},
    }
    result = cedarpy.is_authorized(request, POLICIES, store.slice([BOT, ALICE], 2), SCHEMA)
    assert (result.decision is cedarpy.Decision.Allow) == allowed
