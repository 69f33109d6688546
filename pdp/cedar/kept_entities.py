"""How entities are kept: a million of them fit in memory, and a call has to touch as little of one as it can.

Most entities have simple values. Such a one is a tuple: what to fetch of it is little and lies together, what many have
alike is one object, and the collector of cycles, which walks through containers, finds nothing in it to follow. All
others are kept as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pdp.cedar.cache import shared_text
from pdp.cedar.model import EntityUid

#: The names of an entity's attributes, those of them that are references, what it is in (types and ids by turns), then
#: the values in the order of their names. A reference is a type and an id.
Packed = tuple[Any, ...]

#: Explicit JSON text, or the parts.
Kept = str | Packed

#: Entities whose text is longer stay text.
_MAX_LENGTH = 4_096
_SIMPLE = frozenset({str, int, bool})

#: What entities that are made together have alike.
Shared = dict[tuple[Any, ...], tuple[Any, ...]]


def kept(form: Mapping[str, Any], parents: tuple[EntityUid, ...], text: str, shared: Shared) -> Kept:
    """An entity in explicit JSON as it is kept; `text` is all of it, `parents` is what it says of those."""
    attrs: Mapping[str, Any] = form.get("attrs", {})
    if form.get("tags") or len(text) > _MAX_LENGTH or not all(map(_is_simple, attrs.values())):
        return text
    names = tuple(map(shared_text, attrs))
    references = tuple([shared_text(name) for name, value in attrs.items() if type(value) is dict])
    alike = [shared.setdefault(part, part) for part in (names, references, above_of(parents))]
    return (*alike, *map(_value, attrs.values()))


def _is_simple(value: Any) -> bool:
    return type(value) in _SIMPLE or (type(value) is dict and "__entity" in value)


def _value(value: Any) -> Any:
    if type(value) is dict:
        uid = value["__entity"]
        return shared_text(uid["type"]), uid["id"]
    # Conditions compare with such texts, which is quick for one object.
    return shared_text(value) if type(value) is str else value


def attributes_of(entity: Packed) -> dict[str, Any]:
    """Its attributes in explicit JSON."""
    names, references, _, *values = entity
    attributes = dict(zip(names, values, strict=True))
    for name in references:
        kind, entity_id = attributes[name]
        attributes[name] = {"__entity": {"type": kind, "id": entity_id}}
    return attributes


def above_of(parents: Iterable[EntityUid]) -> tuple[str, ...]:
    """What an entity is in, as a part of it."""
    return tuple([part for uid in parents for part in (shared_text(uid.type), uid.id)])


def parents_of(above: tuple[str, ...]) -> tuple[EntityUid, ...]:
    """What an entity is in, by the part that says so."""
    return tuple(map(EntityUid, above[::2], above[1::2]))


def text_of(uid: EntityUid, entity: Packed) -> str:
    """An entity as explicit JSON text."""
    parents = [parent._asdict() for parent in parents_of(entity[2])]
    return json.dumps({"uid": uid._asdict(), "attrs": attributes_of(entity), "parents": parents})
