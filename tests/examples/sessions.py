"""An agent's MCP session at the example gateway, as a real client has it, for tests that are no coroutines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters, stdio_client, types
from pydantic import RootModel

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
GATEWAY = EXAMPLES / "gateway" / "gateway.py"
GIT_SERVER = str(Path(sys.executable).with_name("mcp-server-git"))

#: Ends what would never end.
_PATIENCE_SECONDS = 60.0


class Listing(RootModel[dict[str, Any]]):
    """A `tools/list` result with every member that was sent."""


class Session:
    """One MCP server, seen by a client."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self._client = client

    def listing(self) -> dict[str, Any]:
        """What the server answers to `tools/list`, as it came. Raises MCPError."""
        listing: Listing = self._portal.call(self._client.session.send_request, types.ListToolsRequest(), Listing)
        return listing.root

    def definitions(self) -> list[dict[str, Any]]:
        """The tools that the server lists, as they came. Raises MCPError."""
        return list(self.listing()["tools"])

    def tools(self) -> list[str]:
        """The names that the server lists."""
        return [tool["name"] for tool in self.definitions()]

    def call(self, name: str, **arguments: Any) -> types.CallToolResult:
        """The result of a tool call."""
        result: types.CallToolResult = self._portal.call(self._client.call_tool, name, arguments)
        return result

    def offered(self) -> set[str]:
        """What the server says it can do."""
        return set(self._client.server_capabilities.model_dump(exclude_none=True))

    def instructions(self) -> str | None:
        """What the server tells every agent."""
        return self._client.instructions


def text(result: types.CallToolResult) -> str:
    """What an agent reads of a result."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


def refusal(result: types.CallToolResult) -> str:
    """What an agent reads of a result that has to be an error."""
    assert result.is_error, result
    return text(result)


@contextmanager
def session(directory: Path, *command: str) -> Iterator[Session]:
    """A session with the MCP server that this command starts in `directory`; its stderr goes to a file there."""
    parameters = StdioServerParameters(command=command[0], args=list(command[1:]), cwd=directory)
    with (directory / "stderr.txt").open("a") as errors, start_blocking_portal() as portal:
        client = Client(stdio_client(parameters, errors), read_timeout_seconds=_PATIENCE_SECONDS)
        with portal.wrap_async_context_manager(client) as entered:
            yield Session(portal, entered)


@contextmanager
def at_gateway(
    directory: Path, address: str, server: str, agent: str, *command: str, seconds: float = 30
) -> Iterator[Session]:
    """A session at a gateway between this agent and the MCP server that the command starts, both in `directory`."""
    who = ("--server", server, "--subject", "Agent", agent)
    how = ("--pdp", address, "--timeout", str(seconds))
    with session(directory, sys.executable, str(GATEWAY), *how, *who, "--", *command) as opened:
        yield opened
