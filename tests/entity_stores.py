"""Entities as a bundle's are kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pdp.cedar.entities import EntityStore, uid_from_json
from pdp.cedar.kept_entities import Kept, Shared, kept


def store_of(forms: Iterable[Mapping[str, Any]], base: EntityStore | None = None) -> EntityStore:
    """A store of these entities in explicit Cedar JSON."""
    shared = Shared()
    found: dict[str, dict[str, Kept]] = {}
    for form in forms:
        uid, parents = uid_from_json(form["uid"]), tuple(map(uid_from_json, form.get("parents", ())))
        found.setdefault(uid.type, {})[uid.id] = kept(form, uid, parents, json.dumps(form), shared)
    return EntityStore(found, base)
