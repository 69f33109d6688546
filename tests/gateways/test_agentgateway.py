"""agentgateway's protocol, spoken by a gRPC client made from the proto: the real gateway cannot be had as a package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2 as pb
from tests.bundles import manifest
from tests.gateways.worlds import BUNDLE, TOOLS
from tests.grpc.service import Service, serving

SETTINGS = {"enabled": True, "subject_from": "metadata:sub", "session_from": "header:mcp-session-id"}
CODER = {"sub": "coder"}

_Code = pb.AuthorizationError.Code


class Gateway:
    """What agentgateway does before and after a request."""

    def __init__(self, channel: grpc.Channel) -> None:
        path = "/agentgateway.dev.ext_mcp.ExtMcp/"
        self._request = channel.unary_unary(
            path + "CheckRequest", pb.McpRequest.SerializeToString, pb.McpRequestResult.FromString
        )
        self._response = channel.unary_unary(
            path + "CheckResponse", pb.McpResponse.SerializeToString, pb.McpResponseResult.FromString
        )

    def request(
        self,
        method: str,
        params: bytes | None,
        metadata: Any = CODER,
        services: tuple[str, ...] = ("srv",),
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> pb.McpRequestResult:
        """What becomes of a request; a result has to be set."""
        request = pb.McpRequest(service_names=services, method=method, mcp_request=params)
        request.metadata_context.update(metadata)
        for key, value in headers:
            request.headers.add(key=key, value=value)
        result: pb.McpRequestResult = self._request(request, timeout=30)
        assert result.WhichOneof("result")
        return result

    def response(
        self, method: str, result: bytes, metadata: Any = CODER, services: tuple[str, ...] = ("srv",)
    ) -> pb.McpResponseResult:
        """What becomes of a result; a result has to be set."""
        response = pb.McpResponse(service_names=services, method=method, mcp_response=result)
        response.metadata_context.update(metadata)
        answer: pb.McpResponseResult = self._response(response, timeout=30)
        assert answer.WhichOneof("result")
        return answer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    files = {**BUNDLE, "tools/other.json": manifest(*TOOLS)}
    with serving(tmp_path_factory.mktemp("service"), files, agentgateway=SETTINGS) as running:
        yield running


@pytest.fixture
def gateway(service: Service) -> Gateway:
    return Gateway(service.channel)


def params(name: str = "read", **arguments: Any) -> bytes:
    return json.dumps({"name": name, "arguments": arguments}).encode()


def result(text: str = "done", **more: Any) -> bytes:
    return json.dumps({"content": [{"type": "text", "text": text}], **more}).encode()


def handed_over(gateway: Gateway, name: str, **arguments: Any) -> dict[str, Any]:
    """The gateway's metadata for the result of a call that was allowed, as the example's configuration makes it."""
    metadata = gateway.request("tools/call", params(name, **arguments)).metadata
    return {**CODER, "pdp": dict(metadata.fields["pdp"].struct_value.items())}


def test_an_allowed_call_passes(gateway: Gateway) -> None:
    """A call that is allowed passes as it is."""
    assert gateway.request("tools/call", params(n=1)).WhichOneof("result") == "pass"


def test_a_denied_call_says_why(gateway: Gateway) -> None:
    """A call that a policy denies is an error with the policy's message."""
    error = gateway.request("tools/call", params("write", n=11)).error
    assert (error.code, error.reason) == (_Code.PERMISSION_DENIED, "FORBIDDEN: small numbers only")


def test_arguments_are_transformed(gateway: Gateway) -> None:
    """The server gets the arguments as an interceptor left them, and every other byte as it came."""
    given = b'{"_meta" : {"n":1.50}, "name":"shift","arguments":{"n":1 }}'
    assert gateway.request("tools/call", given).mutated == given.replace(b'{"n":1 }', b'{"n":7}')
    assert json.loads(gateway.request("tools/call", b'{"name":"shift"}').mutated)["arguments"] == {"n": 7}


def test_decisions_are_recorded(gateway: Gateway, service: Service) -> None:
    """A decision for this gateway is in the decision log like any other, with its session."""
    headers = (("Mcp-Session-Id", b"s-1"),)
    answer = gateway.request("tools/call", params(n=2), headers=headers)
    decision_id = answer.metadata.fields["pdp"].struct_value.fields["decision_id"].string_value
    record = service.record_of(decision_id)
    assert record["decision"] == "ALLOW"
    assert "s-1" in json.dumps(record)


REFUSED = {
    "an unknown method": (("resources/read", b'{"uri":"file:///x"}'), {}, _Code.PERMISSION_DENIED),
    "no params": (("tools/call", None), {}, _Code.INVALID),
    "empty params": (("tools/call", b""), {}, _Code.INVALID),
    "params that are no JSON": (("tools/call", b"{"), {}, _Code.INVALID),
    "params that are a list": (("tools/call", b"[]"), {}, _Code.INVALID),
    "a tool twice": (("tools/call", b'{"name":"read","name":"hidden"}'), {}, _Code.INVALID),
    "a tool that is no text": (("tools/call", b'{"name":7}'), {}, _Code.INVALID),
    "a depth bomb": (("tools/call", b'{"name":"read","arguments":' + b"[" * 9_999), {}, _Code.INVALID),
    "params that nobody looks at": (("tools/call", b'{"name":"read","task":{}}'), {}, _Code.INVALID),
    "nobody": (("tools/call", params()), {"metadata": {}}, _Code.PERMISSION_DENIED),
    "nobody by name": (("tools/call", params()), {"metadata": {"sub": ""}}, _Code.PERMISSION_DENIED),
    "a number for a name": (("tools/call", params()), {"metadata": {"sub": 7}}, _Code.PERMISSION_DENIED),
    "a list of names": (("tools/call", params()), {"metadata": {"sub": ["coder"]}}, _Code.PERMISSION_DENIED),
    "no server": (("tools/call", params()), {"services": ()}, _Code.PERMISSION_DENIED),
    "two servers": (("tools/call", params()), {"services": ("srv", "other")}, _Code.PERMISSION_DENIED),
    "an overlong session": (("tools/call", params()), {"headers": (("mcp-session-id", b"x" * 999),)}, _Code.INVALID),
    "two sessions": (("tools/call", params()), {"headers": (("mcp-session-id", b"x"),) * 2}, _Code.INVALID),
}


@pytest.mark.parametrize(("request_", "more", "code"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_decided_is_an_error(
    gateway: Gateway, request_: tuple[str, bytes | None], more: dict[str, Any], code: _Code.ValueType
) -> None:
    """Whatever is wrong with a request is an error of the protocol, never one of the RPC and never a pass."""
    answer = gateway.request(*request_, **more)
    assert answer.error.code == code, answer
    assert not answer.HasField("metadata")


@pytest.mark.parametrize("method", ["initialize", "ping", "tools/list", "server/discover", "notifications/progress"])
def test_what_asks_for_no_tool_passes(gateway: Gateway, method: str) -> None:
    """What sets up a session and asks for a list passes unasked, whoever it is and however many servers it is for."""
    assert gateway.request(method, None, {}, ("srv", "other")).WhichOneof("result") == "pass"


def test_a_result_is_redacted(gateway: Gateway) -> None:
    """The agent gets a result as an interceptor left it, joined in the log with the decision about the call."""
    metadata = handed_over(gateway, "secret")
    answer = json.loads(gateway.response("tools/call", result("mellon"), metadata).mutated)
    assert answer["content"] == [{"type": "text", "text": "[redacted]"}]


def test_what_does_not_change_passes(gateway: Gateway) -> None:
    """A result that no interceptor changes, and a list of which nothing is hidden, go on as they are."""
    plain = result("done", isError=True)
    assert gateway.response("tools/call", plain, handed_over(gateway, "read")).WhichOneof("result") == "pass"
    listed = json.dumps({"tools": TOOLS[:4]}).encode()
    assert gateway.response("tools/list", listed).WhichOneof("result") == "pass"


BAD_RESULTS = {
    "the call is not known": (result(), {"sub": "coder"}),
    "the call is of another server": (result(), {"sub": "coder", "pdp": {"server": "other", "tool": "read"}}),
    "the call has no tool": (result(), {"sub": "coder", "pdp": {"server": "srv"}}),
    "the call is no object": (result(), {"sub": "coder", "pdp": "read"}),
    "nobody asked": (result(), {"pdp": {"server": "srv", "tool": "read"}}),
    "no JSON": (b"{", {"sub": "coder", "pdp": {"server": "srv", "tool": "read"}}),
    "nothing": (b"", {"sub": "coder", "pdp": {"server": "srv", "tool": "read"}}),
    "wants more": (result(resultType="input_required"), {"sub": "coder", "pdp": {"server": "srv", "tool": "read"}}),
}


@pytest.mark.parametrize(("given", "metadata"), BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_a_result_that_cannot_be_checked_is_an_error(gateway: Gateway, given: bytes, metadata: Any) -> None:
    """A result of which the call is not known, or that is none, does not reach the agent."""
    assert gateway.response("tools/call", given, metadata).WhichOneof("result") == "error"


def test_a_list_is_filtered(gateway: Gateway) -> None:
    """Tools that the agent cannot call go from the list of one server, and the rest stays as it was."""
    given = json.dumps({"tools": TOOLS, "nextCursor": "next"}).encode()
    assert json.loads(gateway.response("tools/list", given).mutated) == {"tools": TOOLS[:4], "nextCursor": "next"}


def test_a_list_of_several_servers_is_filtered(gateway: Gateway) -> None:
    """In a list of several servers a tool belongs to the server in front of its name, and to nobody otherwise."""
    named = [{**tool, "name": f"{server}_{tool['name']}"} for server in ("srv", "other") for tool in TOOLS]
    given = json.dumps({"tools": [*named, TOOLS[0], {**TOOLS[0], "name": "third_read"}]}).encode()
    answer = json.loads(gateway.response("tools/list", given, services=("srv", "other")).mutated)
    shown = [tool["name"] for tool in answer["tools"]]
    assert "srv_hidden" not in shown
    assert shown == [tool["name"] for tool in named if tool["name"] != "srv_hidden"]


def test_a_name_that_fits_two_servers_is_hidden(gateway: Gateway) -> None:
    """A tool of which the server is not clear is not listed."""
    given = json.dumps({"tools": [{**TOOLS[0], "name": "srv_read_read"}]}).encode()
    answer = gateway.response("tools/list", given, services=("srv", "srv_read"))
    assert json.loads(answer.mutated)["tools"] == []


def test_results_of_unknown_methods_are_errors(gateway: Gateway) -> None:
    """A result of a method that nobody allowed does not pass, whatever it is."""
    assert gateway.response("resources/read", b"{}").error.code == _Code.PERMISSION_DENIED
    assert gateway.response("initialize", b"{}").WhichOneof("result") == "pass"


def test_further_methods_pass_if_configured(tmp_path: Path) -> None:
    """What the configuration names passes; lists of several servers are refused where no separator is configured."""
    settings = {**SETTINGS, "pass_methods": ["prompts/get"], "separator": ""}
    with serving(tmp_path, BUNDLE, agentgateway=settings) as running:
        gateway = Gateway(running.channel)
        assert gateway.request("prompts/get", b"{}").WhichOneof("result") == "pass"
        given = json.dumps({"tools": TOOLS}).encode()
        assert gateway.response("tools/list", given, services=("srv", "other")).HasField("error")
