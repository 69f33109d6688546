"""How often each caller may ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pdp.errors import RateLimitedError
from pdp.identity.caller_config import CallersConfig


class _Bucket:
    """A token bucket: it fills with `rate` tokens a second, up to `burst`."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled = now

    def take(self, tokens: int, now: float) -> float:
        """Take tokens and give 0; if there are not enough, take none and give the seconds until there are.

        What is more than the bucket holds is given when it is full, and owed afterwards.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        lacking = min(tokens, self._burst) - self._tokens
        if lacking > 0:
            return lacking / self._rate
        self._tokens -= tokens
        return 0.0


class CallerRates:
    """A bucket for each configured caller that has a limit; nobody else is counted. Safe to share between threads.

    With several `workers`, processes that share the callers' connections, each gives its part.
    """

    def __init__(self, config: CallersConfig, workers: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        for caller in config.caller:
            if caller.calls_per_second:
                rate = caller.calls_per_second / workers
                burst = max(1.0, (caller.burst or caller.calls_per_second) / workers)
                self._buckets[caller.name] = _Bucket(rate, burst, clock())
        self._refused = dict.fromkeys(self._buckets, 0)

    def refused(self) -> dict[str, int]:
        """The calls refused so far, for each caller that has a limit."""
        with self._lock:
            return dict(self._refused)

    def take(self, caller: str, questions: int) -> None:
        """Count the questions of a call. Raises RateLimitedError if they are too many now; then none is counted."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            return
        with self._lock:
            seconds = bucket.take(max(1, questions), self._clock())
            if not seconds:
                return
            self._refused[caller] += 1
        raise RateLimitedError(seconds)
