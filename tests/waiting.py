"""Waiting for something that another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Far more than anything here takes; it only ends the wait for what never comes.
LIMIT_SECONDS = 30.0
_STEP_SECONDS = 0.005


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as `condition` holds; fail, naming `what` was awaited, if it does not come to that."""
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(_STEP_SECONDS)
