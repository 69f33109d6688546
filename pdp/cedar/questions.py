"""What is asked of a question before it is answered, and what is read from it."""

from __future__ import annotations

from typing import Any

from pdp.cedar.model import ActionQuery, EntityUid, Query, ToolQuery, is_entity_type
from pdp.errors import InvalidRequestError

#: Longer questions are answered but not kept: a cache of 10,000 keys of 1 MiB would not be bounded in any useful way.
MAX_KEY_LENGTH = 8_192
_ACTED_FOR = "subject.on_behalf_of.type"


def is_small(query: Query) -> bool:
    """Whether a question is short enough to be kept as a key."""
    size = len(query.principal.id) + len(query.context) + len(query.entities) + len(query.subject_facts)
    if isinstance(query, ToolQuery):
        names = len(query.server) + len(query.tool) + len(query.session_id)
        return size + names + len(query.arguments) + len(query.facts) <= MAX_KEY_LENGTH
    return size + len(query.action.id) + len(query.resource.id) <= MAX_KEY_LENGTH


def require_type(uid: EntityUid, field_name: str) -> None:
    if not is_entity_type(uid.type):
        raise InvalidRequestError(field_name, f"`{uid.type}` is not a Cedar entity type name")


def require_acted_for(uid: EntityUid, declared: str | None) -> dict[str, dict[str, str]]:
    """Whom a subject acts for, as policies see it. `declared` is the type that the schema has for it, if it has one.

    Raises InvalidRequestError.
    """
    require_type(uid, _ACTED_FOR)
    if declared is not None and uid.type != declared:
        message = f"`{uid.type}` is not the type that the bundle's schema has for `on_behalf_of`, `{declared}`"
        raise InvalidRequestError(_ACTED_FOR, message)
    return {"__entity": {"type": uid.type, "id": uid.id}}


def refused_field(query: ActionQuery, message: str) -> str:
    """The field that Cedar's complaint is about: it begins with the part of the request, or names the entity."""
    parts = {
        "principal": ("subject.entity", query.principal),
        "action": ("action_on_resource.action", query.action),
        "resource": ("action_on_resource.resource", query.resource),
    }
    first = message.partition(" ")[0]
    if first in parts:
        return parts[first][0]
    named = (field for field, uid in parts.values() if message.startswith(f"entity `{uid}`"))
    return next(named, "context_json")


def possible_references(value: Any) -> list[EntityUid]:
    """Every entity that a context might refer to, escaped or not: with a schema, `{"type", "id"}` alone is enough."""
    found: list[EntityUid] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if isinstance(current.get("type"), str) and isinstance(current.get("id"), str):
                found.append(EntityUid(current["type"], current["id"]))
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
    return found
