"""The load itself: it sees what is wrong."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.flood import CALLS_PER_CONNECTION, Counts, Kill, Run, Span, cut_short
from tests.faults.load import Outcome, load
from tests.faults.records import Record, disagreement, swaps
from tests.faults.worlds import Rules, arguments, files, oracle
from tests.grpc.service import serving

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "change", [{"tools": ("a",)}, {"limit": 9}, {"shifted": 4}], ids=["a tool less", "another limit", "another module"]
)
def test_a_wrong_answer_is_seen(tmp_path: Path, change: dict[str, Any]) -> None:
    """Callers whose oracle differs from the service in one rule report wrong answers."""
    table = {revision: replace(rules, **change) for revision, rules in oracle().items()}
    with (
        serving(tmp_path, files()) as service,
        pytest.raises(AssertionError, match="wrong answers"),
        load(service.address, table=table),
    ):
        pass


def test_a_revision_that_nobody_wrote_is_seen(tmp_path: Path) -> None:
    """An answer of a revision that the oracle does not know is wrong."""
    table: dict[str, Rules] = {"0" * 64: Rules((), 0, 0)}
    with (
        serving(tmp_path, files()) as service,
        pytest.raises(AssertionError, match="that nobody wrote"),
        load(service.address, table=table),
    ):
        pass


def test_only_the_end_of_a_process_explains_a_failure() -> None:
    """A failure is explained by its status and by a process that answers nothing that is asked later; nothing else."""

    def failed(code: str, ended: float, **more: Any) -> list[dict[str, Any]]:
        failure = {"code": code, "ended": ended, "process": "p", "given_up": False, **more}
        return Outcome(failures=[failure], last_begun={"p": 5.0}).unexplained()

    assert not failed("UNAVAILABLE", 6.0)
    assert failed("UNAVAILABLE", 4.0), "the process answered later"
    assert failed("INTERNAL", 6.0)
    assert failed("DEADLINE_EXCEEDED", 6.0)
    assert failed("CANCELLED", 6.0, given_up=True), "nobody answered"


_TABLE = {"r": Rules(("a", "shift"), 8, 3), "s": Rules(("a", "shift"), 8, 500_000)}


def _record(kind: str, name: str, number: int, **more: Any) -> Record:
    """An allow of revision `r`, for arguments that no module changed."""
    record = {"kind": kind, "decision": "ALLOW", "code": "", "revision": "r", "action": {"id": f"srv/{name}"}}
    return {**record, "arguments": arguments(number).decode(), "subject": {"id": "run"}, "writer": "w", **more}


def _changed(number: int) -> dict[str, str]:
    return {"payload_sha256": hashlib.sha256(arguments(number)).hexdigest()}


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        (_record("authorize", "shift", 7), False),
        (_record("authorize", "a", 8), True),
        (_record("authorize", "a", 8, decision="DENY", code="NO_MATCHING_POLICY"), False),
        (_record("authorize", "a", 8, decision="DENY", code="INTERCEPTOR_FAILED"), True),
        (_record("authorize", "a", 7, revision="t"), True),
        (_record("decide", "shift", 3), False),
        (_record("decide", "shift", 9, **_changed(3)), False),
        (_record("decide", "shift", 9, **_changed(4)), True),
        (_record("decide", "shift", 7), True),
        (_record("decide", "shift", 3, revision="s", **_changed(500_000)), True),
        (_record("intercept", "shift", 3, revision="s", **_changed(500_000)), False),
        (_record("intercept", "c", 9, decision="DENY", code="INTERCEPTOR_FAILED"), True),
    ],
)
def test_a_wrong_record_is_seen(record: Record, wrong: bool) -> None:
    """A record is held to the rules of the revision that it names: the decision, the code, and what the module made."""
    assert bool(disagreement(record, _TABLE)) == wrong


def test_swaps_of_modules_are_counted() -> None:
    """A swap is when a writer's calls ran another module than those before; calls that ran none tell nothing."""
    ran = [_record("decide", "shift", 3, revision=revision, interceptors=[{}]) for revision in "rrss"]
    other = _record("decide", "shift", 3, writer="v", interceptors=[{}])
    assert swaps(ran, _TABLE) == 1
    assert swaps([*ran[:2], _record("authorize", "a", 1, revision="s"), *ran[:2]], _TABLE) == 0
    assert swaps([*ran, other], _TABLE) == 1


_RUN = Run("run", Span(10, 11), Counts(100, 100, 100, 100, 0, 0, 0))
_BROKEN = Counts(100, 60, 52, 52, 48, 48, 0)
_REFUSED = Counts(100, 0, 0, 0, 100, 100, 0)
_AT, _BEFORE = [Kill(Span(10.5, 10.6), Span(10.5, 10.6))], [Kill(Span(8, 9.8), Span(8, 9.9))]
_NOBODY = [Kill(Span(8, 9.8), Span(8, 10.1))]


@pytest.mark.parametrize(
    ("run", "kills", "records", "wrong"),
    [
        (_RUN, [], 100, False),
        (_RUN, [], 99, True),
        (_RUN, [], 101, True),
        (replace(_RUN, counts=_BROKEN), _AT, 52, False),
        (replace(_RUN, counts=_BROKEN), _AT, 60, False),
        (replace(_RUN, counts=_BROKEN), _AT, 51, True),
        (replace(_RUN, counts=_BROKEN), _AT, 61, True),
        (replace(_RUN, counts=_BROKEN), _BEFORE, 52, True),
        (replace(_RUN, counts=_BROKEN), _NOBODY, 52, True),
        (replace(_RUN, counts=_REFUSED), _NOBODY, 0, False),
        (replace(_RUN, counts=_REFUSED), _BEFORE, 0, True),
        (replace(_RUN, counts=replace(_BROKEN, timeout=1)), _AT, 52, True),
        (replace(_RUN, counts=replace(_BROKEN, succeeded=51)), _AT, 52, True),
        (replace(_RUN, counts=Counts(800, 800, 600, 600, 200, 200, 0)), _AT, 600, True),
    ],
)
def test_only_a_kill_and_its_records_explain_a_run(run: Run, kills: list[Kill], records: int, wrong: bool) -> None:
    """Calls of a run break off only while a worker dies, no more than were in flight; only while none serves are they
    not sent; and each answer has a record."""
    assert bool(run.unexplained(kills, records)) == wrong


def test_a_connection_that_breaks_with_a_living_process_is_seen() -> None:
    """A process that answers a later run has answered whole connections of the runs before; one that ended need not."""
    runs = [replace(_RUN, subject=subject) for subject in ("first", "second")]

    def answers(subject: str, process: str, count: int) -> list[Record]:
        return [_record("decide", "a", 1, subject={"id": subject}, decision_id=process * 20)] * count

    part, whole = CALLS_PER_CONNECTION - 1, CALLS_PER_CONNECTION
    assert not cut_short(runs, [*answers("first", "p", 2 * whole), *answers("second", "p", part)])
    assert not cut_short(runs, [*answers("first", "p", part), *answers("second", "q", whole)])
    assert cut_short(runs, [*answers("first", "p", part), *answers("second", "p", whole)])
    assert not cut_short(runs, [*answers("other", "p", part), *answers("second", "p", whole)])
