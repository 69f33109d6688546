"""Guard a FastMCP server: one middleware.

    mcp = FastMCP("notes", middleware=[PdpMiddleware(Client("127.0.0.1:7437"), server="notes")])

Every list of its tools is filtered, every call decided about, and every result looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import mcp_types as mt
from fastmcp import FastMCP
from fastmcp.exceptions import FastMCPError, NotFoundError, ToolError
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.server.middleware.dereference import DereferenceRefsMiddleware
from fastmcp.tools.base import InputRequiredToolResult, Tool, ToolResult
from fastmcp.utilities.json_schema import dereference_refs
from fastmcp.utilities.versions import dedupe_with_versions
from mcp import MCPError
from pydantic import BaseModel, ValidationError

from pdp_client import AsyncClient, Client, Subject, token
from pdp_client.integrations.documents import encoded
from pdp_client.integrations.errors import IdentityError, RefusedError, UnreadableError
from pdp_client.integrations.guard import AsyncGuard, Permit, Question
from pdp_client.integrations.identity import Who, identify_async

logger = logging.getLogger("pdp_client")


def from_access_token(_context: MiddlewareContext[Any]) -> Subject:
    """The subject of the request's access token, which the service verifies. Raises IdentityError without one."""
    access = get_access_token()
    if access is None:
        raise IdentityError
    return token(access.token)


class PdpMiddleware(Middleware):
    """Asks about every tool call of a FastMCP server, about its result, and about every list of its tools.

    `server`: what the bundle calls this server. `subject`: who calls, or a callable or coroutine function that gets
    FastMCP's `MiddlewareContext` and says so; without it the access token of the request does. A refusal is a tool
    error whose text the agent may read. Resources and prompts are not looked at, nor is what a tool sends to the client
    while it runs.
    """

    def __init__(self, client: Client | AsyncClient, *, server: str, subject: Who = from_access_token) -> None:
        self._guard = AsyncGuard(client)
        self._server = server
        self._subject = subject

    async def on_list_tools(
        self, context: MiddlewareContext[mt.ListToolsRequest], call_next: CallNext[mt.ListToolsRequest, Sequence[Tool]]
    ) -> Sequence[Tool]:
        """The tools that the subject could ever call. Raises MCPError where that cannot be said."""
        tools = dedupe_with_versions(list(await call_next(context)), lambda tool: tool.name)
        try:
            subject = await identify_async(self._subject, context)
            definitions = [definition(tool, _fastmcp(context)) for tool in tools]
            shown = await self._guard.filter_tools(subject, self._server, definitions)
        except RefusedError as refusal:
            raise MCPError(mt.INTERNAL_ERROR, f"the list of tools is not available: {refusal}") from refusal
        return [tool for tool in tools if tool.name in shown]

    async def on_call_tool(
        self,
        context: MiddlewareContext[mt.CallToolRequestParams],
        call_next: CallNext[mt.CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """The tool's result, as the service lets it pass. Raises ToolError with the reason where there is none."""
        try:
            permit = await self._guard.decide(await self._question(context))
            result = await _called(context, call_next, permit)
            return await self._passed(permit, result)
        except RefusedError as refusal:
            raise ToolError(str(refusal), log_level=logging.INFO) from refusal

    async def _question(self, context: MiddlewareContext[mt.CallToolRequestParams]) -> Question:
        if context.message.meta:
            # The bundle pins one definition of a tool, so a call of another version would be one that nobody reviewed.
            raise UnreadableError("a version of a tool cannot be asked for")
        name = context.message.name
        fastmcp = _fastmcp(context)
        tool = await fastmcp.get_tool(name)
        if tool is None:
            raise NotFoundError(f"unknown tool `{name}`")
        if tool.task_config.supports_tasks():
            # Its result could be fetched later, past this middleware.
            raise UnreadableError("a tool that may run in the background cannot be called")
        arguments = encoded(context.message.arguments or {}, "the arguments")
        subject = await identify_async(self._subject, context)
        return Question(subject, self._server, name, arguments, definition=definition(tool, fastmcp))

    async def _passed(self, permit: Permit, result: ToolResult) -> ToolResult:
        # What an extension puts in place of a result, such as a task, would give the result to somebody later.
        if not isinstance(result, ToolResult):
            raise UnreadableError("the tool's result is none that can be looked at")
        model = result.input_required if isinstance(result, InputRequiredToolResult) else _wire_result(result)
        document = await self._guard.passed(permit, _dumped(model), is_error=result.is_error)
        try:
            final = type(model).model_validate(document, by_name=False)
            return _tool_result(final)
        except ValidationError as error:
            raise UnreadableError("what became of the result is no tool result") from error


def definition(tool: Tool, fastmcp: FastMCP[Any]) -> dict[str, Any]:
    """What a client of this server is told about the tool, as JSON."""
    listed = _dumped(tool.to_mcp_tool(name=tool.name))
    if any(isinstance(middleware, DereferenceRefsMiddleware) for middleware in fastmcp.middleware):
        listed["inputSchema"] = dereference_refs(listed["inputSchema"])
    return listed


async def manifest(fastmcp: FastMCP[Any]) -> dict[str, Any]:
    """A `tools/list` result with all tools of the server, whoever may call them: what a bundle pins."""
    tools = dedupe_with_versions(list(await fastmcp.list_tools(run_middleware=False)), lambda tool: tool.name)
    return {"tools": [definition(tool, fastmcp) for tool in tools]}


async def _called(
    context: MiddlewareContext[mt.CallToolRequestParams],
    call_next: CallNext[mt.CallToolRequestParams, ToolResult],
    permit: Permit,
) -> ToolResult:
    """The tool's result for the authorized arguments. What it says in an error is a result too."""
    message = context.message.model_copy(update={"arguments": permit.arguments})
    try:
        return await call_next(context.copy(message=message))
    except (FastMCPError, MCPError, ValidationError) as error:
        return ToolResult(content=str(error), is_error=True)
    except Exception as error:
        # FastMCP has made one of the above of what the tool raised. This comes from elsewhere, such as an extension.
        logger.exception("the call of `%s` failed", permit.question.tool)
        raise UnreadableError("the call failed") from error


def _fastmcp(context: MiddlewareContext[Any]) -> FastMCP[Any]:
    if context.fastmcp_context is None:
        raise UnreadableError("the call belongs to no server")
    return context.fastmcp_context.fastmcp


def _wire_result(result: ToolResult) -> mt.CallToolResult:
    wire = result.to_mcp_result()
    if isinstance(wire, mt.CallToolResult):
        return wire
    content, structured = wire if isinstance(wire, tuple) else (wire, None)
    return mt.CallToolResult(content=content, structured_content=structured)


def _tool_result(final: mt.CallToolResult | mt.InputRequiredResult) -> ToolResult:
    if isinstance(final, mt.InputRequiredResult):
        return InputRequiredToolResult(final)
    return ToolResult.from_mcp_result(final)


def _dumped(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
