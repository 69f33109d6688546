"""How entities are kept: whatever they have, they are read as they were written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdp.cedar.entities import Entity, entity_from_json
from pdp.cedar.kept_entities import Kept, Shared, kept, text_of
from pdp.cedar.model import EntityUid
from tests.entity_stores import store_of

ADA = EntityUid("User", "ada")
BOSS = {"__entity": {"type": "User", "id": "boss"}}
SIMPLE: dict[str, Any] = {
    "age": -(2**63),
    "name": "Ada \u2028 \U0001f600",
    "away": False,
    "boss": BOSS,
    "": "",
    "twin": BOSS,
}
OTHER: dict[str, Any] = {
    "a set": [1, "a"],
    "a record": {"inner": 1},
    "an extension": {"__extn": {"fn": "decimal", "arg": "1.0"}},
    "no value": None,
    "a fraction": 1.5,
}


def _form(attrs: dict[str, Any], *parents: str, **more: Any) -> dict[str, Any]:
    above = [{"type": "Group", "id": parent} for parent in parents]
    return {"uid": ADA._asdict(), "attrs": attrs, "parents": above, **more}


def _kept(form: dict[str, Any], shared: Shared | None = None) -> Kept:
    return kept(form, ADA, entity_from_json(form).parents, json.dumps(form), shared or Shared())


def _parts(entity: Entity | None) -> tuple[Any, ...]:
    assert entity is not None
    return entity.uid, list(entity.attrs.items()), dict(entity.tags), entity.parents


FORMS: dict[str, dict[str, Any]] = {
    "simple": _form(SIMPLE, "a", "b"),
    "empty": _form({}),
    "bare": {"uid": ADA._asdict()},
    "escaped parents": {**_form({"age": 1}), "parents": [{"__entity": {"type": "Group", "id": "a"}}]},
    "tags": _form(SIMPLE, "a", tags={"k": "v"}),
    "no tags": _form(SIMPLE, "a", tags={}),
    **{name: _form({"age": 1, "other": value}, "a") for name, value in OTHER.items()},
}


@pytest.mark.parametrize("name", FORMS)
def test_entities_are_read_as_they_were_written(name: str) -> None:
    """Attributes in their order and of their types, tags and parents are those of the JSON, however they are kept."""
    form = FORMS[name]
    found, written = store_of([form]).get(ADA), entity_from_json(form)
    assert _parts(found) == _parts(written)
    assert found is not None
    assert list(map(type, found.attrs.values())) == list(map(type, written.attrs.values()))


@pytest.mark.parametrize("name", FORMS)
def test_the_text_says_the_same(name: str) -> None:
    """An entity's JSON text is one of the same entity."""
    text = store_of([FORMS[name]]).text(ADA)
    assert text is not None
    assert _parts(entity_from_json(json.loads(text))) == _parts(entity_from_json(FORMS[name]))


def test_simple_ones_are_no_text() -> None:
    """Most entities are kept in parts; those with other values, with tags, or of great length as text."""
    assert {name for name, form in FORMS.items() if isinstance(_kept(form), str)} == {"tags", *OTHER}
    assert isinstance(_kept(_form({"name": "x" * 5_000})), str)


def test_what_is_alike_is_one_object() -> None:
    """Names, references and parents of many entities are kept once, and so are their short texts."""
    shared = Shared()
    one, other = (
        _kept(_form({"org": "acme", "boss": BOSS}, "a"), shared),
        _kept(json.loads(json.dumps(_form({"org": "acme", "boss": BOSS}, "a"))), shared),
    )
    assert isinstance(one, tuple)
    assert isinstance(other, tuple)
    assert all(mine is theirs for mine, theirs in zip(one[:3], other[:3], strict=True))


def test_no_value_is_taken_for_another() -> None:
    """A text stays a text and a number a number, whatever other entities have."""
    forms = [
        {**_form({"v": value}), "uid": {"type": "User", "id": str(n)}} for n, value in enumerate([1, True, "1", 0])
    ]
    store = store_of(forms)
    values = [entity.attrs["v"] for n in range(4) if (entity := store.get(EntityUid("User", str(n)))) is not None]
    assert list(map(repr, values)) == ["1", "True", "'1'", "0"]


def test_texts_of_parts_are_json() -> None:
    """What is hostile in a name or a value is escaped."""
    form = _form({'"}': '"},{"'}, '"')
    found = _kept(form)
    assert isinstance(found, tuple)
    assert json.loads(text_of(ADA, found)) == form
