"""What goes wrong while calls are compared with a candidate bundle."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pdp.bundle.loader import Loader
from pdp.bundle.source import Source, SourceLimits
from pdp.bundle.store import SnapshotStore
from pdp.candidate import Answered, Candidate, Difference
from pdp.cedar.model import ActionQuery, EntityUid
from pdp.cedar.options import AuthorizeOptions
from pdp.decision_log.sinks import LogUnavailableError
from tests.bundles import PERMIT_ALL, load, memory_source
from tests.waiting import wait_until

QUERY = ActionQuery(EntityUid("Agent", "a"), EntityUid("Action", "read"), EntityUid("Resource", "r"))
Events = list[MutableMapping[str, Any]]


class _Denying:
    """The source of a bundle that allows nothing."""

    watch_paths: tuple[Path, ...] = ()

    def read(self, previous: Source | None = None) -> Source:
        return memory_source({"policies/a.cedar": PERMIT_ALL.replace("permit", "forbid")})


@pytest.mark.parametrize("error", [LogUnavailableError("it is full"), RuntimeError("a bug")])
def test_a_failure_ends_no_comparing(error: Exception, logs: Events) -> None:
    """A difference that cannot be written is skipped and told, and the calls after it are compared."""
    store = SnapshotStore(_Denying(), Loader(AuthorizeOptions()), None, SourceLimits())
    store.reload()
    told: list[Difference] = []

    def tell(difference: Difference) -> None:
        if difference.answered.decision_id == "first":
            raise error
        told.append(difference)

    snapshot = load({"policies/a.cedar": PERMIT_ALL})
    with closing(Candidate(store, 1.0, tell)) as candidate:
        for name in ("first", "second"):
            candidate.offer(Answered(QUERY, snapshot.authorizer.authorize(QUERY), name, snapshot.revision))
        wait_until(lambda: candidate.counts().compared == 1, "the second call is compared")
        counts = candidate.counts()
    assert [difference.answered.decision_id for difference in told] == ["second"]
    assert (counts.newly_denied, counts.skipped) == (1, 1)
    assert [event["exc_info"] for event in logs if "candidate" in event["event"]] == [error]
