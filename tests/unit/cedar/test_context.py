"""Cutting a context down to what policies can see."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.context import ContextCut, ContextUse

_NAMES = st.sampled_from(["a", "b", "c"])
_PATHS = st.lists(_NAMES, max_size=3).map(tuple)
_LEAVES: st.SearchStrategy[Any] = (
    st.integers(0, 3)
    | st.just({"__entity": {"type": "a", "id": "b"}})
    | st.just({"__extn": {"fn": "ip", "arg": "::1"}})
    | st.lists(st.integers(0, 3), max_size=2)
)
_VALUES = st.recursive(_LEAVES, lambda inner: st.dictionaries(_NAMES, inner, max_size=3), max_leaves=8)
_CONTEXTS = st.dictionaries(_NAMES, _VALUES, max_size=3)

_ABSENT = object()


def _cut(context: dict[str, Any], reads: Iterable[tuple[str, ...]], asked: Iterable[tuple[str, ...]]) -> Any:
    return json.loads(ContextCut(ContextUse(frozenset(reads), frozenset(asked)))(context))


def _at(context: Any, path: tuple[str, ...]) -> Any:
    """What stands at `path`, through records alone; `_ABSENT` where nothing does."""
    for name in path:
        if not isinstance(context, dict) or "__entity" in context or "__extn" in context or name not in context:
            return _ABSENT
        context = context[name]
    return context


@given(_CONTEXTS, st.sets(_PATHS, max_size=4), st.sets(_PATHS.filter(bool), max_size=4))
def test_what_policies_see_is_as_it_was(
    context: dict[str, Any], reads: set[tuple[str, ...]], asked: set[tuple[str, ...]]
) -> None:
    """Every value that is read is unchanged, and every attribute that is asked for is there if it was."""
    cut = _cut(context, reads, asked)
    for path in reads:
        assert _at(cut, path) == _at(context, path)
    for path in asked:
        assert (_at(cut, path) is _ABSENT) == (_at(context, path) is _ABSENT)


@given(_CONTEXTS, st.sets(_PATHS, max_size=3), st.sets(_PATHS, max_size=3))
def test_nothing_is_made_up(context: dict[str, Any], reads: set[tuple[str, ...]], asked: set[tuple[str, ...]]) -> None:
    """Whatever a cut context holds stood at the same place in the whole one."""
    cut = _cut(context, reads, asked)
    pending: list[tuple[Any, Any]] = [(cut, context)]
    while pending:
        part, whole = pending.pop()
        if isinstance(part, dict) and part != whole:
            assert part.keys() <= whole.keys()
            pending.extend((part[name], whole[name]) for name in part)
        else:
            assert part == whole


@pytest.mark.parametrize(
    ("reads", "asked", "expected"),
    [
        ([], [], {}),
        ([("a",)], [], {"a": {"x": 1, "y": {"z": 2}}}),
        ([("a", "y")], [], {"a": {"y": {"z": 2}}}),
        ([("a", "y", "z")], [("b",)], {"a": {"y": {"z": 2}}, "b": {}}),
        ([("a", "absent")], [], {"a": {}}),
        ([], [("a", "y")], {"a": {"y": {}}}),
        ([()], [], {"a": {"x": 1, "y": {"z": 2}}, "b": {"c": 3}}),
        ([("a",), ("a", "x")], [("a", "y")], {"a": {"x": 1, "y": {"z": 2}}}),
    ],
)
def test_only_what_is_seen_is_kept(
    reads: list[tuple[str, ...]], asked: list[tuple[str, ...]], expected: dict[str, Any]
) -> None:
    """A cut keeps the attributes on the way and nothing beside them; of what is only asked for, an empty record."""
    context = {"a": {"x": 1, "y": {"z": 2}}, "b": {"c": 3}}
    assert _cut(context, reads, asked) == expected


def test_uses_join() -> None:
    """The union of uses sees what any of them sees, and is empty only if all are."""
    one = ContextUse(frozenset({("a",)}), frozenset())
    other = ContextUse(frozenset(), frozenset({("b",)}))
    assert ContextUse.union([one, other]) == ContextUse(frozenset({("a",)}), frozenset({("b",)}))
    assert (bool(ContextUse.union([])), bool(one), bool(other)) == (False, True, True)


def test_text_of_a_cut_is_json_for_any_string() -> None:
    """Names and values with quotes, control characters and lone marks of JSON come out as they went in."""
    hostile = '"\\\n\u2028}{],\x00\x7f\U0001f600'
    context = {hostile: {hostile: hostile}, "b": [hostile], "c": {"__entity": {"type": "T", "id": hostile}}}
    assert _cut(context, [(hostile, hostile), ("b",), ("c", "x")], []) == context
    assert _cut(context, [()], []) == context
