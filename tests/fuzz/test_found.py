"""What random requests found: each the shortest request that shows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2
from pdp._gen.pdp.v1 import admin_service_pb2, interceptor_pb2
from tests.grpc.service import TIMEOUT_SECONDS, failure, question, refused_field, serving, tool_call


def test_a_fraction_in_the_context_of_who_acts_for_somebody_is_the_callers_mistake(tmp_path: Path) -> None:
    """The context of an action has no fractions, also where the service adds for whom the subject acts."""
    asked = question(context_json=b'{"x": 1.5}')
    asked.subject.on_behalf_of.type, asked.subject.on_behalf_of.id = "User", "u"
    with serving(tmp_path) as service:
        assert refused_field(failure(service.decision.Authorize, asked)) == "context_json"


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_metadata_without_a_form_in_json_is_refused_for_what_it_is(
    tmp_path: Path, logs: list[MutableMapping[str, Any]], number: float
) -> None:
    """Metadata with a number that JSON has not is the gateway's mistake: an error, and no bug of the service."""
    settings = {"enabled": True, "subject_from": "metadata:sub"}
    request = ext_mcp_pb2.McpRequest(method="tools/call", service_names=["srv"], mcp_request=b'{"name": "read"}')
    request.metadata_context["sub"] = "a"
    request.metadata_context["n"] = number
    with serving(tmp_path, agentgateway=settings) as service:
        path = "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest"
        check: Any = service.channel.unary_unary(path, None, ext_mcp_pb2.McpRequestResult.FromString)
        answer = check(request.SerializeToString(), timeout=TIMEOUT_SECONDS)
    assert answer.error.code == ext_mcp_pb2.AuthorizationError.INVALID
    assert "internal error" not in [event["event"] for event in logs]


def test_a_stream_that_its_caller_breaks_off_is_no_bug(tmp_path: Path, logs: list[MutableMapping[str, Any]]) -> None:
    """Who goes away in the middle of a push is no error of the service, and leaves nothing in its log."""
    begun, gone = threading.Event(), threading.Event()

    def messages() -> Iterator[admin_service_pb2.PutInterceptorRequest]:
        yield admin_service_pb2.PutInterceptorRequest(binding=interceptor_pb2.InterceptorBinding(name="x"))
        begun.set()
        gone.wait(TIMEOUT_SECONDS)

    with serving(tmp_path) as service:
        call = service.admin.PutInterceptor.future(messages(), timeout=TIMEOUT_SECONDS)
        assert begun.wait(TIMEOUT_SECONDS)
        # An answer to another call of the same connection: the message before is there.
        assert service.authorize(tool_call()).decision
        call.cancel()
        gone.set()
    # The service has stopped, so it has said whatever it had to say.
    assert "internal error" not in [event["event"] for event in logs]
