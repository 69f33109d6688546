"""The corpus at the service: real gRPC, the decision log in a file.

The service of a bundle and a configuration runs once: it is asked each of their cases twice, then all of them in one
batch, and is stopped, so that its log is complete. The tests look at what it said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp._gen.pdp.v1 import decision_service_pb2_grpc
from pdp.app import running
from pdp.config import Config
from tests.corpus.conftest import BundlePath
from tests.corpus.corpus import Case, Json, expected_error, load_cases, record_form, response_form

_TIMEOUT = 30.0
#: The cases of a bundle go into one batch, and some hold a mebibyte.
_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Said:
    """What the service said to one question: an answer with its decision id and revision, or an error."""

    form: Json
    decision_id: str = ""
    revision: str = ""


@dataclass(frozen=True)
class Run:
    """One service's life: what it said to each case by name, what it served, and its log by decision id."""

    first: dict[str, Said]
    again: dict[str, Said]
    batch: dict[str, Said]
    revision: str
    lines: dict[str, list[str]]


Runs = Callable[[Case], Run]

#: One case for each service that has to run.
ONE_OF_EACH = list({case.setting: case for case in load_cases() if "server" not in case.not_at}.values())


@pytest.fixture(scope="session")
def runs(bundle_path: BundlePath, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The run that a case belongs to."""
    known: dict[tuple[str, str], Run] = {}

    def find(case: Case) -> Run:
        if case.setting not in known:
            cases = [other for other in load_cases() if other.setting == case.setting and "server" not in other.not_at]
            log = tmp_path_factory.mktemp("log") / "decisions.jsonl"
            known[case.setting] = _run(cases, bundle_path(case.bundle), log)
        return known[case.setting]

    return find


def _run(cases: Sequence[Case], bundle: Path, log: Path) -> Run:
    with running(_config(cases[0].config, bundle, log), {}) as app:
        with grpc.insecure_channel(app.addresses[0]) as channel:
            stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
            first = {case.name: _ask(stub, case) for case in cases}
            again = {case.name: _ask(stub, case) for case in cases}
            questions = pb.AuthorizeBatchRequest(requests=[case.message() for case in cases])
            results = stub.AuthorizeBatch(questions, timeout=_TIMEOUT).results
        batch = {case.name: _result(result) for case, result in zip(cases, results, strict=True)}
        revision = app.store.current().revision
    lines: dict[str, list[str]] = {}
    for line in log.read_text("ascii").splitlines():
        lines.setdefault(json.loads(line)["decision_id"], []).append(line)
    return Run(first, again, batch, revision, lines)


def _config(config: Json, bundle: Path, log: Path) -> Config:
    sections: dict[str, dict[str, Any]] = {
        "server": {"listen": ["127.0.0.1:0"]},
        "bundle": {"source": bundle, "watch": False, "last_good_dir": ""},
        "decision_log": {"sink": "file", "path": log},
        "limits": {"message_bytes": _MESSAGE_BYTES},
    }
    for section, values in config.items():
        sections[section] = {**sections.get(section, {}), **values}
    return Config.model_validate(sections)


def _ask(stub: decision_service_pb2_grpc.DecisionServiceStub, case: Case) -> Said:
    try:
        return _answer(stub.Authorize(case.message(), timeout=_TIMEOUT))
    except grpc.RpcError as error:
        # What a stub raises is a call as well; the types of grpc do not say so.
        call: grpc.Call = error  # type: ignore[assignment]
        return _error(call)


def _answer(response: pb.AuthorizeResponse) -> Said:
    return Said(response_form(response), response.decision_id, response.revision)


def _error(call: grpc.Call) -> Said:
    status = rpc_status.from_call(call)
    assert status is not None, f"{call.code()} without details: {call.details()}"
    [detail] = status.details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert info.domain == "pdp.v1"
    return Said(_error_form(status.code, info.reason, info.metadata["field"], status.message))


def _result(result: pb.AuthorizeBatchResult) -> Said:
    if result.WhichOneof("result") == "response":
        return _answer(result.response)
    error = result.error
    return Said(_error_form(error.code, error.reason, error.field, error.message))


def _error_form(code: int, reason: str, field: str, message: str) -> Json:
    return {"code": code_pb2.Code.Name(code), "reason": reason, "field": field, "message": message}


def check(case: Case, said: Said) -> None:
    """What the service said is what the case expects."""
    if said.decision_id:
        assert said.form == case.response
    else:
        assert said.form == expected_error(case, said.form)


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
    run = runs(one)
    ids = [said.decision_id for way in (run.first, run.again, run.batch) for said in way.values() if said.decision_id]
    assert len(ids) == len(set(ids))
    assert sorted(ids) == sorted(id_ for id_, lines in run.lines.items() for _ in lines)
