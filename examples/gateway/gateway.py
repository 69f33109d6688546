"""A gateway between an agent and one MCP server, which asks a policy decision point about everything.

    python gateway.py --server git --subject Agent coder -- mcp-server-git

To the agent it is an MCP server on standard input and output. It starts the real server as its child, and passes on:

- `tools/list`, with those tools only that this subject could ever call (FilterTools);
- `tools/call`, if the service allows it, with the arguments that the service returns (Decide);
- its result, as the service returns it (Intercept, PHASE_RESPONSE).

Nothing else is passed on: no prompts, resources, instructions or requests of the server. A denial is a tool result with
`isError`, so that the agent can read why. What goes wrong is an error too: a call without a decision is never made.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import grpc
from anyio import to_thread
from mcp import Client, MCPError, StdioServerParameters, types
from mcp.server import Server
from mcp.server.stdio import stdio_server
from pydantic import RootModel

from pdp._gen.pdp.v1 import decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp._gen.pdp.v1.decision_service_pb2_grpc import DecisionServiceStub

logger = logging.getLogger("gateway")

# A server whose list goes on forever is a broken one.
_MAX_PAGES = 100
# What the bundle pins of a tool, and so what somebody reviewed. Other members, such as a title, may say anything.
_REVIEWED_MEMBERS = ("name", "description", "inputSchema", "annotations")
_NO_DECISION = "the policy decision point gave no decision"
_UNREADABLE = "the call, or the server's answer, is nothing that can be passed on"

_Answer = TypeVar("_Answer")


class RefusedError(Exception):
    """This goes no further; the message is for the agent."""


class Document(RootModel[dict[str, Any]]):
    """What a server answered, with every member as it was sent."""


@dataclass(frozen=True)
class Gateway:
    """One agent, one server, and the service that decides."""

    upstream: Client
    pdp: DecisionServiceStub
    server: str
    subject: decision_pb2.Subject
    session_id: str
    rpc_seconds: float
    tool_seconds: float

    async def list_tools(self, _context: object, _params: object) -> types.ListToolsResult:
        """`tools/list`: all tools that this subject could call, in one page. Raises MCPError."""
        try:
            tools = await self._listed()
            answer = await self._filtered(tools.values())
            shown = [_reviewed(tools[name]) for name in answer.allowed if name in tools]
        except (RefusedError, ValueError, MCPError) as error:
            logger.warning("tools/list: %s", error)
            raise MCPError(types.INTERNAL_ERROR, "the list of tools is not available") from error
        # What one subject may see is nothing that a cache may give to another, or keep.
        return types.ListToolsResult(tools=shown, ttl_ms=0, cache_scope="private")

    async def call_tool(self, _context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        """`tools/call`: the tool's result, or an error that tells the agent why there is none."""
        try:
            return await self._called(params.name, params.arguments or {})
        except RefusedError as refusal:
            logger.info("%s: %s", params.name, refusal)
            return _error(str(refusal))
        except (ValueError, MCPError) as error:
            logger.warning("%s: %s", params.name, error)
            return _error(_UNREADABLE)

    async def _called(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        # 1. The service hears what the tool is now, and denies in the next step if that is not what was approved.
        tool = (await self._listed()).get(name)
        if tool is None:
            raise RefusedError("the server lists no such tool")
        await self._filtered([tool])

        # 2. May this subject call it, and with which arguments?
        call = decision_pb2.ToolCall(server=self.server, tool=name, session_id=self.session_id)
        call.arguments_json = _encoded(arguments)
        decided = await self._ask(self.pdp.Decide, pb.DecideRequest(subject=self.subject, tool_call=call))
        _require_allow(decided)

        # 3. These arguments were authorized, so the tool gets them and no others.
        call.arguments_json = decided.arguments_json
        result = await self._forwarded(name, _parsed(decided.arguments_json))

        # 4. Nothing that the server says reaches the agent as it came, errors included.
        return await self._intercepted(call, result, decided.decision_id)

    async def _forwarded(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The server's result for this call. What the server has to say against the call is a result too."""
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=name, arguments=arguments))
        try:
            answer = await self.upstream.session.send_request(request, Document, self.tool_seconds)
        except MCPError as error:
            return _error(error.message).model_dump(by_alias=True, mode="json", exclude_none=True)
        return answer.root

    async def _intercepted(
        self, call: decision_pb2.ToolCall, result: Mapping[str, Any], decision_id: str
    ) -> types.CallToolResult:
        request = pb.InterceptRequest(
            phase=interceptor_pb2.PHASE_RESPONSE,
            subject=self.subject,
            tool_call=call,
            result_json=_encoded(result),
            result_is_error=result.get("isError") is True,
            decision_id=decision_id,
        )
        answer = await self._ask(self.pdp.Intercept, request)
        _require_allow(answer)
        final = types.CallToolResult.model_validate(_parsed(answer.result_json), by_name=False)
        if final.result_type != "complete":
            raise RefusedError("the server asks for something that is not passed on")
        return final

    async def _listed(self) -> dict[str, dict[str, Any]]:
        """The tools as the server lists them now, by name, in its order.

        Raises RefusedError: the list has no end, or two tools of one name, of which a decision could mean either.
        """
        tools: dict[str, dict[str, Any]] = {}
        params: types.PaginatedRequestParams | None = None
        for _ in range(_MAX_PAGES):
            request = types.ListToolsRequest(params=params)
            page = (await self.upstream.session.send_request(request, Document, self.tool_seconds)).root
            for tool in page["tools"]:
                if tools.setdefault(tool["name"], tool) is not tool:
                    raise RefusedError("the server lists two tools of one name")
            if page.get("nextCursor") is None:
                return tools
            params = types.PaginatedRequestParams(cursor=page["nextCursor"])
        raise RefusedError("the server's list of tools has no end")

    async def _filtered(self, tools: Iterable[Mapping[str, Any]]) -> pb.FilterToolsResponse:
        listed = [pb.ListedTool(name=tool["name"], definition_json=_encoded(tool)) for tool in tools]
        request = pb.FilterToolsRequest(subject=self.subject, server=self.server, tools=listed)
        return await self._ask(self.pdp.FilterTools, request)

    async def _ask(self, method: Callable[..., _Answer], request: object) -> _Answer:
        """One RPC with a deadline. Raises RefusedError: there is no answer, whyever."""
        try:
            return await to_thread.run_sync(partial(method, request, timeout=self.rpc_seconds))
        except grpc.RpcError as error:
            logger.warning("no answer: %s", error)
            raise RefusedError(_NO_DECISION) from error


def _require_allow(answer: pb.DecideResponse | pb.InterceptResponse) -> None:
    """Raises RefusedError unless this is an allow; anything else, also what nobody knows yet, is a denial."""
    if answer.decision == decision_pb2.DECISION_ALLOW:
        return
    if not answer.HasField("denial"):
        raise RefusedError(_NO_DECISION)
    code = decision_pb2.DenialCode.Name(answer.denial.code).removeprefix("DENIAL_CODE_")
    raise RefusedError(f"{code}: {answer.denial.message}")


def _reviewed(tool: Mapping[str, Any]) -> types.Tool:
    """The tool with what was reviewed of it."""
    members = {name: tool[name] for name in _REVIEWED_MEMBERS if name in tool}
    return types.Tool.model_validate(members, by_name=False)


def _encoded(value: object) -> bytes:
    """JSON text. Raises ValueError: it has something that JSON or UTF-8 cannot say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _parsed(text: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError: it is none, or has a number that would be passed on as another one."""
    value = json.loads(text)
    _encoded(value)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


async def run(options: argparse.Namespace) -> None:
    """Serve one agent until it closes standard input."""
    environment = {name: os.environ[name] for name in options.env}
    server = StdioServerParameters(command=options.command[0], args=options.command[1:], env=environment)
    # The child is there before gRPC starts its threads, which do not survive a fork.
    async with Client(server) as upstream:
        with grpc.insecure_channel(options.pdp) as channel:
            kind, name = options.subject
            gateway = Gateway(
                upstream=upstream,
                pdp=DecisionServiceStub(channel),
                server=options.server,
                subject=decision_pb2.Subject(entity=decision_pb2.EntityUid(type=kind, id=name)),
                session_id=str(uuid.uuid4()),
                rpc_seconds=options.timeout,
                tool_seconds=options.tool_timeout,
            )
            front: Server[Any] = Server("gateway", on_list_tools=gateway.list_tools, on_call_tool=gateway.call_tool)
            async with stdio_server() as (incoming, outgoing):
                await front.run(incoming, outgoing, front.create_initialization_options())


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(description="an MCP server that passes on what policies allow of another one")
    parser.add_argument("--pdp", default="127.0.0.1:7437", metavar="ADDRESS", help="of the service (%(default)s)")
    parser.add_argument("--server", required=True, metavar="NAME", help="what the bundle calls the server")
    parser.add_argument("--subject", required=True, nargs=2, metavar=("TYPE", "ID"), help="who the agent is")
    parser.add_argument("--timeout", type=float, default=5, metavar="SECONDS", help="of a decision (%(default)s)")
    parser.add_argument("--tool-timeout", type=float, default=60, metavar="SECONDS", help="of a tool (%(default)s)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME", help="a variable that the server gets")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what starts the server, with its arguments")
    options = parser.parse_args(arguments)
    missing = [name for name in options.env if name not in os.environ]
    if missing:
        parser.error(f"`{missing[0]}` is not in the environment")
    return options


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="gateway: %(message)s", stream=sys.stderr)
    anyio.run(run, parse(sys.argv[1:]))
