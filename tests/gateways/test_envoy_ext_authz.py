"""A real Envoy that asks with ext_authz, in front of a server that says what came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.sessions import refusal, text
from tests.gateways.envoy import EXT_AUTHZ, configured, running_envoy
from tests.gateways.mcp_server import ObedientServer, serving_mcp
from tests.gateways.raw import call, message, note, result, send, serving_upstream
from tests.gateways.worlds import BUNDLE, ENVOY, TOOLS, World, killable, opened, session
from tests.grpc.service import serving

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.usefixtures("real_envoy")]

OK = 200

#: How Envoy may be configured to show a request.
WAYS = {
    "bytes": (),
    "text": (("pack_as_bytes: true", "pack_as_bytes: false"),),
    "a map of headers": (("encode_raw_headers: true", "encode_raw_headers: false"),),
}


@pytest.fixture(scope="module", params=list(WAYS.values()), ids=list(WAYS))
def shared(
    real_envoy: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("envoy"), *request.param, example=EXT_AUTHZ) as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    shared.upstream.reset()
    return shared


def test_an_allowed_call_passes(world: World) -> None:
    """A call that is allowed reaches the server byte for byte."""
    assert send(world.address, call(n=1)).body == result()
    assert world.upstream.bodies == [call(n=1)]


def test_a_denied_call_is_a_tool_error_with_the_reason(world: World) -> None:
    """A call that is denied does not reach the server, and its agent can read why."""
    answer = send(world.address, call("write", n=11))
    assert (answer.status, answer.error) == (OK, "FORBIDDEN: small numbers only")
    assert world.upstream.bodies == []


def test_a_call_that_would_have_to_be_changed_is_denied(world: World) -> None:
    """ext_authz cannot change arguments, so what an interceptor changes is not passed on as it was."""
    assert "would have to be changed" in send(world.address, call("shift", n=1)).error
    assert world.upstream.bodies == []


SETTING_UP = [*map(message, ("initialize", "ping", "tools/list")), note("notifications/initialized")]


@pytest.mark.parametrize("body", SETTING_UP, ids=["initialize", "ping", "tools/list", "initialized"])
def test_what_asks_for_no_tool_passes(world: World, body: bytes) -> None:
    """What sets up a session and asks for a list passes."""
    assert send(world.address, body).status == OK
    assert world.upstream.bodies == [body]


REFUSED = {
    "an unknown method": (message("resources/read"), {}, OK),
    "a batch": (b"[%s]" % call(), {}, 400),
    "no message": (b"", {}, 400),
    "nobody": (call(), {"x_agent": None}, OK),
    "another content type": (call(), {"content_type": "text/plain"}, 415),
    "another encoding": (call(), {"content_type": "application/json; charset=utf-7"}, 415),
    "a compressed body": (call(), {"content_encoding": "gzip"}, 415),
    "a byte that is no text": (call(x="?").replace(b"?", b"\xff"), {}, 400),
    "an answer that nobody asked for": (b'{"jsonrpc":"2.0","id":1,"result":{"data":"x"}}', {}, 403),
}


@pytest.mark.parametrize(("body", "headers", "status"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_decided_is_refused(world: World, body: bytes, headers: dict[str, Any], status: int) -> None:
    """What is no message that can be decided about ends in a refusal, before the server."""
    answer = send(world.address, body, **headers)
    assert (answer.status, bool(answer.error)) == (status, True)
    assert world.upstream.bodies == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "OPTIONS", "TRACE"])
def test_other_ways_in_are_closed(world: World, method: str) -> None:
    """Only POST carries messages, and DELETE ends a session."""
    assert send(world.address, None, method).status == 405
    assert world.upstream.requests == []


def test_a_truncated_body_is_denied(tmp_path: Path) -> None:
    """Where Envoy shows only the first bytes of a message, it is denied, even if these read as a message."""
    part = ("max_request_bytes: 1114112", f"max_request_bytes: {len(call())}")
    partial = ("allow_partial_message: false", "allow_partial_message: true")
    with opened(tmp_path, part, partial, example=EXT_AUTHZ) as world:
        answer = send(world.address, call() + b" " * 100)
        assert (answer.status, answer.error) == (400, "the message did not come as a whole")
        assert world.upstream.bodies == []


@pytest.mark.parametrize("json_response", [True, False], ids=["json", "events"])
def test_a_real_client_gets_as_far_as_it_goes(tmp_path: Path, json_response: bool) -> None:
    """A real MCP client makes the calls that are allowed and reads why others are not; nothing of an answer changes."""
    with (
        serving_mcp(ObedientServer(TOOLS, "the password is mellon"), json_response=json_response) as server,
        serving(tmp_path, BUNDLE, envoy=ENVOY) as service,
    ):
        configuration = configured(server.port, int(service.address.rpartition(":")[2]), example=EXT_AUTHZ)
        with running_envoy(tmp_path, configuration) as address, session(address) as agent:
            assert text(agent.call("read", n=1)) == "the password is mellon"
            assert refusal(agent.call("write", n=11)) == "FORBIDDEN: small numbers only"
            assert "would have to be changed" in refusal(agent.call("shift", n=1))
            assert agent.tools() == [tool["name"] for tool in TOOLS]
        assert server.calls == [("read", {"n": 1})]


def test_without_the_service_everything_is_denied(tmp_path: Path) -> None:
    """Once the service is killed, what it allowed before does not reach the server."""
    with serving_upstream() as upstream, killable(tmp_path) as (process, pdp):
        configuration = configured(upstream.port, int(pdp.rpartition(":")[2]), example=EXT_AUTHZ)
        with running_envoy(tmp_path, configuration) as address:
            assert send(address, call()).body == result()
            process.kill()
            process.wait()
            upstream.reset()
            answers = [send(address, body) for body in (call(), message("initialize"))]
            assert {answer.status for answer in answers} == {403}, answers
            assert upstream.bodies == []
