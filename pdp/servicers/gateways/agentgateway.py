"""`agentgateway.dev.ext_mcp.ExtMcp`: agentgateway shows each request and each result of MCP, and waits.

An RPC error could mean to the gateway that everything may go on (`failureMode: failOpen`), and so could an answer
without a result: whatever goes wrong is an `AuthorizationError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2 as pb
from pdp.call import Call
from pdp.gateway_config import AgentgatewayConfig
from pdp.servicers.gateways import mcp_messages as mcp
from pdp.servicers.gateways.asker import Allowed, Asker, guarded
from pdp.servicers.gateways.refusals import Kind, RefusedError, overloaded
from pdp.servicers.gateways.sources import Facts, Who, object_of, session_in, subject_in, value_at

#: The key under which an allowed call is handed over to the check of its result.
_CALL: Final = "pdp"

_CODES: Final[dict[Kind, pb.AuthorizationError.Code.ValueType]] = {
    "denied": pb.AuthorizationError.PERMISSION_DENIED,
    "exhausted": pb.AuthorizationError.RESOURCE_EXHAUSTED,
    "invalid": pb.AuthorizationError.INVALID,
    "internal": pb.AuthorizationError.UNKNOWN,
}

_Result = TypeVar("_Result", pb.McpRequestResult, pb.McpResponseResult)


class ExtMcpServicer:
    """Answers agentgateway."""

    def __init__(self, asker: Asker, config: AgentgatewayConfig) -> None:
        self._asker = asker
        self._config = config

    def CheckRequest(self, request: pb.McpRequest, call: Call) -> pb.McpRequestResult:
        """May this request go to its server, and how?"""
        try:
            return guarded("ExtMcp.CheckRequest", lambda: self._request(request, call))
        except RefusedError as refusal:
            return pb.McpRequestResult(error=_error(refusal))

    def CheckResponse(self, response: pb.McpResponse, call: Call) -> pb.McpResponseResult:
        """What of this result goes to the agent?"""
        try:
            return guarded("ExtMcp.CheckResponse", lambda: self._response(response, call))
        except RefusedError as refusal:
            return pb.McpResponseResult(error=_error(refusal))

    def overloaded(self, method: str) -> Message:
        """The answer to a call of `method` that there is no time for."""
        result = pb.McpRequestResult if method == "CheckRequest" else pb.McpResponseResult
        return result(error=_error(overloaded()))

    def _request(self, request: pb.McpRequest, gateway: Call) -> pb.McpRequestResult:
        if request.method != "tools/call":
            self._require_known(request.method)
            return _passed(pb.McpRequestResult())
        headers = [(header.key.lower(), header.value.decode("utf-8", "backslashreplace")) for header in request.headers]
        facts = Facts(headers, object_of(request.metadata_context))
        call = mcp.read_call(request.mcp_request or b"{}")
        who = self._identified(facts, _only(request.service_names))
        allowed = self._asker.decide(who, call.name, call.arguments_json, gateway)
        result = pb.McpRequestResult()
        if allowed.mutated:
            result.mutated = mcp.with_arguments(request.mcp_request, allowed.arguments_json)
        else:
            _passed(result)
        result.metadata.update({_CALL: _handed_over(who, allowed)})
        return result

    def _response(self, response: pb.McpResponse, gateway: Call) -> pb.McpResponseResult:
        facts = Facts(metadata=object_of(response.metadata_context))
        final = response.mcp_response
        if response.method == "tools/list":
            final = self._filtered(response, facts, gateway)
        elif response.method == "tools/call":
            final = self._intercepted(response, facts, gateway)
        else:
            self._require_known(response.method)
        # The gateway reads what is changed anew, and could fail to.
        unchanged = final == response.mcp_response
        return _passed(pb.McpResponseResult()) if unchanged else pb.McpResponseResult(mutated=final)

    def _intercepted(self, response: pb.McpResponse, facts: Facts, gateway: Call) -> bytes:
        asked = self._identified(facts, _only(response.service_names))
        who, call = _taken_over(value_at(self._config.call_from, facts), asked)
        is_error = mcp.read_result(response.mcp_response)
        final = self._asker.intercepted(who, call, response.mcp_response, is_error, gateway)
        mcp.read_result(final)
        return final if final == response.mcp_response else mcp.completed(final)

    def _filtered(self, response: pb.McpResponse, facts: Facts, gateway: Call) -> bytes:
        listed = mcp.read_tools(response.mcp_response)
        kept: set[str] = set()
        for server, names in self._by_server(response.service_names, list(listed.tools)).items():
            tools = [(name, listed.definition_json(shown, name)) for name, shown in names.items()]
            visible = self._asker.visible(self._identified(facts, server), tools, gateway)
            kept |= {names[name] for name in visible}
        return mcp.with_tools(listed, kept)

    def _by_server(self, servers: Sequence[str], shown: Sequence[str]) -> dict[str, dict[str, str]]:
        """For each server its tools' names, and how they are shown. Tools of which it is not clear are left out.

        A list of one server shows the names as they are, one of several with the server in front.
        """
        if len(servers) == 1:
            return {servers[0]: {name: name for name in shown}}
        separator = self._config.separator
        if not separator or not servers:
            raise RefusedError("a list of several servers is not allowed here")
        found: dict[str, dict[str, str]] = {}
        for name in shown:
            fitting = {server for server in servers if name.startswith(f"{server}{separator}")}
            if len(fitting) == 1:
                [server] = fitting
                found.setdefault(server, {})[name.removeprefix(f"{server}{separator}")] = name
        return found

    def _identified(self, facts: Facts, server: str) -> Who:
        return Who(subject_in(self._config, facts), server, session_in(self._config, facts))

    def _require_known(self, method: str) -> None:
        if method != "tools/list" and not mcp.passing(method, self._config.pass_methods):
            raise RefusedError("this method is not allowed here")


def _passed(result: _Result) -> _Result:
    """Make it a pass; the field's name is a word of Python."""
    getattr(result, "pass").SetInParent()
    return result


def _only(servers: Sequence[str]) -> str:
    if len(servers) != 1 or not servers[0]:
        raise RefusedError("it is not known which server this is for")
    return servers[0]


def _handed_over(who: Who, call: Allowed) -> dict[str, str]:
    return {
        "server": who.server,
        "tool": call.tool,
        "arguments_json": call.arguments_json.decode(),
        "decision_id": call.decision_id,
        "session_id": who.session_id,
    }


def _taken_over(value: Any, who: Who) -> tuple[Who, Allowed]:
    """The call that a result belongs to, and its session, which no header tells here. Raises RefusedError."""
    texts = {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, Mapping) else {}
    if texts.get("server") != who.server or not texts.get("tool"):
        raise RefusedError("it is not known which call this result is for", "internal")
    call = Allowed(texts["tool"], texts.get("arguments_json", "").encode(), False, texts.get("decision_id", ""))
    return replace(who, session_id=texts.get("session_id", "")), call


def _error(refusal: RefusedError) -> pb.AuthorizationError:
    return pb.AuthorizationError(code=_CODES[refusal.kind], reason=refusal.text)
