"""Entities by uid, their ancestors, and the slices that requests get."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from pdp.cedar.entities import EntityStore, check_escapes, references, uid_from_json
from pdp.cedar.model import EntityUid
from tests.bundles import entity
from tests.entity_stores import store_of


def _store(*forms: dict[str, Any], base: EntityStore | None = None) -> EntityStore:
    return store_of(forms, base)


def _user(name: str) -> EntityUid:
    return EntityUid("User", name)


def _group(name: str) -> EntityUid:
    return EntityUid("Group", name)


def _reference(name: str) -> dict[str, Any]:
    return {"__entity": {"type": "User", "id": name}}


# --- uids and escapes ------------------------------------------------------------------------------------------------


def test_uids_have_two_forms() -> None:
    """A uid is read from Cedar's plain form and from the escaped one."""
    assert uid_from_json({"type": "A::B", "id": ""}) == EntityUid("A::B", "")
    assert uid_from_json({"__entity": {"type": "A", "id": "x"}}) == EntityUid("A", "x")


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        'A::"x"',
        ["A", "x"],
        {},
        {"type": "A"},
        {"type": "A", "id": 5},
        {"__entity": 5},
        {"type": "A", "id": "x", "more": 1},
    ],
)
def test_other_forms_are_no_uids(value: Any) -> None:
    """Whatever is not one of the two forms is refused."""
    with pytest.raises(ValueError, match="an entity uid is written"):
        uid_from_json(value)


@pytest.mark.parametrize(
    "value",
    [
        {"__entity": 5},
        {"__entity": 'User::"a"'},
        {"__entity": ["User", "a"]},
        {"__entity": {"type": "User"}},
        {"__entity": {"type": "User", "id": 5}},
        {"__entity": {"type": "User", "id": "a", "more": 1}},
        {"__entity": {"type": "User", "id": "a"}, "more": 1},
        {"__entity": {"__entity": {"type": "User", "id": "a"}}},
        {"__extn": 5},
        {"__extn": {"fn": "ip"}},
        {"__extn": {"fn": 5, "arg": "1"}},
        {"__extn": {"fn": "ip", "arg": "::1", "more": 1}},
        {"__extn": {"fn": "ip", "arg": "::1"}, "more": 1},
        {"__extn": {"fn": "offset", "args": [{"__entity": 5}]}},
        {"__extn": {"fn": "ip", "arg": {"__expr": "1"}}},
        {"__expr": "1 + 1"},
        {"__entity": {"type": "User", "id": "a"}, "__extn": {"fn": "ip", "arg": "::1"}},
    ],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"a": [1, {"b": value}]}])
def test_half_an_escape_is_refused(value: Any, wrap: Any) -> None:
    """An escape key in anything but an escape is refused at any depth: Cedar would take it for a record."""
    with pytest.raises(ValueError, match="is not used as Cedar's JSON defines it"):
        check_escapes(wrap(value))


def test_escapes_are_fine() -> None:
    """Proper escapes pass, also inside one another, and so does everything that is none."""
    check_escapes(
        [
            {"__entity": {"type": "User", "id": "__entity"}},
            {"__extn": {"fn": "offset", "args": [{"__extn": {"fn": "datetime", "arg": "2025-01-01"}}, "1d"]}},
            {"type": "User", "id": "a", "__other": [None, 1, 1.5, True, "__expr"]},
        ]
    )


def test_references_are_found_at_any_depth() -> None:
    """Entity references are found in records and sets, and nowhere else."""
    value = {"a": _reference("x"), "b": [{"c": _reference("y")}], "d": {"type": "User", "id": "z"}}
    assert sorted(references(value)) == [_user("x"), _user("y")]


# --- ancestors and cycles --------------------------------------------------------------------------------------------


def test_ancestors_are_all_above() -> None:
    """Ancestors are direct and indirect, without the entity itself, and count even where they do not exist."""
    store = _store(
        entity("User", "a", ("Group", "x")),
        entity("Group", "x", ("Group", "y"), ("Group", "z")),
        entity("Group", "y", ("Group", "missing")),
    )
    assert store.ancestors(_user("a")) == {_group(name) for name in ("x", "y", "z", "missing")}
    assert store.ancestors(_group("missing")) == frozenset()
    assert store.ancestors(_user("nobody")) == frozenset()


def test_ancestors_are_the_same_in_any_order_of_asking() -> None:
    """What was asked before does not change an answer, diamonds included."""
    forms = [
        entity("User", "a", ("Group", "l"), ("Group", "r")),
        entity("Group", "l", ("Group", "top")),
        entity("Group", "r", ("Group", "top")),
        entity("Group", "top", ("Group", "roof")),
    ]
    uids = [_user("a"), _group("l"), _group("r"), _group("top")]
    expected = {uid: _store(*forms).ancestors(uid) for uid in uids}
    for order in (uids, uids[::-1], uids[1:] + uids[:1]):
        store = _store(*forms)
        assert {uid: store.ancestors(uid) for uid in order} == expected
    assert expected[_user("a")] == {_group(name) for name in ("l", "r", "top", "roof")}


def test_a_chain_may_be_long() -> None:
    """A thousand groups inside one another do no harm."""
    forms = [entity("Group", str(number), ("Group", str(number + 1))) for number in range(5_000)]
    store = _store(*forms)
    assert len(store.ancestors(_group("0"))) == 5_000
    assert store.find_cycles([_group(str(number)) for number in range(5_000)]) == []


def test_an_overlay_hides_nothing_and_adds() -> None:
    """Entities over a base see the base's, also for their ancestors."""
    base = _store(entity("Group", "x", ("Group", "y")), entity("User", "b"))
    store = _store(entity("User", "a", ("Group", "x")), base=base)
    assert store.ancestors(_user("a")) == {_group("x"), _group("y")}
    assert store.get(_user("b")) is not None
    assert len(store) == 3
    assert list(store.ids("User")) == ["a"]


def _cycles(*edges: tuple[str, str]) -> set[str]:
    forms: dict[str, dict[str, Any]] = {}
    for child, parent in edges:
        form = forms.setdefault(child, entity("Group", child))
        form["parents"].append({"type": "Group", "id": parent})
    return {uid.id for uid in _store(*forms.values()).find_cycles([_group(parent) for _, parent in edges])}


def test_cycles_are_found() -> None:
    """One entity of each cycle is named, and none where there is no cycle."""
    assert _cycles(("a", "a")) == {"a"}
    assert len(_cycles(("a", "b"), ("b", "c"), ("c", "a")) & {"a", "b", "c"}) == 1
    found = _cycles(("a", "b"), ("b", "a"), ("x", "y"), ("y", "z"), ("z", "x"), ("leaf", "a"))
    assert len(found & {"a", "b"}) == 1
    assert len(found & {"x", "y", "z"}) == 1
    assert len(found) == 2
    assert _cycles(("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "missing")) == set()


# --- slices ----------------------------------------------------------------------------------------------------------


def _sliced(store: EntityStore, roots: Iterable[EntityUid], derefs: int) -> dict[str, dict[str, Any]]:
    return {form["uid"]["id"]: form for form in json.loads(str(store.slice(roots, derefs)))}


def test_a_slice_holds_what_can_be_reached() -> None:
    """Following n references shows the values of n entities in a row and the ancestors of the next."""
    store = _store(
        entity("User", "a", ("Group", "g"), boss=_reference("b")),
        entity("User", "b", boss=_reference("c")),
        entity("User", "c", ("Group", "h"), age=1),
        entity("User", "other", age=2),
        entity("Group", "g", ("Group", "top"), size=3),
    )
    assert _sliced(store, [_user("a")], 0).keys() == {"a"}
    assert _sliced(store, [_user("a")], 0)["a"]["attrs"] == {}
    one = _sliced(store, [_user("a")], 1)
    assert one.keys() == {"a", "b"}
    assert (one["a"]["attrs"], one["b"]["attrs"]) == ({"boss": _reference("b")}, {})
    two = _sliced(store, [_user("a")], 2)
    assert two.keys() == {"a", "b", "c"}
    assert two["c"]["attrs"] == {}
    assert two["c"]["parents"] == [{"type": "Group", "id": "h"}]
    assert _sliced(store, [_user("a")], 3)["c"]["attrs"] == {"age": 1}


def test_a_slice_carries_all_ancestors_and_tags() -> None:
    """An entity in a slice names every ancestor as a parent, so that none of them needs to be there."""
    tagged = {**entity("User", "a", ("Group", "g")), "tags": {"t": _reference("b")}}
    store = _store(tagged, entity("User", "b", age=1), entity("Group", "g", ("Group", "top")))
    sliced = _sliced(store, [_user("a")], 2)
    parents = {parent["id"] for parent in sliced["a"]["parents"]}
    assert parents == {"g", "top"}
    assert sliced["a"]["tags"] == {"t": _reference("b")}
    assert sliced["b"]["attrs"] == {"age": 1}


def test_a_slice_of_references_in_a_ring_ends() -> None:
    """Entities that refer to one another are each there once."""
    store = _store(entity("User", "a", boss=_reference("b")), entity("User", "b", boss=_reference("a")))
    assert _sliced(store, [_user("a"), _user("b")], 50).keys() == {"a", "b"}


def test_roots_that_do_not_exist_are_left_out() -> None:
    """A slice of unknown entities is empty."""
    assert _sliced(_store(), [_user("nobody")], 3) == {}
