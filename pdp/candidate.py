"""A candidate bundle: answers the calls that the current one answered, is compared with it, and is never enforced.

Calls are handed over after they were answered, to one thread that takes no more than a share of a core. What does not
fit is skipped and counted, so that trying a bundle costs the callers nothing but that share.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from pdp.bundle.snapshot import Snapshot
from pdp.bundle.store import SnapshotStore
from pdp.cedar.model import Authorization, Query
from pdp.decide import Decided, DecideQuery, decide
from pdp.errors import PdpError
from pdp.shadow import FlipCounts

_log = structlog.get_logger("pdp")

#: Calls that wait to be compared. Each holds a whole question.
_MAX_WAITING = 1_000
#: How long a candidate's interceptors may take for one call.
_SECONDS = 2.0
_CLOSE_SECONDS = 5.0
#: Every call may fail in the same way.
_REPORT_SECONDS = 10.0

Kind = Literal["newly_allowed", "newly_denied", "otherwise_different"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A call as it was answered. `decision_id` names it in the decision log."""

    query: Query | DecideQuery
    answer: Authorization | Decided
    decision_id: str
    revision: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that the candidate answers in another way. `policies` are those behind it."""

    kind: Kind
    answered: Answered
    candidate: Authorization
    candidate_revision: str
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CandidateCounts:
    """What was compared since the candidate's revision was loaded; `skipped` counts since the service started."""

    compared: int
    newly_allowed: int
    newly_denied: int
    otherwise_different: int
    skipped: int
    policies: dict[str, tuple[int, int]]


class Candidate:
    """Compares calls with a candidate bundle, on a thread of its own. `tell` hears of each difference."""

    def __init__(self, store: SnapshotStore, share: float, tell: Callable[[Difference], None]) -> None:
        self.store = store
        self._share = share
        self._tell = tell
        self._waiting: deque[Answered] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._skipped = 0
        self._report_at = 0.0
        self._lock = threading.Lock()
        self._forget("")
        self._thread = threading.Thread(target=self._run, name="candidate", daemon=True)
        self._thread.start()

    def offer(self, answered: Answered) -> None:
        """Hand over a call that was answered; never waits."""
        if len(self._waiting) >= _MAX_WAITING:
            self._skipped += 1
            return
        self._waiting.append(answered)
        self._wake.set()

    def counts(self) -> CandidateCounts:
        """The figures at this moment."""
        with self._lock:
            kinds = self._kinds
            return CandidateCounts(
                self._compared,
                kinds["newly_allowed"],
                kinds["newly_denied"],
                kinds["otherwise_different"],
                self._skipped,
                self._flips.counts(),
            )

    def close(self) -> None:
        """Compare no more."""
        self._closing.set()
        self._wake.set()
        self._thread.join(_CLOSE_SECONDS)

    def _forget(self, revision: str) -> None:
        self._revision = revision
        self._compared = 0
        self._kinds: dict[Kind, int] = {"newly_allowed": 0, "newly_denied": 0, "otherwise_different": 0}
        self._flips = FlipCounts()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._closing.is_set():
                started = time.perf_counter()
                try:
                    self._compare(self._waiting.popleft())
                except Exception as error:  # noqa: BLE001 - the top of a thread: nothing would be compared any more
                    self._skipped += 1
                    self._report(error)
                # What it takes of a core is at most the share.
                self._closing.wait((time.perf_counter() - started) * (1 / self._share - 1))

    def _compare(self, answered: Answered) -> None:
        try:
            snapshot = self.store.current()
            answer = _ask(snapshot, answered.query)
        except PdpError:
            # It does not load, or takes this caller for wrong: there is no answer to compare.
            self._skipped += 1
            return
        difference = _difference(answered, answer, snapshot.revision)
        if difference is not None:
            # First, so that none is counted that is in no log.
            self._tell(difference)
        with self._lock:
            if snapshot.revision != self._revision:
                self._forget(snapshot.revision)
            self._compared += 1
            if difference is not None:
                self._kinds[difference.kind] += 1
                self._flips.add_policies(difference.policies, difference.policies)

    def _report(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._report_at:
            self._report_at = now + _REPORT_SECONDS
            _log.error("a call was not compared with the candidate bundle", exc_info=error)


def _ask(snapshot: Snapshot, query: Query | DecideQuery) -> Authorization | Decided:
    if isinstance(query, DecideQuery):
        deadline_ns = time.monotonic_ns() + int(_SECONDS * 1e9)
        return decide(snapshot.authorizer, snapshot.chain, query, deadline_ns)
    return snapshot.authorizer.authorize(query)


def _difference(answered: Answered, candidate: Authorization | Decided, revision: str) -> Difference | None:
    before, after = _authorization(answered.answer), _authorization(candidate)
    kind: Kind
    if before.allowed != after.allowed:
        kind = "newly_allowed" if after.allowed else "newly_denied"
    elif _code(before) != _code(after) or _payload(answered.answer) != _payload(candidate):
        kind = "otherwise_different"
    else:
        return None
    behind = after.determining or before.determining
    return Difference(kind, answered, after, revision, tuple(policy.policy_id for policy in behind))


def _authorization(answer: Authorization | Decided) -> Authorization:
    return answer.authorization if isinstance(answer, Decided) else answer


def _code(answer: Authorization) -> object:
    return answer.denial.code if answer.denial is not None else None


def _payload(answer: Authorization | Decided) -> bytes | None:
    """The arguments that the tool is called with, where it is and they count."""
    if isinstance(answer, Decided) and answer.authorization.allowed:
        return answer.interception.payload
    return None
