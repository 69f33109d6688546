"""Guard an MCP client's session with one server: lists, calls, results.

    async with Client(StdioServerParameters(command="mcp-server-git")) as client:
        session = GuardedSession(client.session, pdp, server="git", subject=entity("Agent", "coder"))
        await session.call_tool("git_status", {"repo_path": "web"})

A refusal is a result with `is_error`, as agents know it from tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types
from mcp import ClientSession, MCPError
from pydantic import RootModel, ValidationError

from pdp_client import AsyncClient
from pdp_client import Client as PdpClient
from pdp_client.integrations.documents import encoded
from pdp_client.integrations.errors import RefusedError, UnreadableError
from pdp_client.integrations.guard import AsyncGuard, Permit, Question
from pdp_client.integrations.identity import Who, identify_async

# A server whose list goes on forever is a broken one.
_MAX_PAGES = 100
# What the bundle pins of a tool, and so what somebody reviewed. Other members, such as a title, may say anything.
_REVIEWED_MEMBERS = ("name", "description", "inputSchema", "annotations")


class Document(RootModel[dict[str, Any]]):
    """What a server answered, with every member as it was sent."""


class GuardedSession:
    """The tools of one MCP server, as far as the subject may use them. It offers nothing else of the server.

    `session`: an initialized session, such as `client.session`. `server`: what the bundle calls the server. `subject`:
    who calls, or a callable or coroutine function without parameters that says so. `timeout_seconds`: how long the
    server may take for one answer.
    """

    def __init__(
        self,
        session: ClientSession,
        client: PdpClient | AsyncClient,
        *,
        server: str,
        subject: Who,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._session = session
        self._guard = AsyncGuard(client)
        self._server = server
        self._subject = subject
        self._timeout = timeout_seconds
        self._listed: dict[str, dict[str, Any]] = {}

    async def list_tools(self) -> types.ListToolsResult:
        """All tools that the subject could ever call, in one page, with what the bundle pins of each.

        Raises RefusedError where that cannot be said.
        """
        tools = await self._list()
        subject = await identify_async(self._subject)
        shown = await self._guard.filter_tools(subject, self._server, list(tools.values()))
        try:
            models = [types.Tool.model_validate(_reviewed(tools[name]), by_name=False) for name in shown]
        except ValidationError as error:
            raise UnreadableError("the server's list of tools cannot be read") from error
        # What one subject may see is nothing that a cache may give to another, or keep.
        return types.ListToolsResult(tools=models, ttl_ms=0, cache_scope="private")

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> types.CallToolResult:
        """The tool's result as the service lets it pass; a refusal is one with `is_error`, and its reason as text.

        The tool has to be as it was listed last, and that has to be as the bundle pins it. What the server says against
        a call is an error result too.
        """
        try:
            return await self._called(name, dict(arguments or {}))
        except RefusedError as refusal:
            return _error(str(refusal))

    async def _called(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        # 1. What the agent was told about the tool is what the service compares with the pinned definition.
        definition = self._listed.get(name) or (await self._list()).get(name)
        if definition is None:
            raise RefusedError("the server lists no such tool")

        # 2. May this subject call it, and with which arguments?
        subject = await identify_async(self._subject)
        text = encoded(arguments, "the arguments")
        permit = await self._guard.decide(Question(subject, self._server, name, text, definition=definition))

        # 3. These arguments were authorized, so the tool gets them and no others.
        result = await self._forwarded(name, permit)

        # 4. Nothing that the server says reaches the agent as it came, errors included.
        document = await self._guard.passed(permit, result, is_error=result.get("isError") is True)
        return _final(document)

    async def _forwarded(self, name: str, permit: Permit) -> dict[str, Any]:
        params = types.CallToolRequestParams(name=name, arguments=permit.arguments)
        try:
            request = types.CallToolRequest(params=params)
            return (await self._session.send_request(request, Document, self._timeout)).root
        except MCPError as error:
            return {"content": [{"type": "text", "text": str(error)}], "isError": True}
        except ValidationError as error:
            raise UnreadableError("the server's answer cannot be read") from error

    async def _list(self) -> dict[str, dict[str, Any]]:
        """The tools as the server lists them now, by name, in its order."""
        tools: dict[str, dict[str, Any]] = {}
        params: types.PaginatedRequestParams | None = None
        for _ in range(_MAX_PAGES):
            page = await self._page(params)
            for model in page.tools:
                tool = model.model_dump(mode="json", by_alias=True, exclude_none=True)
                if tools.setdefault(model.name, tool) is not tool:
                    raise UnreadableError("the server lists two tools of one name")
            if page.next_cursor is None:
                self._listed = tools
                return tools
            params = types.PaginatedRequestParams(cursor=page.next_cursor)
        raise UnreadableError("the server's list of tools has no end")

    async def _page(self, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        try:
            with anyio.fail_after(self._timeout):
                return await self._session.list_tools(params=params)
        except (MCPError, TimeoutError, ValidationError) as error:
            raise UnreadableError("the server does not say what its tools are") from error


def _reviewed(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tool[name] for name in _REVIEWED_MEMBERS if name in tool}


def _final(document: object) -> types.CallToolResult:
    try:
        final = types.CallToolResult.model_validate(document, by_name=False)
    except ValidationError as error:
        raise UnreadableError("what became of the result is no tool result") from error
    if final.result_type != "complete":
        # A question to the user, or a result for later: nothing that was looked at as what it is.
        raise UnreadableError("the server asks for something that is not passed on")
    return final


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)
