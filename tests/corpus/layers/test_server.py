"""The corpus at the service: both layers, the interceptors alone, and lists of tools, over gRPC."""

from __future__ import annotations

import pytest

from tests.corpus.conftest import Runs
from tests.corpus.corpus import Case, load_cases
from tests.corpus.forms import record_form
from tests.corpus.service import check, check_log

#: One case for each service that has to run.
ONE_OF_EACH = list({case.setting: case for case in load_cases() if not case.is_plain}.values())


def test_answer(case: Case, runs: Runs) -> None:
    """Asked over gRPC, the service gives the answer or the error of the case."""
    check(case, runs(case).first[case.name])


def test_second_answer(case: Case, runs: Runs) -> None:
    """Asked again, the service gives the same answer, and a decision of its own where it is one."""
    run = runs(case)
    first, again = run.first[case.name], run.again[case.name]
    check(case, again)
    assert case.log is None or first.decision_id != again.decision_id


def test_revision(case: Case, runs: Runs) -> None:
    """Whatever is answered names the revision that gave the answer."""
    run = runs(case)
    assert case.error is not None or run.first[case.name].revision == run.revision


def test_records(decided: Case, runs: Runs) -> None:
    """Both answers are in the log once, as the case expects it, under their own decision ids."""
    run = runs(decided)
    for said in (run.first[decided.name], run.again[decided.name]):
        [line] = run.lines[said.decision_id]
        assert record_form(decided, line, decision_id=said.decision_id, revision=run.revision) == decided.log


@pytest.mark.parametrize("one", ONE_OF_EACH, ids=[" ".join(one.setting) for one in ONE_OF_EACH])
def test_the_log_holds_decisions_and_nothing_else(one: Case, runs: Runs) -> None:
    """The log has one line for each decision, and none for errors and for lists of tools."""
    check_log(runs(one))
