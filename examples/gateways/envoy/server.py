"""mcp-server-git, which speaks over standard input and output, as an MCP server over HTTP.

    python server.py PORT

It works in the current directory, and passes on what it is told.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp import Client, StdioServerParameters, types
from mcp.server import Server

_SERVER = Path(sys.executable).with_name("mcp-server-git")


async def run(port: int) -> None:
    """Serve until interrupted."""
    async with Client(StdioServerParameters(command=str(_SERVER))) as git:

        async def list_tools(_context: object, _params: object) -> types.ListToolsResult:
            return await git.list_tools()

        async def call_tool(_context: object, params: types.CallToolRequestParams) -> types.CallToolResult:
            return await git.call_tool(params.name, params.arguments or {})

        front: Server[Any] = Server("git", on_list_tools=list_tools, on_call_tool=call_tool)
        settings = uvicorn.Config(front.streamable_http_app(), port=port, log_level="warning", ws="none")
        await uvicorn.Server(settings).serve()


if __name__ == "__main__":
    anyio.run(run, int(sys.argv[1]))
