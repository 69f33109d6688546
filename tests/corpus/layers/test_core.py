"""The corpus at the core: `decide`, `intercept`, the tool filter, and the lines of their records."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from pdp import wire
from pdp.app import authorize_options
from pdp.bundle.archive import open_source
from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.source import SourceLimits
from pdp.cedar.model import Authorization, Denial, ToolQuery
from pdp.cedar.options import AuthorizeOptions
from pdp.config import Config
from pdp.decide import Decided, DecideQuery, asked_query, decide
from pdp.decision_log.record import decision_line, interception_line
from pdp.errors import InvalidRequestError
from pdp.live_definitions import LiveDefinitions
from pdp.sandbox.chain import ChainQuery, intercept
from pdp.sandbox.outcome import Interception
from pdp.shadow import authorization_in_shadow, decision_in_shadow, interception_in_shadow
from tests.corpus.conftest import BundlePath
from tests.corpus.corpus import Case, Json, Question
from tests.corpus.forms import (
    answer_form,
    decided_form,
    expected_error,
    filtered_form,
    interception_form,
    record_form,
    without_open_reasons,
)

_ANSWER_SECONDS = 60

Query: TypeAlias = ToolQuery | DecideQuery | ChainQuery
Answer: TypeAlias = Authorization | Decided | Interception


class Told(NamedTuple):
    """What the core says: the answer in the form of the cases, and where it is a decision, what it is made of."""

    form: Json
    query: Query | None = None
    answer: Answer | None = None


@cache
def load(path: Path, options: AuthorizeOptions) -> Snapshot:
    return Loader(options).load(open_source(path, SourceLimits()).read())


def snapshot_of(case: Case, path: Path) -> Snapshot:
    return load(path, authorize_options(Config.model_validate(case.config).authorize))


def ask(case: Case, snapshot: Snapshot) -> Told:
    """What the core says to the case. Raises InvalidRequestError."""
    live = LiveDefinitions()
    for question in case.after:
        report(question, snapshot, live)
    if case.rpc == "FilterTools":
        return filtered(case, snapshot, live)
    if case.rpc == "Intercept":
        return intercepted(case, snapshot)
    return authorized(case, snapshot, live) if case.rpc == "Authorize" else decided_by_both(case, snapshot, live)


def report(question: Question, snapshot: Snapshot, live: LiveDefinitions) -> Denial | None:
    """Tell `live` the definitions of a question; the denial of the tool, where it is about one that changed."""
    message = question.message()
    tools = snapshot.authorizer.model.tools
    if question.rpc == "FilterTools":
        live.check(tools, message.server, wire.listed(message))
        return None
    server, tool = message.tool_call.server, message.tool_call.tool
    if "definition" in question.documents:
        live.report(tools, server, [(tool, message.definition_json)])
    return live.denial(tools, server, tool)


def authorized(case: Case, snapshot: Snapshot, live: LiveDefinitions) -> Told:
    query = wire.read_authorize(case.message())
    assert isinstance(query, ToolQuery)
    changed = report(case, snapshot, live)
    answer = Authorization(False, changed) if changed is not None else snapshot.authorizer.authorize(query)
    answer = authorization_in_shadow(answer) if snapshot.in_shadow else answer
    return Told(answer_form(answer), query, answer)


def decided_by_both(case: Case, snapshot: Snapshot, live: LiveDefinitions) -> Told:
    query = wire.read_decide(case.message())
    changed = report(case, snapshot, live)
    if changed is not None:
        answer = Decided(Authorization(False, changed), Interception(b"", False, ()))
    else:
        answer = decide(snapshot.authorizer, snapshot.chain, query, deadline_ns())
    answer = decision_in_shadow(answer, query.arguments) if snapshot.in_shadow else answer
    return Told(decided_form(answer), query, answer)


def intercepted(case: Case, snapshot: Snapshot) -> Told:
    query = wire.read_intercept(case.message())
    answer = intercept(snapshot.chain, query, deadline_ns())
    if snapshot.in_shadow:
        payload = query.payload.arguments if query.payload.result is None else query.payload.result
        answer = interception_in_shadow(answer, payload)
    return Told(interception_form(answer, query.phase), query, answer)


def filtered(case: Case, snapshot: Snapshot, live: LiveDefinitions) -> Told:
    message = case.message()
    subject = wire.read_filter(message)
    names = [tool.name for tool in message.tools]
    denials = snapshot.tool_filter.filter(subject, message.server, names, message.context_json)
    denials |= live.check(snapshot.authorizer.model.tools, message.server, wire.listed(message))
    return Told(filtered_form(names, dict.fromkeys(names) if snapshot.in_shadow else denials))


def deadline_ns() -> int:
    """Long after now."""
    return time.monotonic_ns() + _ANSWER_SECONDS * 1_000_000_000


def line_of(case: Case, told: Told, revision: str) -> str:
    """The record of a decision."""
    message = case.message()
    facts: dict[str, Any] = {"time_ns": 1_750_000_000_123_456_789, "duration_ns": 4_567, "decision_id": "d-1"}
    facts |= {"request_id": message.request_id, "revision": revision}
    facts |= {"arguments": Config.model_validate(case.config).decision_log.arguments}
    query, answer = told.query, told.answer
    if isinstance(query, ChainQuery) and isinstance(answer, Interception):
        return interception_line(query.phase, query, answer, for_decision_id=message.decision_id, **facts)
    if isinstance(query, DecideQuery) and isinstance(answer, Decided):
        asked = asked_query(query)
        return decision_line(asked, answer.authorization, interception=answer.interception, **facts)
    assert isinstance(query, ToolQuery)
    assert isinstance(answer, Authorization)
    return decision_line(query, answer, **facts)


def test_answer(case: Case, bundle_path: BundlePath) -> None:
    """Asked twice, the core gives the answer or the error of the case."""
    snapshot = snapshot_of(case, bundle_path(case.bundle))
    for _ in range(2):
        try:
            form = ask(case, snapshot).form
        except InvalidRequestError as error:
            found = {"code": "INVALID_ARGUMENT", "reason": error.reason, "field": error.field, "message": error.message}
            assert found == expected_error(case, found)
        else:
            assert without_open_reasons(form, case.response) == case.response


def test_record(decided: Case, bundle_path: BundlePath) -> None:
    """The decision's record is the case's."""
    snapshot = snapshot_of(decided, bundle_path(decided.bundle))
    line = line_of(decided, ask(decided, snapshot), snapshot.revision)
    assert "\n" not in line
    assert line.isascii()
    assert record_form(decided, line, decision_id="d-1", revision=snapshot.revision) == decided.log
