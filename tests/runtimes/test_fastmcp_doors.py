"""Ways into a guarded FastMCP server beside a plain call of its own tool, and ways out beside a plain result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import mcp_types as mt
import pytest
from fastmcp import Client as Agent
from fastmcp import FastMCP
from fastmcp.server import create_proxy
from fastmcp.server.extensions import ServerExtension
from fastmcp.server.transforms.search import RegexSearchTransform
from fastmcp.tools import Tool
from fastmcp.tools.base import ToolResult
from fastmcp.tools.tool_transform import ArgTransform
from mcp import MCPError
from mcp_types.jsonrpc import MISSING_REQUIRED_CLIENT_CAPABILITY
from pdp_client import Client, entity
from pdp_client.integrations import fastmcp as guarded
from pdp_client.integrations.fastmcp import PdpMiddleware
from pydantic import BaseModel

from tests.bundles import Files
from tests.runtimes.conftest import POLICIES, SECRET, with_redaction

CODER = entity("Agent", "coder")
#: The policies are written for names without a namespace.
NAMESPACED = POLICIES + 'forbid (principal, action == Action::"notes/sub_erase", resource);'

Connect = Callable[..., Client]


class Notes:
    """An unguarded server with two tools, and the calls that reached them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.answer: Callable[[], Any] = lambda: f"it is {SECRET}"
        self.server: FastMCP[Any] = FastMCP("notes")

        @self.server.tool(output_schema=None)
        def read(path: str) -> Any:
            """Reads a note."""
            self.calls.append(("read", path))
            return self.answer()

        @self.server.tool
        def erase(path: str) -> None:
            """Erases a note."""
            self.calls.append(("erase", path))


def pinned(*servers: FastMCP[Any]) -> Files:
    """A bundle that pins what these servers list now, and redacts results."""
    tools = [tool for server in servers for tool in asyncio.run(guarded.manifest(server))["tools"]]
    return with_redaction({"policies/a.cedar": POLICIES, "tools/notes.json": json.dumps({"tools": tools})})


def guard(server: FastMCP[Any], client: Client) -> FastMCP[Any]:
    """The server with the middleware."""
    server.add_middleware(PdpMiddleware(client, server="notes", subject=CODER))
    return server


def result_of(server: FastMCP[Any], name: str, arguments: dict[str, Any]) -> mt.CallToolResult:
    """What an agent gets for this call."""

    async def session() -> Any:
        async with Agent(server) as agent:
            return await agent.call_tool_mcp(name, arguments)

    result: mt.CallToolResult = asyncio.run(session())
    return result


def call(server: FastMCP[Any], name: str, /, **arguments: Any) -> tuple[bool, str]:
    """Whether it is an error, and the text."""
    result = result_of(server, name, arguments)
    assert SECRET not in result.model_dump_json()
    [block] = result.content
    assert isinstance(block, mt.TextContent)
    return result.is_error, block.text


def _mounted(notes: Notes) -> FastMCP[Any]:
    parent: FastMCP[Any] = FastMCP("parent")
    parent.mount(notes.server, namespace="sub")
    return parent


def _proxied(notes: Notes) -> FastMCP[Any]:
    proxy: FastMCP[Any] = FastMCP("parent")
    proxy.mount(create_proxy(notes.server), namespace="sub")
    return proxy


@pytest.mark.parametrize("around", [_mounted, _proxied], ids=["mounted", "proxied"])
def test_tools_of_other_servers_are_guarded(around: Callable[[Notes], FastMCP[Any]], connect: Connect) -> None:
    """A mounted or proxied server's tools are decided about by the name that clients call, and redacted."""
    notes = Notes()
    server = around(notes)
    files = {**pinned(server), "policies/a.cedar": NAMESPACED}
    guard(server, connect(files))
    assert call(server, "sub_read", path="a") == (False, "it is [redacted:github-token]")
    assert call(server, "sub_read", path="../a") == (True, "FORBIDDEN: paths with `..` are not allowed")
    assert call(server, "sub_erase", path="a")[1].startswith("FORBIDDEN: ")
    assert notes.calls == [("read", "a")]


def test_a_guarded_server_stays_guarded_where_it_is_mounted(connect: Connect) -> None:
    """The middleware of a mounted server is asked by the server's own names, whoever mounts it."""
    notes = Notes()
    guard(notes.server, connect(pinned(notes.server)))
    parent = _mounted(notes)
    assert call(parent, "sub_read", path="a") == (False, "it is [redacted:github-token]")
    assert call(parent, "sub_erase", path="a")[1].startswith("FORBIDDEN: ")
    assert notes.calls == [("read", "a")]


def test_a_transformed_tool_is_a_tool_of_its_own(connect: Connect) -> None:
    """A tool made of another one is decided about with the arguments that the agent gave."""
    notes = Notes()
    read = asyncio.run(notes.server.get_tool("read"))
    assert read is not None
    notes.server.add_tool(Tool.from_tool(read, name="peek", transform_args={"path": ArgTransform(name="note")}))
    only = 'forbid (principal, action == Action::"notes/peek", resource) unless { context.input.note == "a" };'
    server = guard(notes.server, connect({**pinned(notes.server), "policies/b.cedar": only}))
    assert call(server, "peek", note="b")[1].startswith("FORBIDDEN: ")
    assert call(server, "peek", note="a") == (False, "it is [redacted:github-token]")
    assert notes.calls == [("read", "a")]


def test_a_tool_that_calls_tools_by_name_is_decided_about_each_time(connect: Connect) -> None:
    """FastMCP's tool that calls what was searched for reaches only what the subject may call."""
    notes = Notes()
    files = pinned(notes.server)
    notes.server.add_transform(RegexSearchTransform())
    every = json.loads(str(files["tools/notes.json"]))["tools"] + _listed(notes.server)
    server = guard(notes.server, connect({**files, "tools/notes.json": json.dumps({"tools": every})}))
    assert call(server, "call_tool", name="read", arguments={"path": "a"}) == (False, "it is [redacted:github-token]")
    assert call(server, "call_tool", name="read", arguments={"path": "../a"})[1].startswith("FORBIDDEN: ")
    assert call(server, "call_tool", name="erase", arguments={"path": "a"})[0]
    assert notes.calls == [("read", "a")]


def _listed(server: FastMCP[Any]) -> list[Any]:
    return list(asyncio.run(guarded.manifest(server))["tools"])


def test_an_error_of_the_protocol_is_looked_at(connect: Connect) -> None:
    """A tool that raises an error of the protocol gives a tool error, redacted, and without the error's data."""
    notes = Notes()
    server = guard(notes.server, connect(pinned(notes.server)))

    def refuse() -> Any:
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, f"not with {SECRET}", data={"token": SECRET})

    notes.answer = refuse
    assert call(server, "read", path="a") == (True, "not with [redacted:github-token]")


def test_a_resource_in_a_result_is_looked_at(connect: Connect) -> None:
    """What a result embeds or links to is redacted like text."""
    notes = Notes()
    server = guard(notes.server, connect(pinned(notes.server)))
    contents = mt.TextResourceContents(uri="note://a", text=SECRET)
    link = mt.ResourceLink(type="resource_link", uri="note://b", name="b", description=SECRET)
    notes.answer = lambda: ToolResult(content=[mt.EmbeddedResource(type="resource", resource=contents), link])
    result = result_of(server, "read", {"path": "a"})
    assert [block.type for block in result.content] == ["resource", "resource_link"]
    assert SECRET not in result.model_dump_json()
    assert result.model_dump_json().count("[redacted:github-token]") == 2


class Receipt(BaseModel):
    """What an extension may answer in place of a result."""

    task: str


class Tasks(ServerExtension):
    """An extension that answers calls by itself; registered as what runs tools in the background."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer

    async def intercept_tool_call(self, params: Any, context: Any, call_next: Any) -> Any:
        """Answer without the tool."""
        return self.answer()


def test_a_tool_that_may_run_in_the_background_is_refused(connect: Connect) -> None:
    """A call whose result could be fetched past the middleware is not made."""
    notes = Notes()
    submitted: list[str] = []

    def submit() -> Receipt:
        submitted.append("task")
        return Receipt(task="1")

    @notes.server.tool(task=True)
    async def slow(path: str) -> str:
        """Takes its time."""
        return path

    notes.server.add_extension(Tasks(submit))
    server = guard(notes.server, connect(pinned(notes.server)))
    assert call(server, "slow", path="a") == (True, "a tool that may run in the background cannot be called")
    assert submitted == []


def test_what_an_extension_answers_is_no_result(connect: Connect) -> None:
    """An answer that is no tool result, or an exception that is none of FastMCP's, is a fixed text."""
    notes = Notes()
    extension = Tasks(lambda: Receipt(task=SECRET))
    notes.server.add_extension(extension)
    server = guard(notes.server, connect(pinned(notes.server)))
    assert call(server, "read", path="a") == (True, "the tool's result is none that can be looked at")
    extension.answer = lambda: int(SECRET)
    assert call(server, "read", path="a") == (True, "the call failed")
    assert notes.calls == []
