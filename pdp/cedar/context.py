"""What policies can see of a context, and cutting a context down to it.

Most arguments of a tool call are never looked at by any policy that applies. Handing Cedar only what the candidate
policies can read saves parsing the rest, and calls that differ only in what no policy reads share one cached
decision. Cutting is invisible to Cedar: an attribute stays present or absent exactly as it was wherever a policy can
ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: A tree of attribute names; None in place of a subtree means everything below.
_Tree = dict[str, Any]


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
    """Cuts contexts down to a `ContextUse`; made once per policy slice."""

    def __init__(self, use: ContextUse) -> None:
        tree: _Tree | None = {}
        for path in use.asked:
            tree = _grown(tree, path, leaf={})
        for path in use.reads:
            tree = _grown(tree, path, leaf=None)
        self._tree = tree

    def __call__(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parts of `context` (Cedar JSON with explicit escapes) that the use can see."""
        return context if self._tree is None else _cut(context, self._tree)


def _grown(tree: _Tree | None, path: tuple[str, ...], leaf: _Tree | None) -> _Tree | None:
    if tree is None:
        return None
    if not path:
        return tree if leaf is not None else None
    head = path[0]
    return {**tree, head: _grown(tree.get(head, {}), path[1:], leaf)}


def _cut(value: Mapping[str, Any], tree: _Tree) -> Mapping[str, Any]:
    kept: dict[str, Any] = {}
    for name, subtree in tree.items():
        if name not in value:
            continue
        inner = value[name]
        # Sets, entity references and extension values are leaves: what is read through them is not in the context.
        if subtree is None or not isinstance(inner, dict) or "__entity" in inner or "__extn" in inner:
            kept[name] = inner
        else:
            kept[name] = _cut(inner, subtree)
    return kept
