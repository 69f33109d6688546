"""What goes wrong inside ends in the gateway's own denial, never in an error of the RPC and never in a pass."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.call import Call, RpcCall
from pdp.errors import DeadlineExceededError, OverLimitError, UnavailableError
from pdp.gateway_config import AgentgatewayConfig, EnvoyConfig
from pdp.identity.callers import ANYONE
from pdp.servicers.gateways.agentgateway import ExtMcpServicer
from pdp.servicers.gateways.asker import Asker, Within
from tests.gateways.cores import NO_METADATA, AllowingCore, FailingCore

SOON = Within(ANYONE, 10)
AGENTGATEWAY = AgentgatewayConfig(enabled=True, subject_from="metadata:sub")
ENVOY = EnvoyConfig(ext_proc=True, ext_authz=True, server_from="fixed:srv", subject_from="header:x-agent")

SECRET = "mellon"
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}'


FAULTS = {
    "a bug": (RuntimeError(SECRET), "internal error "),
    "no bundle": (UnavailableError(SECRET), "the policy decision point gave no decision"),
    "too late": (DeadlineExceededError(SECRET), "the policy decision point gave no decision"),
    "too much": (OverLimitError(SECRET), "this is more than the policy decision point takes"),
    "no answer": (None, "the policy decision point gave no decision"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_agentgateway_gets_an_error(fault: Exception | None, reason: str, logs: list[MutableMapping[str, Any]]) -> None:
    """agentgateway gets an AuthorizationError, without the cause, to a call and to a result."""
    servicer = ExtMcpServicer(Asker(FailingCore(fault)), AGENTGATEWAY)
    request = ext_mcp_pb2.McpRequest(service_names=["srv"], method="tools/call", mcp_request=b'{"name":"read"}')
    response = ext_mcp_pb2.McpResponse(service_names=["srv"], method="tools/call", mcp_response=b'{"content":[]}')
    for asked in (request, response):
        asked.metadata_context.update({"sub": "coder", "pdp": {"server": "srv", "tool": "read"}})
    for answer in (servicer.CheckRequest(request, SOON), servicer.CheckResponse(response, SOON)):
        assert answer.error.reason.startswith(reason)
        assert SECRET not in str(answer)


@pytest.mark.usefixtures("envoy_messages")
@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_ext_authz_gets_a_denial(fault: Exception | None, reason: str, logs: list[MutableMapping[str, Any]]) -> None:
    """Envoy's ext_authz gets a denied CheckResponse, which an agent reads as a tool's error."""
    from envoy.service.auth.v3 import external_auth_pb2  # noqa: PLC0415

    from pdp.servicers.gateways.envoy_ext_authz import AuthorizationServicer  # noqa: PLC0415

    request = external_auth_pb2.CheckRequest()
    http = request.attributes.request.http
    http.method, http.raw_body = "POST", CALL
    http.headers.update({"content-type": "application/json", "x-agent": "coder"})
    answer = AuthorizationServicer(Asker(FailingCore(fault)), ENVOY).Check(request, SOON)
    assert answer.status.code != 0
    told = json.loads(answer.denied_response.body)["result"]
    assert told["isError"] is True
    assert told["content"][0]["text"].startswith(reason)
    assert SECRET not in str(answer)


@pytest.mark.usefixtures("envoy_messages")
@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_ext_proc_gets_an_immediate_response(
    fault: Exception | None, reason: str, logs: list[MutableMapping[str, Any]]
) -> None:
    """Envoy's ext_proc gets an ImmediateResponse, and then the stream ends."""
    from envoy.service.ext_proc.v3 import external_processor_pb2  # noqa: PLC0415

    from pdp.servicers.gateways.envoy_ext_proc import ExternalProcessorServicer  # noqa: PLC0415

    head, body = external_processor_pb2.ProcessingRequest(), external_processor_pb2.ProcessingRequest()
    head.protocol_config.request_body_mode, head.protocol_config.response_body_mode = 2, 1
    for name, value in ((":method", "POST"), ("content-type", "application/json"), ("x-agent", "coder")):
        head.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    body.request_body.body, body.request_body.end_of_stream = CALL, True
    servicer = ExternalProcessorServicer(Asker(FailingCore(fault)), ENVOY)
    answers = list(servicer.Process(iter([head, body, body]), RpcCall(ANYONE, NO_METADATA)))
    assert [answer.WhichOneof("response") for answer in answers] == ["request_headers", "immediate_response"]
    immediate = answers[-1].immediate_response
    assert immediate.status.code == 200
    assert json.loads(immediate.body)["result"]["content"][0]["text"].startswith(reason)
    assert SECRET not in str(answers)


@pytest.mark.usefixtures("envoy_messages")
def test_text_that_may_stand_for_something_else_is_denied() -> None:
    """Envoy puts `!` in the place of bytes that are no text, unless it shows bytes: then a `!` is nothing but that."""
    from envoy.service.auth.v3 import external_auth_pb2  # noqa: PLC0415

    from pdp.servicers.gateways.envoy_ext_authz import AuthorizationServicer  # noqa: PLC0415

    body = CALL.replace(b'"read"', b'"read","arguments":{"x":"!"}')
    allowing = AuthorizationServicer(Asker(AllowingCore()), ENVOY)
    for shown in ({"body": body.decode()}, {"raw_body": body}):
        request = external_auth_pb2.CheckRequest()
        http = request.attributes.request.http
        http.method = "POST"
        http.headers.update({"content-type": "application/json", "x-agent": "coder"})
        for name, value in shown.items():
            setattr(http, name, value)
        assert (allowing.Check(request, SOON).status.code == 0) == ("raw_body" in shown)


def test_a_bug_is_logged_with_its_cause(logs: list[MutableMapping[str, Any]]) -> None:
    """What the gateway is not told is in the log, under the id that it is told."""
    servicer = ExtMcpServicer(Asker(FailingCore(RuntimeError(SECRET))), AGENTGATEWAY)
    request = ext_mcp_pb2.McpRequest(service_names=["srv"], method="tools/call", mcp_request=b'{"name":"read"}')
    request.metadata_context.update({"sub": "coder"})
    reason = servicer.CheckRequest(request, SOON).error.reason
    [event] = [event for event in logs if event["event"] == "internal error"]
    assert reason == f"internal error {event['error_id']}"
    assert str(event["exc_info"]) == SECRET


def test_only_an_allow_is_an_allow() -> None:
    """A decision that nobody knows yet is a denial."""

    class Newer(FailingCore):
        def Decide(self, request: pb.DecideRequest, call: Call) -> pb.DecideResponse:
            return pb.DecideResponse(decision=decision_pb2.Decision.ValueType(7))

    servicer = ExtMcpServicer(Asker(Newer(None)), AGENTGATEWAY)
    request = ext_mcp_pb2.McpRequest(service_names=["srv"], method="tools/call", mcp_request=b'{"name":"read"}')
    request.metadata_context.update({"sub": "coder"})
    assert servicer.CheckRequest(request, SOON).WhichOneof("result") == "error"
