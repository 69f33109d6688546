"""Entities that a caller sends with a question."""

from __future__ import annotations

import json
from typing import Any

import cedarpy
import pytest

from pdp.cedar.entities import EntityStore
from pdp.cedar.model import EntityUid
from pdp.cedar.request_entities import merge_request_entities
from pdp.errors import InvalidRequestError
from tests.bundles import entity
from tests.entity_stores import store_of

_SCHEMA = cedarpy.Schema.from_str(
    "entity Group in [Group]; entity User in [Group] { age?: Long, ip?: ipaddr, boss?: User, names?: Set<String> };"
)


def _base(*forms: dict[str, Any]) -> EntityStore:
    return store_of(forms)


def _merge(
    given: str | bytes | list[Any], base: EntityStore | None = None, schema: cedarpy.Schema | None = None
) -> EntityStore:
    text = json.dumps(given) if isinstance(given, list) else given
    return merge_request_entities(base or _base(), text.encode() if isinstance(text, str) else text, schema)


def _refused(*arguments: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        _merge(*arguments)
    assert caught.value.field == "entities_json"
    return caught.value.message


# --- attacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"\xff", "is not UTF-8 at byte 0"),
        ("", "(document): is empty"),
        ("null", "must be a JSON array of entities"),
        ("{}", "must be a JSON array of entities"),
        ("[1]", "must be a JSON array of entities"),
        ("[[]]", "must be a JSON array of entities"),
        ('[{"a":1,"a":2}]', "/0/a: the key `a` is given twice"),
        ("[{}]", "an entity uid is written"),
        ('[{"uid":"User::\\"a\\"","attrs":{},"parents":[]}]', "an entity uid is written"),
        ('[{"uid":["User","a"],"attrs":{},"parents":[]}]', "an entity uid is written"),
        ('[{"uid":{"type":"User","id":1},"attrs":{},"parents":[]}]', "an entity uid is written"),
        ('[{"uid":{"type":"User","id":"a","x":1.5},"attrs":{},"parents":[]}]', "an entity uid is written"),
        (
            '[{"uid":{"__entity":{"type":"User","id":"a"},"x":1.5},"attrs":{},"parents":[]}]',
            "an entity uid is written",
        ),
        (
            '[{"uid":{"type":"User","id":"a"},"attrs":{},"parents":[{"type":"Group","id":"g","x":1.5}]}]',
            "an entity uid is written",
        ),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{},"parents":null}]', '`User::"a"`: `parents` must be an array'),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{},"parents":[1]}]', "an entity uid is written"),
        ('[{"uid":{"type":"User","id":"a"},"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":[],"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":null,"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"not a type","id":"a"},"attrs":{},"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{"x":1.5},"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{"x":null},"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{"x":1e400},"parents":[]}]', "error during entity deserialization"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{"x":NaN},"parents":[]}]', "/0/attrs/x: `NaN` is not JSON"),
        ('[{"uid":{"type":"User","id":"a"},"attrs":{},"parents":[]}] x', "there is text after the JSON value"),
        ("[" * 40 + "]" * 40, "nests deeper than 32 levels"),
    ],
)
@pytest.mark.parametrize("schema", [None, _SCHEMA], ids=["free", "typed"])
def test_malformed_entities_are_the_callers_mistake(
    given: str | bytes, message: str, schema: cedarpy.Schema | None
) -> None:
    """Whatever is not an array of well-formed entities is refused with what is wrong, with and without a schema."""
    assert message in _refused(given, None, schema)


@pytest.mark.parametrize(
    "value",
    [
        {"__entity": 5},
        {"__entity": ["User", "a"]},
        {"__entity": {"type": "User", "id": "a"}, "x": 1},
        {"__extn": {"fn": "ip"}},
        {"__expr": "1"},
    ],
)
@pytest.mark.parametrize("part", ["attrs", "tags"])
def test_half_an_escape_is_refused(value: Any, part: str) -> None:
    """An escape key that is not an escape would be a record for Cedar and a reference for others; it is neither."""
    form = {**entity("User", "a"), part: {"x": [value]}}
    assert "is not used as Cedar's JSON defines it" in _refused([form])


@pytest.mark.parametrize("kind", ["Action", "Acme::Action"])
def test_actions_come_from_the_bundle_alone(kind: str) -> None:
    """A caller that could add actions could put a tool into a group, or out of one."""
    expected = f'`{kind}::"read"` is an action; actions come from the bundle alone'
    assert _refused([entity(kind, "read", (kind, "read_only"))]) == expected


def test_an_entity_is_given_once() -> None:
    """Two entities of one name are refused, even if they are equal."""
    assert _refused([entity("User", "a"), entity("User", "a")]) == '`User::"a"` is given twice'


def test_the_schema_binds() -> None:
    """With a schema, types, attributes and parents that it does not know are refused."""
    for form in (
        entity("Robot", "r"),
        entity("User", "a", age="old"),
        entity("User", "a", shoe=44),
        entity("User", "a", ("User", "b")),
    ):
        assert _refused([form], None, _SCHEMA)


@pytest.mark.parametrize(
    ("attributes", "given"),
    [
        ({"admin": True}, {"admin": 1}),
        ({"level": 0}, {"level": False}),
        ({"level": 1}, {"level": "1"}),
        ({"level": 1}, {}),
        ({}, {"level": 1}),
        ({"names": ["a"]}, {"names": ["a", "b"]}),
        ({"sub": {"x": 1}}, {"sub": {"x": 2}}),
        ({"boss": {"__entity": {"type": "User", "id": "x"}}}, {"boss": {"type": "User", "id": "x"}}),
    ],
)
def test_the_bundle_cannot_be_contradicted(attributes: dict[str, Any], given: dict[str, Any]) -> None:
    """An entity of the bundle that is sent with other values is refused; not even `1` is `true`."""
    message = _refused([entity("User", "a", **given)], _base(entity("User", "a", **attributes)))
    assert message == '`User::"a"` differs from the bundle\'s entity of that name'


def test_the_first_contradiction_is_named() -> None:
    """Of several, in the order of the request; the answer to the same question is the same."""
    names = [f"u{number}" for number in range(20)]
    base = _base(*(entity("User", name, level=1) for name in names))
    for first in (5, 11, 17):
        given = [entity("User", name) for name in names[first:] + names[:first]]
        assert _refused(given, base) == f'`User::"u{first}"` differs from the bundle\'s entity of that name'


@pytest.mark.parametrize("parents", [[], [("Group", "x"), ("Group", "y")], [("Group", "y")]])
def test_membership_cannot_be_changed(parents: list[tuple[str, str]]) -> None:
    """An entity of the bundle that is sent with other parents is refused."""
    assert "differs from the bundle's" in _refused(
        [entity("User", "a", *parents)], _base(entity("User", "a", ("Group", "x")))
    )


def test_tags_cannot_be_changed() -> None:
    """An entity of the bundle that is sent with other tags is refused."""
    tagged = {**entity("User", "a"), "tags": {"t": 1}}
    assert "differs from the bundle's" in _refused([entity("User", "a")], _base(tagged))
    assert "differs from the bundle's" in _refused([{**tagged, "tags": {"t": 2}}], _base(tagged))


@pytest.mark.parametrize(
    "forms",
    [
        [entity("Group", "a", ("Group", "a"))],
        [entity("Group", "a", ("Group", "b")), entity("Group", "b", ("Group", "a"))],
        [entity("Group", "a", ("Group", "bundled"))],
    ],
)
def test_no_entity_is_its_own_ancestor(forms: list[dict[str, Any]]) -> None:
    """Cycles are refused, also those that close through an entity of the bundle."""
    message = _refused(forms, _base(entity("Group", "bundled", ("Group", "a"))))
    assert "is its own ancestor" in message or "transitive closure" in message


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_new_entities_lie_over_the_bundles() -> None:
    """What is sent is there, with its ancestors through the bundle, and the bundle's store stays as it was."""
    base = _base(entity("Group", "x", ("Group", "y")))
    merged = _merge([entity("User", "a", ("Group", "x"), age=5)], base)
    assert merged.ancestors(EntityUid("User", "a")) == {EntityUid("Group", "x"), EntityUid("Group", "y")}
    found = merged.get(EntityUid("User", "a"))
    assert found is not None
    assert found.attrs == {"age": 5}
    assert base.get(EntityUid("User", "a")) is None


def test_an_empty_array_is_fine() -> None:
    """No entities are as good as none at all."""
    assert len(_merge([])) == 0


def test_an_entity_of_the_bundle_may_be_repeated() -> None:
    """Order of keys, members and parents, and repetitions in sets, make no difference."""
    bundled = entity("User", "a", ("Group", "x"), ("Group", "y"), names=["b", "a", "a"], sub={"p": 1, "q": [2, 3]})
    again = entity("User", "a", ("Group", "y"), ("Group", "x"), sub={"q": [3, 2], "p": 1}, names=["a", "b"])
    merged = _merge([again], _base(bundled))
    assert len(merged) == 1


def test_a_schema_lets_escapes_be_left_out() -> None:
    """With a schema, references and addresses may be written without escapes, and mean the same."""
    form = entity("User", "a", ip="10.0.0.1", boss={"type": "User", "id": "b"})
    merged = _merge([form], None, _SCHEMA)
    found = merged.get(EntityUid("User", "a"))
    assert found is not None
    assert found.attrs == {
        "ip": {"__extn": {"fn": "ip", "arg": "10.0.0.1"}},
        "boss": {"__entity": {"type": "User", "id": "b"}},
    }


def test_direct_parents_stay_direct() -> None:
    """Cedar prints all ancestors as parents; what is kept is what was sent."""
    merged = _merge([entity("User", "a", ("Group", "x")), entity("Group", "x", ("Group", "y"))])
    found = merged.get(EntityUid("User", "a"))
    assert found is not None
    assert found.parents == (EntityUid("Group", "x"),)


def test_a_name_that_cedar_reads_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should Cedar ever give back another name than was sent, nobody guesses which of the two is meant."""

    class Renaming:
        """Reads every entity under one name."""

        @staticmethod
        def from_json_str(text: str, schema: object) -> str:
            """The entities as Cedar prints them."""
            return json.dumps([entity("User", "somebody else") for _ in json.loads(text)])

    monkeypatch.setattr(cedarpy, "Entities", Renaming)
    assert _refused([entity("User", "a")]) == "has an entity whose name Cedar reads in another way"
