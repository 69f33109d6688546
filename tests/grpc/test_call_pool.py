"""Calls wait for their message without a thread, on the grpc that is installed; elsewhere they work all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp import call_pool
from pdp._gen.pdp.v1 import decision_pb2
from tests.grpc.service import failure, serving, tool_call


def test_the_installed_grpc_is_made_as_expected() -> None:
    """Nobody's threads are held by silent callers unknowingly, after an upgrade of grpc."""
    assert call_pool.waits_for_messages


def test_calls_are_answered_on_another_grpc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where grpc is made differently, it takes the threads as it always did, and calls are answered."""
    monkeypatch.setattr(call_pool, "waits_for_messages", False)
    with serving(tmp_path) as service:
        assert service.decision.Authorize(tool_call(), timeout=10.0).decision == decision_pb2.DECISION_ALLOW


def test_a_call_without_a_message_is_refused(tmp_path: Path) -> None:
    """A caller that closes its side without having sent anything gets an error that says so."""

    def nothing() -> Iterator[bytes]:
        yield from ()

    with serving(tmp_path) as service:
        call: Any = service.channel.stream_unary("/pdp.v1.DecisionService/Authorize")
        error = failure(call, nothing())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "exactly one message" in error.details()
        assert service.decision.Authorize(tool_call(), timeout=10.0).decision == decision_pb2.DECISION_ALLOW


def test_bytes_that_are_no_health_check_are_the_callers_mistake(tmp_path: Path) -> None:
    """The standard services' own messages may be malformed too, and that is no internal error."""
    with serving(tmp_path) as service:
        call: Any = service.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert failure(call, b"\xff\xff").code() is grpc.StatusCode.INVALID_ARGUMENT
