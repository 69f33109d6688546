"""How long random tests go on, from which seed, and what must never be in the service's log.

`PDP_FUZZ_SECONDS` has each test go on for so long, `PDP_FUZZ_REQUESTS` for so many, `PDP_FUZZ_SEED` says which.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

#: What the service says of itself where something happened that nobody foresaw.
_BUG_EVENTS = {"internal error", "decision log"}


def steps(short: int, size: int) -> Iterator[range]:
    """The numbers of what is made, a step at a time: `short` of them, or as many as the environment says."""
    seconds = float(os.environ.get("PDP_FUZZ_SECONDS", "0"))
    most = int(os.environ.get("PDP_FUZZ_REQUESTS", "0")) or (10**12 if seconds else short)
    end = time.monotonic() + seconds
    first = 0
    while first < most and ("PDP_FUZZ_REQUESTS" in os.environ or first < short or time.monotonic() < end):
        yield range(first, first + size)
        first += size


def chosen_seed() -> int:
    """Where all chance comes from: always the same, or as the environment says."""
    given = os.environ.get("PDP_FUZZ_SEED", "")
    return int(given) if given else secrets.randbits(32) if "PDP_FUZZ_SECONDS" in os.environ else 1


def require_no_bug(logs: list[MutableMapping[str, Any]]) -> None:
    """Fail where the service met what nobody foresaw; forgets its log."""
    bugs = [event for event in logs if event["event"] in _BUG_EVENTS]
    logs.clear()
    assert not bugs, bugs
