"""How entities are kept: a million of them fit in memory, and a call has to touch as little of one as it can.

Most entities have simple values. Such a one is a tuple: what to fetch of it is little and lies together, and what many
have alike is one object. Conditions look at it as it is. All others are kept as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pdp.cedar.cache import shared_text
from pdp.cedar.model import EntityUid

#: The names of an entity's attributes, its lineage, then the values in the order of their names. A reference is a type
#: and an id.
Packed = tuple[Any, ...]
FIRST_VALUE = 2

#: Explicit JSON text, or the parts.
Kept = str | Packed

#: Entities whose text is longer stay text.
_MAX_LENGTH = 4_096
_SIMPLE = frozenset({str, int, bool})

#: No more of what is alike is at hand.
_MOST_ALIKE = 65_536


class Lineage:
    """What an entity is, and what it is in directly. Many entities have the same one.

    `asked` is what the scopes of some policies ask of principals and all of this lineage have, with a mark that says
    which policies these are; it is theirs to set.
    """

    __slots__ = ("_above", "asked", "type")

    def __init__(self, entity_type: str, parents: Iterable[EntityUid]) -> None:
        self.type = shared_text(entity_type)
        #: Types and ids by turns.
        self._above = tuple([part for uid in parents for part in (shared_text(uid.type), uid.id)])
        self.asked: tuple[object, frozenset[int]] = (None, frozenset())

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """What it is in, in the order in which they were given."""
        return tuple(map(EntityUid, self._above[::2], self._above[1::2]))


class Shared:
    """What entities that are made together have alike."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._lineages: dict[tuple[str, tuple[EntityUid, ...]], Lineage] = {}

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Equal names, the same object for all that asked lately."""
        if len(self._names) >= _MOST_ALIKE:
            self._names.clear()
        return self._names.setdefault(names, names)

    def lineage(self, entity_type: str, parents: tuple[EntityUid, ...]) -> Lineage:
        """The lineage of an entity of this type in these, the same object for all that asked lately."""
        if len(self._lineages) >= _MOST_ALIKE:
            self._lineages.clear()
        key = entity_type, parents
        return self._lineages.get(key) or self._lineages.setdefault(key, Lineage(*key))


def kept(form: Mapping[str, Any], uid: EntityUid, parents: tuple[EntityUid, ...], text: str, shared: Shared) -> Kept:
    """An entity in explicit JSON as it is kept; `text` is all of it, `uid` and `parents` are what it says of those."""
    attrs: Mapping[str, Any] = form.get("attrs", {})
    if form.get("tags") or len(text) > _MAX_LENGTH or not all(map(_is_simple, attrs.values())):
        return text
    names = tuple(map(shared_text, attrs))
    return (shared.names(names), shared.lineage(uid.type, parents), *map(_value, attrs.values()))


def _is_simple(value: Any) -> bool:
    return type(value) in _SIMPLE or (type(value) is dict and "__entity" in value)


def _value(value: Any) -> Any:
    if type(value) is dict:
        uid = value["__entity"]
        return shared_text(uid["type"]), uid["id"]
    # Conditions compare with such texts, which is quick for one object.
    return shared_text(value) if type(value) is str else value


def attribute_of(entity: Packed, name: str) -> Any:
    """The value of one attribute. Raises ValueError where there is none of this name."""
    found = entity[entity[0].index(name) + FIRST_VALUE]
    return EntityUid(*found) if type(found) is tuple else found


def attributes_of(entity: Packed) -> dict[str, Any]:
    """Its attributes in explicit JSON."""
    values = map(_in_json, entity[FIRST_VALUE:])
    return dict(zip(entity[0], values, strict=True))


def _in_json(value: Any) -> Any:
    return {"__entity": {"type": value[0], "id": value[1]}} if type(value) is tuple else value


def text_of(uid: EntityUid, entity: Packed) -> str:
    """An entity as explicit JSON text."""
    parents = [parent._asdict() for parent in entity[1].parents]
    return json.dumps({"uid": uid._asdict(), "attrs": attributes_of(entity), "parents": parents})
