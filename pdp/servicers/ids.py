"""Decision ids: unique without asking the system for randomness on every call."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable


def decision_ids() -> Callable[[], str]:
    """A source of ids: 16 hex digits that are this source's own, and a count of 12 more. Safe between threads."""
    prefix = secrets.token_hex(8)
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers):012x}"
