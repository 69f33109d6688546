"""What the tests of gateways decide with: a bundle with a tool for each thing that can happen to a call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from anyio.from_thread import start_blocking_portal
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.bundles import Files, manifest, tool, write_bundle
from tests.examples.sessions import Session
from tests.gateways.envoy import EXT_PROC, configured, running_envoy
from tests.gateways.raw import Upstream, serving_upstream
from tests.grpc.service import serving
from tests.modules import answering, binding

READ = tool("read", {"n": {"type": "integer"}}, description="reads")
WRITE = tool("write", {"n": {"type": "integer"}}, description="writes")
SHIFT = tool("shift", {"n": {"type": "integer"}}, description="its argument is always changed to 7")
SECRET = tool("secret", description="its result is always redacted")
HIDDEN = tool("hidden", description="nobody may call it")
TOOLS = [READ, WRITE, SHIFT, SECRET, HIDDEN]

_REDACTED = '{"verdict":"transform","result":{"content":[{"type":"text","text":"[redacted]"}]}}'

BUNDLE: Files = {
    "bundle.toml": 'name = "gateways"\n'
    + binding("shift", tools=["srv/shift"], may_transform=True, timeout_ms=10_000)
    + binding("redact", phases=("response",), tools=["srv/secret"], may_transform=True, timeout_ms=10_000),
    "interceptors/shift.wasm": answering('{"verdict":"transform","arguments":{"n":7}}'),
    "interceptors/redact.wasm": answering(None, _REDACTED),
    "policies/all.cedar": """
        permit (principal == Agent::"coder", action, resource);
        forbid (principal, action == Action::"srv/hidden", resource);
        @message("small numbers only")
        forbid (principal, action == Action::"srv/write", resource)
        when { context.input has n && context.input.n > 10 };
    """,
    "tools/srv.json": manifest(*TOOLS),
}

ENVOY: dict[str, Any] = {
    "ext_proc": True,
    "ext_authz": True,
    "server_from": "route:server",
    "subject_from": "header:x-agent",
}


@dataclass
class World:
    """Envoy's address, and the server behind it."""

    address: str
    upstream: Upstream


@contextmanager
def opened(
    directory: Path, *changes: tuple[str, str], example: Path = EXT_PROC, **sections: dict[str, Any]
) -> Iterator[World]:
    """Envoy with an example's configuration and these changes, the service, and a server."""
    with serving_upstream() as upstream, serving(directory, BUNDLE, **{"envoy": ENVOY, **sections}) as service:
        pdp_port = int(service.address.rpartition(":")[2])
        with running_envoy(directory, configured(upstream.port, pdp_port, *changes, example=example)) as address:
            yield World(address, upstream)


def put_before(line: str, block: str) -> tuple[str, str]:
    """A change of a configuration that puts a block in front of a line, as deep as it."""
    return line, textwrap.indent(block, " " * (len(line) - len(line.lstrip()))) + line


@contextmanager
def session(address: str, agent: str = "coder", mode: Any = "legacy") -> Iterator[Session]:
    """A real MCP client at an address."""
    with start_blocking_portal() as portal:
        http = httpx2.AsyncClient(headers={"x-agent": agent}, timeout=60)
        transport = streamable_http_client(f"http://{address}/mcp", http_client=http)
        client = Client(transport, mode=mode, read_timeout_seconds=60)
        with portal.wrap_async_context_manager(http), portal.wrap_async_context_manager(client) as entered:
            yield Session(portal, entered)


@contextmanager
def killable(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service as a process of its own, and its address; killed at the end."""
    bundle = write_bundle(directory / "bundle", BUNDLE)
    command = [str(Path(sys.executable).with_name("pdp")), "serve", "--bundle", str(bundle)]
    how = ["--listen", "127.0.0.1:0", "--decision-log", "none", "--log-format", "json"]
    keys = {f"PDP_ENVOY__{key.upper()}": str(value).lower() for key, value in ENVOY.items()}
    keys |= {"PDP_STATE_DIR": str(directory / "state"), "PDP_SERVER__DRAIN_SECONDS": "0.2"}
    environment = {**os.environ, **keys}
    with subprocess.Popen([*command, *how], stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            events = (json.loads(line) for line in process.stderr)
            address = next(event["addresses"][0] for event in events if event["event"] == "serving")
            yield process, str(address)
        finally:
            process.kill()
