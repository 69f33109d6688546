"""What nobody expected: the caller learns that it happened, the log why, and nobody is let through."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

import grpc
import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.decision_log.sinks import Line, NullSink, Remaining
from tests.grpc.doubles import MemoryReader, put_together
from tests.grpc.service import TIMEOUT_SECONDS, failure, tool_call

Logs = list[MutableMapping[str, Any]]
SECRET = "the cause, with something secret in it"


class BrokenSink(NullSink):
    """A sink with a bug."""

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """Fail."""
        raise ZeroDivisionError(SECRET)

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """Each as `write` does."""
        for line in lines:
            self.write(line, remaining)


def _broken_ids() -> str:
    raise LookupError(SECRET)


def _assert_internal(error: Any, rpc: str, logs: Logs) -> None:
    """INTERNAL, fixed text and an error id for the caller; the cause under that id in the log."""
    assert error.code() is grpc.StatusCode.INTERNAL
    [event] = [event for event in logs if event["event"] == "internal error"]
    assert error.details() == f"internal error {event['error_id']}"
    assert len(event["error_id"]) == 16
    assert event["rpc"] == rpc
    assert SECRET in str(event["exc_info"])
    metadata = [*(error.trailing_metadata() or ()), *(error.initial_metadata() or ())]
    assert SECRET not in str(metadata)
    logs.clear()


@pytest.mark.parametrize("broken", [{"sink": BrokenSink()}, {"ids": _broken_ids}], ids=["sink", "ids"])
def test_a_bug_in_a_question_is_internal(broken: dict[str, Any], logs: Logs) -> None:
    """A question that meets a bug has no answer, least of all an allow, alone or in a batch."""
    with put_together(**broken) as clients:
        error = failure(clients.decision.Authorize, tool_call())
        _assert_internal(error, "DecisionService.Authorize", logs)
        batch = pb.AuthorizeBatchRequest(requests=[tool_call(), tool_call()])
        error = failure(clients.decision.AuthorizeBatch, batch)
        _assert_internal(error, "DecisionService.AuthorizeBatch", logs)


def test_a_bug_in_reading_the_bundle_is_internal_and_stops_nothing(logs: Logs) -> None:
    """A reload that meets a bug is INTERNAL; questions are answered as before, and the next reload is a new one."""
    reader = MemoryReader()
    with put_together(reader=reader) as clients:
        reader.failure = RuntimeError(SECRET)
        error = failure(clients.admin.Reload, admin_service_pb2.ReloadRequest())
        _assert_internal(error, "AdminService.Reload", logs)
        response = clients.decision.Authorize(tool_call(), timeout=TIMEOUT_SECONDS)
        assert response.decision == decision_pb2.DECISION_ALLOW
        reader.failure = None
        answer = clients.admin.Reload(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)
        assert answer.revision == response.revision


def test_a_bug_in_the_status_is_internal(logs: Logs) -> None:
    """The same goes for telling the status."""

    def fail() -> list[str]:
        raise OSError(28, SECRET)

    with put_together(degraded=fail) as clients:
        error = failure(clients.admin.GetStatus, admin_service_pb2.GetStatusRequest())
        _assert_internal(error, "AdminService.GetStatus", logs)


def test_every_bug_has_its_own_id(logs: Logs) -> None:
    """Error ids tell one event from another."""
    with put_together(ids=_broken_ids) as clients:
        texts = {failure(clients.decision.Authorize, tool_call()).details() for _ in range(10)}
    assert len(texts) == 10
    assert {f"internal error {event['error_id']}" for event in logs if "error_id" in event} == texts
