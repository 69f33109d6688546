"""Entities that come with a question: facts of the moment that the caller vouches for."""

from __future__ import annotations

import json
from typing import Any

import cedarpy

from pdp.cedar.added_entities import find_cycle, lay_over, normal_text
from pdp.cedar.entities import Entity, EntityStore, check_escapes, entity_from_json, uid_from_json
from pdp.cedar.model import EntityUid, is_action_type
from pdp.cedar.strict_json import JsonError, JsonLimits, parse_value
from pdp.errors import InvalidRequestError

_FIELD = "entities_json"
_LIMITS = JsonLimits()


def merge_request_entities(base: EntityStore, text: bytes, schema: cedarpy.Schema | None) -> EntityStore:
    """The bundle's entities with the request's on top. Raises InvalidRequestError.

    An entity of the bundle may be repeated as it is, never changed: which of two facts is right is not for this
    service to guess. Actions and their groups are the bundle's alone.
    """
    given = _given(text)
    cycle = find_cycle(base, given)
    if cycle is not None:
        raise InvalidRequestError(_FIELD, f"`{cycle}` is its own ancestor")
    added = []
    for form in _checked(given, text, schema):
        uid = uid_from_json(form["uid"])
        existing = base.get(uid)
        if existing is None:
            added.append(form)
        elif _comparable(existing) != _comparable(entity_from_json(form)):
            raise InvalidRequestError(_FIELD, f"`{uid}` differs from the bundle's entity of that name")
    return lay_over(base, added)


def _given(text: bytes) -> list[dict[str, Any]]:
    """The entities as sent, after a strict parse: an array of objects with uids, none of them an action."""
    try:
        document = parse_value(text, _LIMITS)
    except JsonError as error:
        raise InvalidRequestError(_FIELD, str(error), "INVALID_JSON") from error
    if not isinstance(document, list) or not all(isinstance(form, dict) for form in document):
        raise InvalidRequestError(_FIELD, "must be a JSON array of entities")
    seen: set[EntityUid] = set()
    for form in document:
        uid = _uid(form.get("uid"))
        if uid in seen:
            raise InvalidRequestError(_FIELD, f"`{uid}` is given twice")
        if is_action_type(uid.type):
            raise InvalidRequestError(_FIELD, f"`{uid}` is an action; actions come from the bundle alone")
        seen.add(uid)
        parents = form.get("parents", ())
        if not isinstance(parents, list | tuple):
            raise InvalidRequestError(_FIELD, f"`{uid}`: `parents` must be an array")
        for parent in parents:
            _uid(parent)
        try:
            check_escapes([form.get("attrs"), form.get("tags")])
        except ValueError as error:
            raise InvalidRequestError(_FIELD, f"`{uid}`: {error}") from error
    return document


def _uid(value: Any) -> EntityUid:
    try:
        return uid_from_json(value)
    except ValueError as error:
        raise InvalidRequestError(_FIELD, str(error)) from error


def _checked(given: list[dict[str, Any]], text: bytes, schema: cedarpy.Schema | None) -> list[dict[str, Any]]:
    """The entities in Cedar's explicit form, as Cedar read them and, with a schema, found them to conform."""
    try:
        parsed = json.loads(str(cedarpy.Entities.from_json_str(text.decode(), schema)))
    except ValueError as error:
        raise InvalidRequestError(_FIELD, str(error)) from error
    explicit = {uid_from_json(form["uid"]): form for form in parsed}
    # Cedar prints them in any order, with all ancestors that it knows as parents; both are as they were sent.
    parents = {uid_from_json(form["uid"]): form.get("parents", []) for form in given}
    if not parents.keys() <= explicit.keys():
        raise InvalidRequestError(_FIELD, "has an entity whose name Cedar reads in another way")
    return [{**explicit[uid], "parents": found} for uid, found in parents.items()]


def _comparable(entity: Entity) -> tuple[Any, ...]:
    """A form of an entity in which equal entities are equal."""
    return entity.uid, normal_text(entity.attrs), normal_text(entity.tags), frozenset(entity.parents)
