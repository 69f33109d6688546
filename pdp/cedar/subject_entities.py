"""What a token says about its subjects, joined with what the bundle says about them.

Parents add up, and so do attributes and tags of different names. Where both give the same attribute or tag, they must
give the same value: which of two facts is right is not for this service to guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cedarpy

from pdp.cedar.added_entities import find_cycle, lay_over, normal_text
from pdp.cedar.entities import Entity, EntityStore, check_escapes, entity_from_json
from pdp.cedar.model import is_action_type
from pdp.errors import InvalidTokenError


def merge_subject_entities(
    base: EntityStore, entities: Sequence[Mapping[str, Any]], schema: cedarpy.Schema | None
) -> EntityStore:
    """The bundle's entities with a token's facts about its subjects (entities in explicit Cedar JSON).

    An entity that the bundle lacks is added. The result conforms to the schema, if there is one. Raises
    InvalidTokenError with the entity and, for a conflict, the key.
    """
    merged: list[dict[str, Any]] = []
    for form in entities:
        said = _read(form)
        if any(existing["uid"] == said.uid._asdict() for existing in merged):
            raise InvalidTokenError(f"`{said.uid}` is given twice")
        merged.append(_joined(base.get(said.uid), said))
    cycle = find_cycle(base, merged)
    if cycle is not None:
        raise InvalidTokenError(f"`{cycle}` would be its own ancestor")
    try:
        cedarpy.Entities.from_json_str(json.dumps(merged), schema)
    except ValueError as error:
        raise InvalidTokenError(f"the subject does not fit the bundle's schema: {error}") from error
    return lay_over(base, merged)


def _read(form: Mapping[str, Any]) -> Entity:
    """An entity of the token's, which may not be an action nor be in one."""
    try:
        check_escapes([form.get("attrs"), form.get("tags")])
        said = entity_from_json(form)
    except ValueError as error:
        raise InvalidTokenError(str(error)) from error
    for uid in (said.uid, *said.parents):
        if is_action_type(uid.type):
            raise InvalidTokenError(f"`{uid}` is an action; actions come from the bundle alone")
    return said


def _joined(known: Entity | None, said: Entity) -> dict[str, Any]:
    """What the bundle knows and what the token says about one entity, as explicit Cedar JSON."""
    if known is None:
        known = Entity(said.uid, {}, {}, ())
    return {
        "uid": said.uid._asdict(),
        "attrs": _union(known, said, "attrs"),
        "tags": _union(known, said, "tags"),
        "parents": [parent._asdict() for parent in dict.fromkeys((*known.parents, *said.parents))],
    }


def _union(known: Entity, said: Entity, part: Literal["attrs", "tags"]) -> dict[str, Any]:
    ours: Mapping[str, Any] = getattr(known, part)
    theirs: Mapping[str, Any] = getattr(said, part)
    for key in sorted(ours.keys() & theirs.keys()):
        if normal_text(ours[key]) != normal_text(theirs[key]):
            word = "attribute" if part == "attrs" else "tag"
            raise InvalidTokenError(f"`{said.uid}`: the bundle and the token give the {word} `{key}` different values")
    return {**ours, **theirs}
