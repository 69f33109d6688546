"""What entities that are laid over the bundle's have in common, wherever they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pdp.cedar.entities import EntityStore, uid_from_json
from pdp.cedar.model import EntityUid


def lay_over(base: EntityStore, forms: Sequence[Mapping[str, Any]]) -> EntityStore:
    """`base` with these entities in explicit Cedar JSON on top; where both have one, the one on top counts."""
    texts: dict[str, dict[str, str]] = {}
    for form in forms:
        uid = uid_from_json(form["uid"])
        texts.setdefault(uid.type, {})[uid.id] = json.dumps(form)
    return EntityStore(texts, base)


def find_cycle(base: EntityStore, forms: Sequence[Mapping[str, Any]]) -> EntityUid | None:
    """An entity that would be its own ancestor if these entities were laid over `base`, or None."""
    bare = [{"uid": form["uid"], "parents": form.get("parents", [])} for form in forms]
    parents = {uid_from_json(parent) for form in bare for parent in form["parents"]}
    return next(iter(lay_over(base, bare).find_cycles(parents)), None)


def normal_text(value: Any) -> str:
    """JSON text in which neither order nor repetition in Cedar sets matters; `true` and `1` stay apart."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(name)}:{normal_text(value[name])}' for name in sorted(value))}}}"
    if isinstance(value, list):
        return f"[{','.join(sorted({normal_text(inner) for inner in value}))}]"
    return json.dumps(value)
