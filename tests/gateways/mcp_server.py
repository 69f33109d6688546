"""A real MCP server over streamable HTTP on a free port of loopback, in a thread: it obeys, and says what it got."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp import types
from mcp.server import Server
from mcp.shared.exceptions import MCPError

from tests.waiting import wait_until


@dataclass
class ObedientServer:
    """Lists these tools, answers calls with a text, and remembers their arguments."""

    tools: list[dict[str, Any]]
    text: str = "done"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fails: bool = False
    port: int = 0

    async def list_tools(self, _context: object, _params: object) -> types.ListToolsResult:
        """All of them."""
        return types.ListToolsResult(tools=[types.Tool.model_validate(tool, by_name=False) for tool in self.tools])

    async def call_tool(self, context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Remember the call, tell of progress, and answer."""
        self.calls.append((params.name, dict(params.arguments or {})))
        if self.fails:
            raise MCPError(types.INTERNAL_ERROR, self.text)
        if context.meta and context.meta.get("progress_token") is not None:
            await context.session.send_progress_notification(context.meta["progress_token"], 1.0)
        return types.CallToolResult(content=[types.TextContent(type="text", text=self.text)])


@contextmanager
def serving_mcp(server: ObedientServer, *, json_response: bool) -> Iterator[ObedientServer]:
    """The server, with JSON answers, or with streams of events."""
    front: Server[Any] = Server("srv", on_list_tools=server.list_tools, on_call_tool=server.call_tool)
    app = front.streamable_http_app(json_response=json_response)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server.port = listening.getsockname()[1]
        # Envoy hands on the name that the agent called it by, and it is none of the server's.
        running = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: running.started, "the MCP server")
            yield server
        finally:
            running.should_exit = running.force_exit = True
            thread.join(30)
