"""Calls that are told together are logged and counted as if each were alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.grpc.service import BUNDLE, TIMEOUT_SECONDS, Service, tool_call
from tests.telemetry.world import observed, value

_AT_ONCE = 64
_LONG = b'{"owner": "' + b"x" * 500 + b'"}'


def _asked_at_once(service: Service, request: pb.AuthorizeRequest) -> list[Any]:
    """So many calls that threads find others waiting when they have answered one, all of them over."""
    calls = [service.decision.Authorize.future(request, timeout=TIMEOUT_SECONDS) for _ in range(_AT_ONCE)]
    for call in calls:
        call.exception()
    return calls


def test_every_call_is_counted_once(tmp_path: Path) -> None:
    """However many ask at once, each answer has been counted, timed and decided when its caller has it."""
    labels = {"rpc": "DecisionService.Authorize"}
    with observed(tmp_path, BUNDLE) as service:
        address = service.app.telemetry_address
        for number in range(1, 6):
            assert {call.code() for call in _asked_at_once(service, tool_call())} == {grpc.StatusCode.OK}
            assert value(address, "pdp_rpc_duration_seconds_count", **labels) == number * _AT_ONCE
            assert value(address, "pdp_decisions_total", kind="authorize") == number * _AT_ONCE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_log_that_fills_under_load_lets_out_no_answer_without_its_record(tmp_path: Path) -> None:
    """At the moment when the room ends, each call either has its record or fails, and is counted as what it became."""
    log = {"path": "/dev/full", "spool_mib": 1, "when_full": "deny", "arguments": "full"}
    with observed(tmp_path, BUNDLE, decision_log=log) as service:
        told: list[str] = []
        failed: list[grpc.StatusCode] = []
        while len(failed) < _AT_ONCE:
            calls = _asked_at_once(service, tool_call(_LONG))
            told += [call.result().decision_id for call in calls if call.code() is grpc.StatusCode.OK]
            failed += [call.code() for call in calls if call.code() is not grpc.StatusCode.OK]
        kept = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*.segment"))
        address = service.app.telemetry_address
        assert set(failed) == {grpc.StatusCode.UNAVAILABLE}
        assert value(address, "pdp_rpc_errors_total", code="UNAVAILABLE") == len(failed)
        assert value(address, "pdp_rpc_duration_seconds_count") == len(told) + len(failed)
    assert len(told) > 500
    assert [decision_id for decision_id in told if decision_id.encode() not in kept] == []
