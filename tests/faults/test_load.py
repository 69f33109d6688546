"""The load itself: it sees what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.load import Outcome, load
from tests.faults.worlds import Rules, files, oracle
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
