"""What is known of a call."""

from __future__ import annotations

from typing import Any

import pytest

from pdp.call import RpcCall
from pdp.identity.callers import ANYONE


class _Context:
    """A call of grpc that goes on or does not, with so many seconds left by the machine's clock."""

    def __init__(self, seconds: float | None, active: bool) -> None:
        self._seconds, self._active = seconds, active

    def time_remaining(self) -> float | None:
        """By the machine's clock."""
        return self._seconds

    def is_active(self) -> bool:
        """By a clock that nobody sets."""
        return self._active


@pytest.mark.parametrize(
    ("seconds", "active", "expected"),
    [(5.0, True, 5.0), (None, True, None), (0, True, None), (0, False, 0), (5.0, False, 5.0)],
)
def test_a_clock_that_was_set_ends_no_call(seconds: float | None, active: bool, expected: float | None) -> None:
    """Time that is up for a call that goes on is the clock's mistake; for one that has ended, it is up."""
    context: Any = _Context(seconds, active)
    assert RpcCall(ANYONE, context).time_remaining() == expected
