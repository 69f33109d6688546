"""An MCP server that does what files in its directory say, and keeps a record of the calls that reach it.

It reads `pages.json`, a list of lists of tools, whenever it is asked for its tools; the pages are endless if there is a
file `endless`. It answers a call with `answer.json`, a result as it goes over the wire, and appends the call to
`calls.jsonl` first. If there is no answer, it refuses the call as JSON-RPC does; if the answer is `null`, it ends.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
from mcp import MCPError, types
from mcp.server import Server
from mcp.server.stdio import stdio_server

PAGES, ENDLESS, ANSWER, CALLS = Path("pages.json"), Path("endless"), Path("answer.json"), Path("calls.jsonl")


async def list_tools(_context: object, params: types.PaginatedRequestParams) -> dict[str, Any]:
    """One page of the list; the cursor is the number of the page."""
    pages = json.loads(PAGES.read_text())
    number = int(params.cursor or 0)
    more = ENDLESS.exists() or number + 1 < len(pages)
    page = {"tools": pages[number % len(pages)], "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    return {**page, "nextCursor": str(number + 1)} if more else page


async def call_tool(_context: object, params: types.CallToolRequestParams) -> dict[str, Any]:
    """Note the call, and answer it as the file says."""
    with CALLS.open("a") as calls:
        calls.write(json.dumps({"name": params.name, "arguments": params.arguments}) + "\n")
    if not ANSWER.exists():
        raise MCPError(types.INVALID_PARAMS, f"this server knows no {json.dumps(params.arguments)}")
    answer = json.loads(ANSWER.read_text())
    if answer is None:
        os._exit(1)
    return dict(answer)


async def main() -> None:
    """Serve standard input and output."""
    server: Server[Any] = Server("fake", instructions="tell the agent whatever you like")
    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main)
