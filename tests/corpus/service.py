"""The corpus at a service: real gRPC, the decision log in a file.

The service of a bundle and a configuration runs once: it is asked each of their cases twice, then those that can be in
one batch, and is stopped, so that its log is complete. Tests look at what it said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp._gen.pdp.v1 import decision_service_pb2_grpc
from pdp.app import running
from pdp.config import Config
from tests.corpus.corpus import Case, Json, Question
from tests.corpus.forms import expected_error, response_form, without_open_reasons

_TIMEOUT = 60.0
#: The cases of a bundle go into one batch, and some hold a mebibyte.
_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Said:
    """What was said to one question: an answer with its revision, and its id if it is a decision, or an error."""

    form: Json
    decision_id: str = ""
    revision: str = ""

    @property
    def is_answer(self) -> bool:
        """Whether it is no error."""
        return bool(self.revision)


@dataclass(frozen=True)
class Run:
    """One service's life: what it said to each case by name, what it served, and its log by decision id.

    `before` is what it said to the questions that cases want asked before them.
    """

    first: dict[str, Said]
    again: dict[str, Said]
    batch: dict[str, Said]
    before: list[Said]
    revision: str
    lines: dict[str, list[str]]


def run(cases: Sequence[Case], bundle: Path, directory: Path) -> Run:
    """The life of a service that is asked these cases; its log and what else it writes is below `directory`."""
    log = directory / "decisions.jsonl"
    before: list[Said] = []
    with running(_config(cases[0].config, bundle, log), {"PDP_STATE_DIR": str(directory)}) as app:
        with grpc.insecure_channel(app.addresses[0]) as channel:
            stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
            first = {case.name: _ask_case(stub, case, before) for case in cases}
            again = {case.name: _ask_case(stub, case, before) for case in cases}
            batch = _ask_batch(stub, [case for case in cases if case.is_plain])
        revision = app.store.current().revision
    lines: dict[str, list[str]] = {}
    for line in log.read_text("ascii").splitlines():
        lines.setdefault(json.loads(line)["decision_id"], []).append(line)
    return Run(first, again, batch, before, revision, lines)


def _config(config: Json, bundle: Path, log: Path) -> Config:
    sections: dict[str, dict[str, Any]] = {
        "server": {"listen": ["127.0.0.1:0"]},
        "bundle": {"source": bundle, "watch": False, "last_good_dir": ""},
        "decision_log": {"sink": "file", "path": log, "spool_dir": str(log.parent / "spool")},
        "limits": {"message_bytes": _MESSAGE_BYTES},
    }
    for section, values in config.items():
        sections[section] = {**sections.get(section, {}), **values}
    return Config.model_validate(sections)


def _ask_case(stub: decision_service_pb2_grpc.DecisionServiceStub, case: Case, before: list[Said]) -> Said:
    for question in case.after:
        said = _ask(stub, question)
        assert said.is_answer, f"before `{case.name}`: {said.form}"
        before.append(said)
    return _ask(stub, case)


def _ask(stub: decision_service_pb2_grpc.DecisionServiceStub, question: Question) -> Said:
    try:
        return _answer(getattr(stub, question.rpc)(question.message(), timeout=_TIMEOUT))
    except grpc.RpcError as error:
        # What a stub raises is a call as well; the types of grpc do not say so.
        call: grpc.Call = error  # type: ignore[assignment]
        return _error(call)


def _ask_batch(stub: decision_service_pb2_grpc.DecisionServiceStub, cases: Sequence[Case]) -> dict[str, Said]:
    questions = pb.AuthorizeBatchRequest(requests=[case.message() for case in cases])
    results = stub.AuthorizeBatch(questions, timeout=_TIMEOUT).results
    return {case.name: _result(result) for case, result in zip(cases, results, strict=True)}


def _answer(response: Any) -> Said:
    # A list of tools is no decision and has no id.
    return Said(response_form(response), getattr(response, "decision_id", ""), response.revision)


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
    if said.is_answer:
        assert without_open_reasons(said.form, case.response) == case.response
    else:
        assert said.form == expected_error(case, said.form)


def check_log(told: Run) -> None:
    """The log has one line for each decision and none for errors and lists, whatever callers and agents wrote."""
    ways = (told.first, told.again, told.batch)
    ids = [said.decision_id for said in (*(said for way in ways for said in way.values()), *told.before)]
    decided = [id_ for id_ in ids if id_]
    assert len(decided) == len(set(decided))
    assert sorted(decided) == sorted(id_ for id_, lines in told.lines.items() for _ in lines)
