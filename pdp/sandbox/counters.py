"""What one interceptor did since its snapshot was loaded."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pdp.sandbox.model import ErrorClass
from pdp.sandbox.outcome import Outcome

#: Failures in a row after which an interceptor is called unhealthy, until it succeeds again.
UNHEALTHY_AFTER = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """A moment's figures. `failures` has the classes that occurred; times are UTC, durations nanoseconds."""

    calls: int = 0
    passed: int = 0
    transformed: int = 0
    denied: int = 0
    failures: dict[ErrorClass, int] = field(default_factory=dict)
    total_ns: int = 0
    last_failure_at: datetime | None = None
    healthy: bool = True


class Counters:
    """Counts outcomes; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._verdicts = {"pass": 0, "transform": 0, "deny": 0}
        self._failures: dict[ErrorClass, int] = {}
        self._total_ns = 0
        self._last_failure_at: datetime | None = None
        self._failures_in_a_row = 0

    def add(self, outcome: Outcome) -> bool:
        """Count one outcome; whether the interceptor became unhealthy by it."""
        with self._lock:
            self._total_ns += outcome.duration_ns
            if outcome.error_class is None:
                self._verdicts[outcome.verdict] += 1
                self._failures_in_a_row = 0
                return False
            self._failures[outcome.error_class] = self._failures.get(outcome.error_class, 0) + 1
            self._last_failure_at = datetime.now(UTC)
            self._failures_in_a_row += 1
            return self._failures_in_a_row == UNHEALTHY_AFTER

    def counts(self) -> Counts:
        """The figures at this moment."""
        with self._lock:
            return Counts(
                calls=sum(self._verdicts.values()) + sum(self._failures.values()),
                passed=self._verdicts["pass"],
                transformed=self._verdicts["transform"],
                denied=self._verdicts["deny"],
                failures=dict(self._failures),
                total_ns=self._total_ns,
                last_failure_at=self._last_failure_at,
                healthy=self._failures_in_a_row < UNHEALTHY_AFTER,
            )
