"""Gateways as callers: one that may not ask is told so in its own protocol, and nothing passes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2
from tests.gateways.envoy import EXT_AUTHZ, EXT_PROC, shown
from tests.gateways.raw import call, message, result, send
from tests.gateways.worlds import BUNDLE, TOOLS, World, opened, put_before
from tests.grpc.service import TIMEOUT_SECONDS, Service, serving

KEY, ELSEWHERE = secrets.token_urlsafe(32), secrets.token_urlsafe(32)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


CALLERS: dict[str, Any] = {
    "caller": [
        {"name": "front", "keys_sha256": [digest(KEY)]},
        {"name": "elsewhere", "keys_sha256": [digest(ELSEWHERE)], "servers": ["other"]},
    ]
}

#: The key that a gateway has; None for none.
WRONG = {"no key": None, "another key": secrets.token_urlsafe(32), "a key for another server": ELSEWHERE}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    section = {"enabled": True, "subject_from": "metadata:sub"}
    with serving(tmp_path_factory.mktemp("service"), BUNDLE, callers=CALLERS, agentgateway=section) as running:
        yield running


def asked(service: Service, key: str | None) -> list[str | None]:
    """What agentgateway is answered to a call, to its result and to a list."""
    who: dict[str, Any] = {"sub": "coder", "pdp": {"server": "srv", "tool": "read"}}
    request = ext_mcp_pb2.McpRequest(service_names=["srv"], method="tools/call", mcp_request=b'{"name":"read"}')
    done = ext_mcp_pb2.McpResponse(service_names=["srv"], method="tools/call", mcp_response=b'{"content":[]}')
    listed = ext_mcp_pb2.McpResponse(service_names=["srv"], method="tools/list", mcp_response=b'{"tools":[]}')
    answers = []
    for name, message_ in (("CheckRequest", request), ("CheckResponse", done), ("CheckResponse", listed)):
        message_.metadata_context.update(who)
        kind = ext_mcp_pb2.McpRequestResult if name == "CheckRequest" else ext_mcp_pb2.McpResponseResult
        path = f"/agentgateway.dev.ext_mcp.ExtMcp/{name}"
        method: grpc.UnaryUnaryMultiCallable[Any, Any] = service.channel.unary_unary(
            path, type(message_).SerializeToString, kind.FromString
        )
        metadata = (("authorization", f"Bearer {key}"),) if key is not None else None
        answers.append(method(message_, timeout=TIMEOUT_SECONDS, metadata=metadata).WhichOneof("result"))
    return answers


def test_agentgateway_may_ask(service: Service) -> None:
    """An agentgateway that is a caller gets decisions."""
    assert asked(service, KEY) == ["pass", "pass", "pass"]


@pytest.mark.parametrize("key", WRONG.values(), ids=WRONG)
def test_an_agentgateway_that_may_not_ask_gets_errors_of_its_protocol(service: Service, key: str | None) -> None:
    """Who is no caller gets no decision, and no error of the RPC, which could mean that everything may go on."""
    assert asked(service, key) == ["error", "error", "error"]


def fronted(directory: Path, example: Path, key: str | None) -> Any:
    """Envoy with this key, in front of a server that lists and answers anything."""
    block = shown("yaml caller").replace("KEY", key) if key is not None else "# no key\n"
    timeout = "0s" if example == EXT_PROC else "10s"
    change = put_before(f"                        timeout: {timeout}\n", block)
    return opened(directory, change, example=example, callers=CALLERS)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("real_envoy")
@pytest.mark.parametrize("example", [EXT_PROC, EXT_AUTHZ], ids=["ext_proc", "ext_authz"])
@pytest.mark.parametrize("key", [KEY, *WRONG.values()], ids=["the key", *WRONG])
def test_only_an_envoy_that_may_ask_gets_decisions(tmp_path: Path, example: Path, key: str | None) -> None:
    """An Envoy with the key of a caller gets decisions, and any other makes no call and lists no tool."""
    with fronted(tmp_path, example, key) as world:
        assert (send(world.address, call()).body == result()) == (key == KEY)
        if key != KEY:
            assert_nothing_passes(world, example)


def assert_nothing_passes(world: World, example: Path) -> None:
    """A call is refused like any other, and a list shows nothing where the service sees it."""
    refused = send(world.address, call())
    assert (refused.status, bool(refused.error)) == (200, True)
    assert world.upstream.bodies == []
    if example == EXT_PROC:
        world.upstream.answers(
            b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"%s"}]}}' % TOOLS[0]["name"].encode()
        )
        assert b"read" not in send(world.address, message("tools/list")).body
