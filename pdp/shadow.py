"""What is evaluated and not enforced: counts for shadow policies, and the answers of a bundle that is all in shadow."""

from __future__ import annotations

import threading
from dataclasses import replace

from pdp.cedar.model import Authorization, ShadowReport
from pdp.decide import Decided
from pdp.sandbox.outcome import Interception


class FlipCounts:
    """How often policies mattered: flips and matches by policy id. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, int]] = {}

    def add(self, report: ShadowReport | None) -> None:
        """Count what a report names."""
        if report is not None and (report.matched or report.flipping):
            self.add_policies(report.flipping, report.matched)

    def add_policies(self, flipping: tuple[str, ...], matched: tuple[str, ...]) -> None:
        """Count these policies; one that flips and is not said to match counts as both."""
        with self._lock:
            for policy_id in {*flipping, *matched}:
                flips, matches = self._counts.get(policy_id, (0, 0))
                self._counts[policy_id] = (flips + (policy_id in flipping), matches + 1)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Flips and matches at this moment, in the order of the policies' ids."""
        with self._lock:
            return dict(sorted(self._counts.items()))


def authorization_in_shadow(answer: Authorization) -> Authorization:
    """An allow, with a report of what the answer would be if the bundle were enforced."""
    report = answer.shadow or ShadowReport(answer.allowed, (), ())
    report = replace(report, would_allow=answer.allowed, would_be_denial=answer.denial)
    return replace(answer, allowed=True, denial=None, shadow=report)


def decision_in_shadow(decided: Decided, arguments: bytes) -> Decided:
    """An allow of the arguments as the agent sent them; what interceptors and policies said is only reported."""
    untouched = Interception(arguments or b"{}", False, decided.interception.outcomes)
    return Decided(authorization_in_shadow(decided.authorization), untouched)


def interception_in_shadow(answer: Interception, payload: bytes) -> Interception:
    """The payload as it came; what interceptors said is only reported."""
    return Interception(payload or b"{}", False, answer.outcomes)
