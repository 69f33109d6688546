"""The bundle's entities by uid, and the few of them that one request can reach.

Cedar takes a whole entity set per request, and extending a large one clones it, so each request gets a set of its
own with just the entities its candidate policies can reach. An entity in such a slice carries all its ancestors as
parents, so the ancestors themselves are needed only where a policy can hold them as a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cedarpy

from pdp.cedar.cache import BoundedCache, shared_text
from pdp.cedar.cedar_types import ESCAPE_KEYS
from pdp.cedar.kept_entities import Kept, Lineage, Packed, attributes_of, text_of
from pdp.cedar.model import EntityUid

#: Entities whose text is longer are read anew each time, so that what is kept stays small.
_MAX_KEPT_LENGTH = 4_096
_NO_TAGS: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Entity:
    """One entity in Cedar's explicit JSON form (`__entity` and `__extn` escapes); `parents` are direct."""

    uid: EntityUid
    attrs: Mapping[str, Any]
    tags: Mapping[str, Any]
    parents: tuple[EntityUid, ...]

    @cached_property
    def lineage(self) -> Lineage:
        """What it is and what it is in."""
        return Lineage(self.uid.type, self.parents)


def uid_from_json(value: Any) -> EntityUid:
    """A uid from either of Cedar's JSON forms. ValueError for anything else."""
    if isinstance(value, dict) and value.keys() == {"__entity"}:
        value = value["__entity"]
    if isinstance(value, dict) and value.keys() == {"type", "id"} and all(isinstance(v, str) for v in value.values()):
        return EntityUid(value["type"], value["id"])
    raise ValueError('an entity uid is written `{"type": "…", "id": "…"}`')


def check_escapes(value: Any) -> None:
    """ValueError where a key of Cedar's escapes (`__entity`, `__extn`, `__expr`) stands in anything but such an escape.

    Cedar takes most of these for records and passes over what else is in an escape, so two readers would differ.
    """
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            key = next(iter(ESCAPE_KEYS & current.keys()), None)
            if key is None:
                pending.extend(current.values())
            elif len(current) == 1 and _is_escape(key, current[key]):
                pending.append(current[key].get("args", current[key].get("arg")))
            else:
                raise ValueError(f"`{key}` is not used as Cedar's JSON defines it")
        elif isinstance(current, list):
            pending.extend(current)


def _is_escape(key: str, inner: Any) -> bool:
    if not isinstance(inner, dict):
        return False
    if key == "__entity":
        return inner.keys() == {"type", "id"} and all(isinstance(part, str) for part in inner.values())
    return key == "__extn" and inner.keys() in ({"fn", "arg"}, {"fn", "args"}) and isinstance(inner["fn"], str)


def entity_from_json(value: Mapping[str, Any]) -> Entity:
    """An entity from Cedar's JSON form. ValueError where uid or parents are not uids."""
    return Entity(
        uid_from_json(value.get("uid")),
        value.get("attrs", {}),
        value.get("tags", {}),
        tuple(uid_from_json(parent) for parent in value.get("parents", ())),
    )


def _known_entity(uid: EntityUid, value: Mapping[str, Any]) -> Entity:
    """The same, for what was read before and found to be well-formed."""
    written = (parent.get("__entity", parent) for parent in value.get("parents", ()))
    parents = tuple([EntityUid(parent["type"], parent["id"]) for parent in written])
    attributes = _with_shared_texts(value.get("attrs", {}))
    return Entity(uid, attributes, value.get("tags", {}), parents)


def _with_shared_texts(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The same attributes. Conditions look for the names and compare with the texts, which is quick for one object."""
    return {
        shared_text(name): shared_text(value) if type(value) is str else value for name, value in attributes.items()
    }


class EntityStore:
    """Entities by uid, read when asked for.

    `kept` maps type to id to the entity as it is kept. `base` is looked up for what `kept` lacks, so a request's own
    entities can lie over the bundle's. Immutable once made; safe to share between threads.
    """

    def __init__(self, kept: Mapping[str, Mapping[str, Kept]], base: EntityStore | None = None) -> None:
        self._kept = kept
        self._base = base
        self._ancestors: BoundedCache[EntityUid, frozenset[EntityUid]] = BoundedCache(65_536)
        self._parts: BoundedCache[tuple[EntityUid, bool], _Part] = BoundedCache(16_384)
        self._entities: BoundedCache[EntityUid, Entity] = BoundedCache(8_192)

    def __len__(self) -> int:
        return sum(map(len, self._kept.values())) + (len(self._base) if self._base else 0)

    def ids(self, entity_type: str) -> Iterator[str]:
        """The ids of the entities of one type, without those of the base."""
        return iter(self._kept.get(entity_type, {}))

    def text(self, uid: EntityUid) -> str | None:
        """The entity's JSON text, or None where there is no such entity."""
        kept = self._kept.get(uid.type, {}).get(uid.id)
        if kept is None and self._base is not None:
            return self._base.text(uid)
        return text_of(uid, kept) if isinstance(kept, tuple) else kept

    def look(self, uid: EntityUid) -> Packed | Entity | None:
        """The entity as it is at hand, to look at a part of it; None where there is none."""
        of_type = self._kept.get(uid.type)
        kept = of_type.get(uid.id) if of_type is not None else None
        if kept is None and self._base is not None:
            return self._base.look(uid)
        return self._read(uid, kept) if isinstance(kept, str) else kept

    def get(self, uid: EntityUid) -> Entity | None:
        """The entity, or None where there is none."""
        found = self.look(uid)
        if isinstance(found, tuple):
            # Made so quickly that to keep it would cost more.
            return Entity(uid, attributes_of(found), _NO_TAGS, found[1].parents)
        return found

    def _read(self, uid: EntityUid, text: str) -> Entity:
        entity = self._entities.get(uid)
        if entity is None:
            entity = _known_entity(uid, json.loads(text))
            if len(text) <= _MAX_KEPT_LENGTH:
                self._entities.put(uid, entity)
        return entity

    def _parents(self, uid: EntityUid) -> tuple[EntityUid, ...] | None:
        """What it is in, directly; None for an entity that does not exist."""
        found = self.look(uid)
        if isinstance(found, tuple):
            lineage: Lineage = found[1]
            return lineage.parents
        return None if found is None else found.parents

    def ancestors(self, uid: EntityUid) -> frozenset[EntityUid]:
        """Everything `uid` is in, directly or not, without itself. Parents that do not exist count."""
        known = self._ancestors.get(uid)
        if known is None:
            parents = self._parents(uid)
            if parents is None:
                # Not kept: there is nothing to save, and the id may be anything a caller sent.
                return frozenset()
            known = self._closure(parents)
            self._ancestors.put(uid, known)
        return known

    def _closure(self, parents: Iterable[EntityUid]) -> frozenset[EntityUid]:
        found: set[EntityUid] = set()
        pending = list(parents)
        while pending:
            parent = pending.pop()
            if parent not in found:
                found.add(parent)
                above = self._ancestors.get(parent)
                if above is None:
                    pending.extend(self._parents(parent) or ())
                else:
                    found |= above
        return frozenset(found)

    def find_cycles(self, parents: Iterable[EntityUid]) -> list[EntityUid]:
        """One entity of each cycle of parents. `parents` must hold every uid that is anybody's parent.

        Only a parent can be on a cycle, so leaves are never looked at.
        """
        found: dict[EntityUid, None] = {}
        done: set[EntityUid] = set()
        for start in parents:
            on_path: set[EntityUid] = set()
            stack: list[tuple[EntityUid, bool]] = [(start, False)]
            while stack:
                uid, leaving = stack.pop()
                if leaving:
                    on_path.discard(uid)
                    done.add(uid)
                elif uid in on_path:
                    found[uid] = None
                elif uid not in done:
                    on_path.add(uid)
                    stack.append((uid, True))
                    stack.extend((parent, False) for parent in self._parents(uid) or ())
        return list(found)

    def slice(self, roots: Iterable[EntityUid], derefs: int) -> cedarpy.Entities:
        """The entities that policies following at most `derefs` references from `roots` can reach.

        An entity `n` references away is read only by an expression that follows `n + 1`; at the last step only its
        ancestors matter (`principal.manager in Group::"x"`).
        """
        texts: list[str] = []
        seen = set(roots)
        frontier = list(seen)
        for distance in range(derefs + 1):
            reached: list[EntityUid] = []
            for uid in frontier:
                part = self._part(uid, distance < derefs)
                if part is not None:
                    texts.append(part.text)
                    reached.extend(part.references)
            frontier = [uid for uid in dict.fromkeys(reached) if uid not in seen]
            seen.update(frontier)
            if not frontier:
                break
        return cedarpy.Entities.from_json_str(f"[{','.join(texts)}]")

    def _part(self, uid: EntityUid, with_values: bool) -> _Part | None:
        """One entity as it stands in a slice, with or without its attributes and tags; None where there is none."""
        part = self._parts.get((uid, with_values))
        if part is None:
            entity = self.get(uid)
            if entity is None:
                return None
            part = _make_part(entity, self.ancestors(uid), with_values)
            if len(part.text) <= _MAX_KEPT_LENGTH:
                self._parts.put((uid, with_values), part)
        return part


class _Part(NamedTuple):
    """An entity in a slice: its JSON text, and the entities that its attributes and tags refer to."""

    text: str
    references: tuple[EntityUid, ...]


def _make_part(entity: Entity, ancestors: Iterable[EntityUid], with_values: bool) -> _Part:
    form: dict[str, Any] = {
        "uid": entity.uid._asdict(),
        "attrs": entity.attrs if with_values else {},
        "parents": [ancestor._asdict() for ancestor in ancestors],
    }
    if with_values and entity.tags:
        form["tags"] = entity.tags
    found = references([entity.attrs, entity.tags]) if with_values and (entity.attrs or entity.tags) else ()
    return _Part(json.dumps(form), tuple(found))


def references(value: Any) -> list[EntityUid]:
    """Every entity that a Cedar JSON value refers to with `__entity`, at any depth."""
    found: list[EntityUid] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if "__entity" in current:
                found.append(uid_from_json(current))
            else:
                pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
    return found
