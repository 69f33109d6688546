"""The corpus at the service: questions to policies alone, over gRPC, each twice and in a batch."""

from __future__ import annotations

import pytest

from tests.corpus.conftest import Runs
from tests.corpus.corpus import Case, load_cases
from tests.corpus.forms import record_form
from tests.corpus.service import check, check_log

#: One case for each service that has to run.
ONE_OF_EACH = list({case.setting: case for case in load_cases() if case.is_plain}.values())


def test_answer(case: Case, runs: Runs) -> None:
    """Asked over gRPC, the service gives the answer or the error of the case."""
    check(case, runs(case).first[case.name])


def test_second_answer(case: Case, runs: Runs) -> None:
    """Asked again, the service gives the same answer, and a decision of its own."""
    run = runs(case)
    first, again = run.first[case.name], run.again[case.name]
    check(case, again)
    assert case.error is not None or first.decision_id != again.decision_id


def test_answer_in_a_batch(case: Case, runs: Runs) -> None:
    """In one batch with every other case of its bundle, good and bad, the case has the same answer in its place."""
    check(case, runs(case).batch[case.name])


def test_records(decided: Case, runs: Runs) -> None:
    """Each of the three answers is in the log once, as the case expects it, under its own decision id."""
    run = runs(decided)
    for said in (run.first[decided.name], run.again[decided.name], run.batch[decided.name]):
        assert said.revision == run.revision
        [line] = run.lines[said.decision_id]
        assert record_form(decided, line, decision_id=said.decision_id, revision=run.revision) == decided.log


@pytest.mark.parametrize("one", ONE_OF_EACH, ids=[" ".join(one.setting) for one in ONE_OF_EACH])
def test_the_log_holds_decisions_and_nothing_else(one: Case, runs: Runs) -> None:
    """The log has one line for each answer and none for errors, whatever callers and agents wrote."""
    check_log(runs(one))
