"""What a policy's conditions look at, in Cedar's JSON form: parts of the context, and what is known before a call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Guard(NamedTuple):
    """A condition that has to hold for a policy to apply, and that looks at nothing of a call itself.

    `text` is one condition in Cedar's JSON form, `keys` the top-level keys of the context that it reads.
    """

    text: str
    keys: frozenset[str]


class Guards(NamedTuple):
    """What has to hold. `is_open` tells whether there is more to hold than `known`, which only a call can show."""

    known: tuple[Guard, ...] = ()
    is_open: bool = False


def read_guards(conditions: Sequence[Mapping[str, Any]]) -> Guards:
    """The guards of a policy: its conditions, taken apart where all parts have to hold.

    A part that names the action is left open, since it is not the same for all tools.
    """
    known: list[Guard] = []
    is_open = False
    for kind, body in _parts(conditions):
        keys = _keys(body)
        if keys is None:
            is_open = True
        else:
            known.append(Guard(json.dumps({"kind": kind, "body": body}, separators=(",", ":")), keys))
    return Guards(tuple(known), is_open)


def context_path(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The attribute path if `node` reads from `context` (`context.input.owner`, `context has mfa`), else None."""
    attributes: list[str] = []
    current: Any = node
    while isinstance(current, dict) and len(current) == 1:
        access = current.get(".") or current.get("has")
        # A record expression can have keys of these names; under them stands an expression and no attribute.
        if access is None or "attr" not in access:
            break
        attributes.append(access["attr"])
        current = access["left"]
    return tuple(reversed(attributes)) if current == {"Var": "context"} else None


def _parts(conditions: Sequence[Mapping[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Every part of which all have to hold: `when` is split at `&&`, `unless` at `||`."""
    splits = {"when": "&&", "unless": "||"}
    for condition in conditions:
        kind = condition["kind"]
        pending = [condition["body"]]
        while pending:
            node = pending.pop()
            sides = node.get(splits[kind]) if isinstance(node, dict) and len(node) == 1 else None
            if isinstance(sides, dict) and sides.keys() == {"left", "right"}:
                pending += (sides["right"], sides["left"])
            else:
                yield kind, node


def _keys(root: Any) -> frozenset[str] | None:
    """The context keys that an expression reads; None where it reads the context as a whole, or the action."""
    keys: set[str] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            path = context_path(node)
            if path is not None:
                if not path:
                    return None
                keys.add(path[0])
            elif node == {"Var": "action"}:
                return None
            else:
                stack.extend(node.values())
    return frozenset(keys)
