"""Asks a service over AuthZEN, with nothing but the standard library: `ask.py [URL]`.

Where no URL is given, it starts the service of `pdp.toml` itself, on free ports of loopback, and stops it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PDP = Path(sys.executable).with_name("pdp")
START_SECONDS = 30.0

CODER = {"type": "agent", "id": "coder"}
CALL = {"name": "tools/call"}


def call_of(tool: str, **arguments: Any) -> dict[str, Any]:
    """A tool with the arguments that it is to be called with, as a resource."""
    return {"type": "tool", "id": tool, "properties": {"arguments": arguments}}


def post(url: str, path: str, document: dict[str, Any]) -> dict[str, Any]:
    """What the service answers; an error is no answer, let alone an allow."""
    request = urllib.request.Request(  # noqa: S310 - the URL is the operator's own
        f"{url}/access/v1/{path}",
        json.dumps(document).encode(),
        {"Content-Type": "application/json", "X-Request-ID": "example"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - as above
        answer: dict[str, Any] = json.load(response)
    return answer


def tell(tool: str, answer: dict[str, Any]) -> None:
    """One decision on a line, with the reason for a denial."""
    context = answer["context"]
    reason = "" if answer["decision"] else f"  {context['code']}: {context['reason']}"
    print(f"{'allow' if answer['decision'] else 'deny '}  {tool}{reason}")


def ask(url: str) -> None:
    """One question, several, and a search."""
    write = call_of("filesystem/write_file", path="/srv/web/index.html", content="hello")
    tell("filesystem/write_file", post(url, "evaluation", {"subject": CODER, "action": CALL, "resource": write}))

    calls = [
        call_of("git/git_status", repo_path="/srv/web"),
        call_of("filesystem/read_text_file", path="/srv/web/../../etc/passwd"),
        call_of("git/git_reset", repo_path="/srv/web"),
        call_of("git/git_push", repo_path="/srv/web"),
    ]
    asked = {"subject": CODER, "action": CALL, "evaluations": [{"resource": call} for call in calls]}
    for call, answer in zip(calls, post(url, "evaluations", asked)["evaluations"], strict=True):
        tell(call["id"], answer)

    git = {"type": "tool", "properties": {"server": "git"}}
    found = post(url, "search/resource", {"subject": CODER, "action": CALL, "resource": git})
    print("git tools:", *(tool["id"] for tool in found["results"]))


def main() -> int:
    """Ask; start and stop the service where no other one is named."""
    if len(sys.argv) > 1:
        ask(sys.argv[1])
        return 0
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(PDP),
        "serve",
        "--config",
        str(HERE / "pdp.toml"),
        "--listen",
        "127.0.0.1:0",
        "--decision-log",
        "none",
    ]
    environment = {**os.environ, "PDP_AUTHZEN__LISTEN": address}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as service:
        try:
            wait_for(service, f"http://{address}")
            ask(f"http://{address}")
        finally:
            service.terminate()
    return 0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def wait_for(service: subprocess.Popen[bytes], url: str) -> None:
    """Until the service answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and service.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/.well-known/authzen-configuration", timeout=1):  # noqa: S310 - as above
                return
        except urllib.error.URLError:
            time.sleep(0.05)
    raise SystemExit(f"the service did not start; see `{PDP} serve --config {HERE / 'pdp.toml'}`")


if __name__ == "__main__":
    raise SystemExit(main())
