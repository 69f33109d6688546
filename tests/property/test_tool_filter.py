"""A filtered list hides no tool that could be called: what it hides, no call of generated worlds is allowed."""

from __future__ import annotations

import pytest

from pdp.cedar.filter_tools import ToolFilter
from pdp.cedar.index import Rule
from pdp.cedar.model import DenialCode, EntityUid, Subject, ToolQuery
from tests.property.test_differential import TOOLS, WORLDS, Sides
from tests.property.worlds import make_queries, make_world

_BLOCK = 20
QUERIES = 60
NAMES = [tool.name for tool in TOOLS]


def _filter(sides: Sides) -> ToolFilter:
    return ToolFilter(sides.authorizer.model, sides.authorizer.slices)


def _tool_queries(sides: Sides, seed: int) -> list[ToolQuery]:
    return [query for query in make_queries(sides.world, seed, QUERIES) if isinstance(query, ToolQuery)]


def _looks_at_calls(rules: list[Rule]) -> bool:
    """Whether anything but who asks could matter to any of these."""
    return any(rule.policy.guards.is_open or any(guard.keys for guard in rule.policy.guards.known) for rule in rules)


@pytest.mark.parametrize("block", range(0, WORLDS // 4, _BLOCK))
def test_what_is_hidden_is_never_allowed(block: int) -> None:
    """No generated call of a hidden tool is allowed, and a tool whose policies look at no call is listed exactly if
    its calls are."""
    for seed in range(block, min(block + _BLOCK, WORLDS // 4)):
        sides = Sides(make_world(seed))
        tools = _filter(sides)
        for query in _tool_queries(sides, seed):
            denial = tools.filter(Subject(query.principal), query.server, NAMES, b"")[query.tool]
            answer = sides.authorizer.authorize(query)
            if denial is not None:
                assert not answer.allowed, (seed, query, denial)
            elif answer.denial is None or answer.denial.code is not DenialCode.INVALID_ARGUMENTS:
                model = sides.authorizer.model
                call = model.tools[query.server, query.tool]
                parts = [(uid, model.entities.ancestors(uid)) for uid in (query.principal, call.action, call.resource)]
                asked = sides.authorizer.slices.index.principal(parts[0])
                if not _looks_at_calls(sides.authorizer.slices.applicable(asked, *parts[1:])):
                    assert answer.allowed, (seed, query)


def test_the_worlds_are_worth_filtering() -> None:
    """Tools of the generated worlds are listed, hidden by a forbid, and hidden for want of a permit, all often."""
    seen = {"listed": 0, DenialCode.FORBIDDEN: 0, DenialCode.NO_MATCHING_POLICY: 0}
    for seed in range(60):
        tools = _filter(Sides(make_world(seed)))
        for number in range(8):
            for denial in tools.filter(Subject(EntityUid("User", f"u{number}")), "srv", NAMES, b"").values():
                seen["listed" if denial is None else denial.code] += 1
    assert min(seen.values()) > 20, seen


def test_a_second_answer_is_the_first() -> None:
    """What is kept is what was found, for the same names and for others."""
    for seed in range(20):
        sides = Sides(make_world(seed))
        kept, fresh = _filter(sides), _filter(sides)
        user = Subject(EntityUid("User", "u1"))
        first = kept.filter(user, "srv", NAMES[:1], b"")
        assert kept.filter(user, "srv", NAMES, b"") == fresh.filter(user, "srv", NAMES, b"")
        assert kept.filter(user, "srv", NAMES[:1], b"") == first
