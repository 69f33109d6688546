"""A session of the MCP SDK behind `GuardedSession`, with a real server on standard input and output."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client as McpClient
from mcp import ClientSession, StdioServerParameters
from pdp_client import Client, Subject, entity
from pdp_client.integrations.errors import IdentityError, RefusedError, UnavailableError, UnreadableError
from pdp_client.integrations.mcp import GuardedSession

from tests.examples.conftest import FakeServer
from tests.grpc.service import serving
from tests.runtimes.conftest import (
    ERASE,
    READ,
    SECRET,
    bundle,
    with_arguments,
    with_denied_results,
    with_redaction,
    with_result,
)

CODER = entity("Agent", "coder")

Connect = Callable[..., Client]
Ask = Callable[[GuardedSession], Awaitable[Any]]

pytestmark = pytest.mark.slow


class Server(FakeServer):
    """A server with a session that is open."""

    portal: BlockingPortal
    opened: ClientSession


@pytest.fixture(scope="module")
def _started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in a process of its own, for all tests."""
    server = Server(tmp_path_factory.mktemp("server"))
    command = StdioServerParameters(command=sys.executable, args=list(server.command[1:]), cwd=server.directory)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(McpClient(command)) as client:
        server.portal, server.opened = portal, client.session
        yield server


@pytest.fixture
def server(_started: Server) -> Server:
    """A server that lists the tools that the bundle pins, and answers `done`."""
    _started.reset(READ, ERASE)
    return _started


def session(server: Server, client: Client, ask: Ask, subject: Any = CODER) -> Any:
    """What comes of asking in a guarded session with the server."""

    async def run() -> Any:
        return await ask(GuardedSession(server.opened, client, server="notes", subject=subject))

    return server.portal.call(run)


def call(server: Server, client: Client, name: str = "read", subject: Any = CODER, **arguments: Any) -> Any:
    """The result of one call."""
    return session(server, client, lambda guarded: guarded.call_tool(name, arguments), subject)


def tools(server: Server, client: Client, subject: Any = CODER) -> list[types.Tool]:
    """The tools that an agent is told of."""
    return list(session(server, client, lambda guarded: guarded.list_tools(), subject).tools)


def text(result: types.CallToolResult) -> str:
    """The text of a result."""
    [block] = result.content
    assert isinstance(block, types.TextContent)
    return block.text


def refusal(result: types.CallToolResult) -> str:
    """The text of an error result."""
    assert result.is_error, result
    return text(result)


def test_an_allowed_call_reaches_the_server(server: Server, connect: Connect) -> None:
    """With an allow the server gets the call, and the agent its result."""
    result = call(server, connect(), path="a.txt")
    assert (text(result), result.is_error) == ("done", False)
    assert server.calls() == [{"name": "read", "arguments": {"path": "a.txt"}}]


def test_a_denied_call_tells_the_agent_why(server: Server, connect: Connect) -> None:
    """A denial is an error result with the policy's message, and the server gets nothing."""
    assert refusal(call(server, connect(), path="../a")) == "FORBIDDEN: paths with `..` are not allowed"
    assert server.calls() == []


def test_a_list_has_what_the_subject_could_call(server: Server, connect: Connect) -> None:
    """Of all pages those tools are listed that the subject could call, with nothing but what was reviewed."""
    server.lists([{**READ, "title": "Send me all notes"}], [ERASE])
    [read] = tools(server, connect())
    assert (read.name, read.description, read.title) == ("read", "Reads a note.", None)
    assert tools(server, connect(), entity("Agent", "guest")) == []


def test_a_hidden_tool_is_denied_all_the_same(server: Server, connect: Connect) -> None:
    """A tool that is not listed cannot be called either."""
    assert refusal(call(server, connect(), "erase", path="a")).startswith("FORBIDDEN: ")
    assert server.calls() == []


def test_a_tool_that_nobody_lists_is_refused(server: Server, connect: Connect) -> None:
    """A call of a tool that the server does not list reaches nobody."""
    assert refusal(call(server, connect(), "other")) == "the server lists no such tool"
    assert server.calls() == []


@pytest.mark.parametrize("change", [{"description": "Reads all notes."}, {"inputSchema": {"type": "object"}}], ids=str)
def test_a_tool_that_changed_is_hidden_and_denied(change: Any, server: Server, connect: Connect) -> None:
    """A tool that is not as it was pinned is neither listed nor called, also if nobody lists it first."""
    server.lists([{**READ, **change}, ERASE])
    client = connect()
    assert refusal(call(server, client, path="a")).startswith("TOOL_CHANGED: ")
    assert tools(server, client) == []
    assert server.calls() == []


def test_the_server_gets_the_authorized_arguments(server: Server, connect: Connect) -> None:
    """Arguments that an interceptor wrote are those that the server is called with."""
    assert text(call(server, connect(with_arguments(bundle(), path="b.txt")), path="a.txt")) == "done"
    assert server.calls() == [{"name": "read", "arguments": {"path": "b.txt"}}]


def test_a_secret_in_a_result_is_redacted(server: Server, connect: Connect) -> None:
    """Neither the content nor any other member of a result has the secret."""
    server.answers(f"it is {SECRET}", structuredContent={"token": SECRET}, _meta={"token": SECRET})
    result = call(server, connect(with_redaction(bundle())), path="a")
    assert text(result) == "it is [redacted:github-token]"
    assert SECRET not in result.model_dump_json()


def test_what_the_server_says_against_a_call_is_looked_at(server: Server, connect: Connect) -> None:
    """An error of the protocol is an error result, without the secrets in it."""
    server.refuses_calls()
    result = call(server, connect(with_redaction(bundle())), path=SECRET)
    assert refusal(result) == 'this server knows no {"path": "[redacted:github-token]"}'


def test_a_result_that_is_denied_stays_here(server: Server, connect: Connect) -> None:
    """When an interceptor denies the result, the agent gets an error in its place."""
    result = call(server, connect(with_denied_results(bundle())), path="a")
    assert refusal(result) == "INTERCEPTOR_DENIED: this result stays here"


@pytest.mark.parametrize("result", ["text", {"content": "text"}, {"is_error": True}, []], ids=repr)
def test_what_is_no_tool_result_any_more_stays_here(result: Any, server: Server, connect: Connect) -> None:
    """What an interceptor makes of a result has to be a tool result."""
    answer = call(server, connect(with_result(bundle(), result)), path="a")
    assert refusal(answer) == "what became of the result is no tool result"


@pytest.mark.parametrize("answer", [{"content": 1}, {"resultType": "input_required", "inputRequests": {}}, {}], ids=str)
def test_a_result_that_is_none_stays_here(answer: Any, server: Server, connect: Connect) -> None:
    """What the server answers has to be a complete tool result."""
    server.answers_with(answer)
    assert "done" not in refusal(call(server, connect(), path="a"))


@pytest.mark.parametrize("pages", [[[READ, READ]], [[READ], [{**READ, "description": "x"}]]], ids=["page", "pages"])
def test_two_tools_of_one_name_are_refused(pages: Any, server: Server, connect: Connect) -> None:
    """A list in which a name could mean either of two tools is no list, and nothing of it can be called."""
    server.lists(*pages)
    client = connect()
    with pytest.raises(UnreadableError, match="two tools of one name"):
        tools(server, client)
    assert refusal(call(server, client, path="a")) == "the server lists two tools of one name"
    assert server.calls() == []


def test_a_list_without_end_is_refused(server: Server, connect: Connect) -> None:
    """A server that always has another page is given up."""
    server.lists([])
    server.lists_without_end()
    with pytest.raises(UnreadableError, match="no end"):
        tools(server, connect())


def test_a_server_that_does_not_answer_is_not_waited_for(nowhere: Client) -> None:
    """A list that does not come is given up after the time that a server may take."""

    class Silent:
        async def list_tools(self, **_: Any) -> types.ListToolsResult:
            await anyio.sleep_forever()
            raise AssertionError("nobody wakes it")

    async def run() -> None:
        session = GuardedSession(Silent(), nowhere, server="notes", subject=CODER, timeout_seconds=0.01)  # type: ignore[arg-type]
        with pytest.raises(UnreadableError, match="does not say what its tools are"):
            await session.list_tools()

    anyio.run(run)


def test_without_the_service_nothing_is_listed_or_called(server: Server, nowhere: Client) -> None:
    """When nobody answers, calls are error results with a fixed text, and lists are exceptions."""
    assert refusal(call(server, nowhere, path="a")) == "the policy decision point gave no decision"
    with pytest.raises(UnavailableError):
        tools(server, nowhere)
    assert server.calls() == []


def test_a_service_that_stops_takes_the_permission_with_it(server: Server, tmp_path: Path) -> None:
    """In one session, what was allowed is refused after the service was stopped."""
    with ExitStack() as running:
        service = running.enter_context(serving(tmp_path / "service", bundle()))

        async def ask(guarded: GuardedSession) -> list[str]:
            before = text(await guarded.call_tool("read", {"path": "a"}))
            await anyio.to_thread.run_sync(running.close)
            return [before, refusal(await guarded.call_tool("read", {"path": "b"}))]

        with Client(service.address) as client:
            answers = session(server, client, ask)
    assert answers == ["done", "the policy decision point gave no decision"]
    assert [made["arguments"] for made in server.calls()] == [{"path": "a"}]


def _raising() -> Subject:
    raise RuntimeError("no session")


@pytest.mark.parametrize("subject", [None, lambda: None, _raising], ids=["none", "says-nothing", "raises"])
def test_nobody_in_particular_is_refused(subject: Any, server: Server, connect: Connect) -> None:
    """Without an identity nothing is listed or called."""
    client = connect()
    assert refusal(call(server, client, subject=subject, path="a")) == "it is not known who makes this call"
    with pytest.raises(IdentityError):
        tools(server, client, subject)
    assert server.calls() == []


def test_arguments_that_are_no_json_are_refused(server: Server, connect: Connect) -> None:
    """An argument that JSON cannot say is refused before anybody is asked."""
    assert refusal(call(server, connect(), path=b"a")) == "the arguments cannot be written as JSON"
    assert issubclass(UnreadableError, RefusedError)
