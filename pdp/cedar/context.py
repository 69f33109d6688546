"""What policies can see of a context, and cutting a context down to it.

Most arguments of a tool call are never looked at by any policy that applies. Handing Cedar only what the candidate
policies can read saves parsing the rest, and calls that differ only in what no policy reads share one cached
decision. Cutting is invisible to Cedar: an attribute stays present or absent exactly as it was wherever a policy can
ask for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

#: A tree of attribute names; None in place of a subtree means everything below.
_Tree = dict[str, Any]
#: The tree for use: name, name as JSON, and the plan below, None for everything.
_Plan = list[tuple[str, str, Any]]


@dataclass(frozen=True, slots=True)
class ContextUse:
    """Which parts of the context some policies see, as attribute paths; the empty path is the whole context.

    `reads` are used as values, of `asked` only the presence is asked (`context has mfa`).
    """

    reads: frozenset[tuple[str, ...]] = frozenset()
    asked: frozenset[tuple[str, ...]] = frozenset()

    def __bool__(self) -> bool:
        """Whether anything of the context is seen at all."""
        return bool(self.reads or self.asked)

    @staticmethod
    def union(uses: Iterable[ContextUse]) -> ContextUse:
        """What any of `uses` sees."""
        every = list(uses)
        return ContextUse(
            frozenset().union(*(use.reads for use in every)),
            frozenset().union(*(use.asked for use in every)),
        )


class ContextCut:
    """Cuts contexts down to a `ContextUse` and writes them as JSON; made once per policy slice."""

    def __init__(self, use: ContextUse) -> None:
        tree: _Tree | None = {}
        for path in use.asked:
            tree = _grown(tree, path, leaf={})
        for path in use.reads:
            tree = _grown(tree, path, leaf=None)
        self._plan = None if tree is None else _planned(tree)

    def __call__(self, context: Mapping[str, Any]) -> str:
        """JSON text of the parts of `context` (Cedar JSON with explicit escapes) that the use can see."""
        return json.dumps(context) if self._plan is None else _written(context, self._plan)


def _grown(tree: _Tree | None, path: tuple[str, ...], leaf: _Tree | None) -> _Tree | None:
    if tree is None:
        return None
    if not path:
        return tree if leaf is not None else None
    head = path[0]
    return {**tree, head: _grown(tree.get(head, {}), path[1:], leaf)}


def _planned(tree: _Tree) -> _Plan:
    return [(name, quoted(name), None if subtree is None else _planned(subtree)) for name, subtree in tree.items()]


def _written(value: Mapping[str, Any], plan: _Plan) -> str:
    # The encoder sets itself up anew for each call, which costs more than writing the few values that are left.
    parts: list[str] = []
    for name, key, subplan in plan:
        if name not in value:
            continue
        inner = value[name]
        if type(inner) is str:
            parts.append(f"{key}:{quoted(inner)}")
        elif type(inner) is dict and subplan is not None and "__entity" not in inner and "__extn" not in inner:
            parts.append(f"{key}:{_written(inner, subplan)}")
        else:
            # Sets, entity references and extension values are leaves: what is read through them is not in the context.
            parts.append(f"{key}:{json.dumps(inner)}")
    return "{" + ",".join(parts) + "}"
