"""A real Envoy with the example's configuration between a real MCP client and a real MCP server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.examples.sessions import Session, refusal, text
from tests.gateways.envoy import configured, running_envoy
from tests.gateways.mcp_server import ObedientServer, serving_mcp
from tests.gateways.worlds import BUNDLE, ENVOY, TOOLS, session
from tests.grpc.service import serving

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.usefixtures("real_envoy")]


@dataclass
class World:
    """Envoy's address, and the server behind it."""

    address: str
    server: ObedientServer


@pytest.fixture(scope="module", params=[True, False], ids=["json", "events"])
def world(
    real_envoy: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("envoy")
    with (
        serving_mcp(ObedientServer(TOOLS), json_response=request.param) as server,
        serving(directory, BUNDLE, envoy=ENVOY) as service,
    ):
        pdp_port = int(service.address.rpartition(":")[2])
        with running_envoy(directory, configured(server.port, pdp_port)) as address:
            yield World(address, server)


@pytest.fixture(scope="module", params=["legacy", "auto"])
def agent(world: World, request: pytest.FixtureRequest) -> Iterator[Session]:
    with session(world.address, mode=request.param) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _as_new(world: World) -> None:
    world.server.calls.clear()
    world.server.text = "done"
    world.server.fails = False


def test_an_allowed_call_passes(agent: Session, world: World) -> None:
    """A call that is allowed reaches the server as it was made, and its result the agent."""
    assert text(agent.call("read", n=9_007_199_254_740_993)) == "done"
    assert world.server.calls == [("read", {"n": 9_007_199_254_740_993})]


def test_a_denied_call_is_a_tool_error_with_the_reason(agent: Session, world: World) -> None:
    """A call that is denied does not reach the server, and its agent can read why."""
    assert refusal(agent.call("write", n=11)) == "FORBIDDEN: small numbers only"
    assert world.server.calls == []


def test_arguments_are_transformed(agent: Session, world: World) -> None:
    """The server gets the arguments as an interceptor left them."""
    assert text(agent.call("shift", n=1)) == "done"
    assert world.server.calls == [("shift", {"n": 7})]


def test_a_result_is_redacted(agent: Session, world: World) -> None:
    """The agent gets a result as an interceptor left it, and nothing of what the server said."""
    world.server.text = "the password is mellon"
    assert text(agent.call("secret")) == "[redacted]"


def test_an_error_of_the_server_is_redacted(agent: Session, world: World) -> None:
    """What a server says in an error of the protocol passes the interceptors like a result."""
    world.server.text, world.server.fails = "the password is mellon", True
    assert text(agent.call("secret")) == "[redacted]"


def test_the_list_is_filtered(agent: Session) -> None:
    """The agent sees the tools that it could call, and no other."""
    assert agent.tools() == ["read", "write", "shift", "secret"]
