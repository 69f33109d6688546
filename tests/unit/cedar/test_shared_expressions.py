"""What expressions have in common is there once, and goes with the last policy that has it."""

from __future__ import annotations

import gc

from pdp.cedar.expressions import Expression
from pdp.cedar.policies import parse_policies
from pdp.cedar.value_expressions import IsOneOf


def _condition(text: str) -> Expression:
    [policy] = parse_policies("p.cedar", f"permit(principal, action, resource) when {{ {text} }};").policies
    assert policy.condition is not None
    return policy.condition


def _long_lists() -> int:
    gc.collect()
    return sum(type(each) is IsOneOf for each in gc.get_objects())


def test_equal_conditions_are_one_expression() -> None:
    """Two policies with the same condition share it, and `true` and `1` are not the same."""
    assert _condition("context.input.n == 1") is _condition("context.input.n == 1")
    first, second = _condition("context.input.n == 1"), _condition("context.input.n == true")
    assert first is not second


def test_policies_that_are_gone_leave_nothing() -> None:
    """A bundle that is loaded anew, with its long lists changed or not, leaves none of the old lists in memory."""
    before = _long_lists()
    for load in range(20):
        names = ", ".join(f'"{load // 2}-{number}"' for number in range(500))
        assert type(_condition(f"[{names}].contains(context.input.to)")) is IsOneOf
    assert _long_lists() == before
