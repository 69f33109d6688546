"""Plays agentgateway's part: asks the service what the gateway would ask, and prints what it is to do.

It starts the service of `pdp.toml` with the bundle of `examples/gateway` on a free port, and stops it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2 as pb

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parents[1] / "gateway" / "bundle"
PDP = Path(sys.executable).with_name("pdp")
SECONDS = 30.0
SERVER = "git"
SERVICE = "agentgateway.dev.ext_mcp.ExtMcp"


class Gateway:
    """What agentgateway does for one agent, whose name its `jwtAuth` would have found in a token."""

    def __init__(self, channel: grpc.Channel, agent: str) -> None:
        self._check_request: Any = channel.unary_unary(
            f"/{SERVICE}/CheckRequest", pb.McpRequest.SerializeToString, pb.McpRequestResult.FromString
        )
        self._check_response: Any = channel.unary_unary(
            f"/{SERVICE}/CheckResponse", pb.McpResponse.SerializeToString, pb.McpResponseResult.FromString
        )
        self._agent = agent

    def list_tools(self, tools: list[dict[str, Any]]) -> None:
        """A server has listed its tools."""
        response = pb.McpResponse(
            service_names=[SERVER],
            method="tools/list",
            metadata_context=self._metadata(None),
            mcp_response=json.dumps({"tools": tools}).encode(),
        )
        answer = self._check_response(response, timeout=SECONDS, wait_for_ready=True)
        shown = json.loads(answer.mutated)["tools"] if answer.mutated else tools
        print("tools:", *(tool["name"] for tool in shown))

    def call_tool(self, tool: str, text: str, **arguments: Any) -> None:
        """An agent calls a tool, and the server would answer with a text."""
        print(f"\n{tool} {json.dumps(arguments)}")
        params = {"name": tool, "arguments": arguments}
        request = pb.McpRequest(
            service_names=[SERVER],
            method="tools/call",
            metadata_context=self._metadata(None),
            mcp_request=json.dumps(params).encode(),
        )
        asked = self._check_request(request, timeout=SECONDS)
        if asked.WhichOneof("result") not in ("pass", "mutated"):
            print(f"  ! {asked.error.reason}")
            return
        result = {"content": [{"type": "text", "text": text}]}
        response = pb.McpResponse(
            service_names=[SERVER],
            method="tools/call",
            # `pdp: mcpGuardrails.pdp` in config.yaml: what the first answer said of the call.
            metadata_context=self._metadata(asked.metadata["pdp"]),
            mcp_response=json.dumps(result).encode(),
        )
        answer = self._check_response(response, timeout=SECONDS)
        if answer.WhichOneof("result") not in ("pass", "mutated"):
            print(f"  ! {answer.error.reason}")
            return
        print("   ", json.loads(answer.mutated or response.mcp_response)["content"][0]["text"])

    def _metadata(self, call: Any) -> Struct:
        found = Struct()
        found.update({"sub": self._agent, **({} if call is None else {"pdp": call})})
        return found


def main() -> int:
    """Start the service, ask, stop it."""
    command: list[str | Path] = [PDP, "serve", "--bundle", BUNDLE, "--config", HERE / "pdp.toml"]
    command += ["--listen", "127.0.0.1:0", "--decision-log", "none"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        try:
            with grpc.insecure_channel(address_of(service)) as channel:
                play(Gateway(channel, "reviewer"))
        finally:
            service.terminate()
    return 0


def play(gateway: Gateway) -> None:
    """A list and three calls."""
    gateway.list_tools(json.loads((BUNDLE / "tools" / f"{SERVER}.json").read_text())["tools"])
    gateway.call_tool("git_show", "token = ghp_" + "a" * 36, repo_path="web", revision="HEAD")
    gateway.call_tool("git_commit", "", repo_path="web", message="Notes")
    gateway.call_tool("git_status", "", repo_path="web/../../private")


def address_of(service: subprocess.Popen[str]) -> str:
    """Where the service says that it listens."""
    assert service.stderr is not None
    for line in service.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "serving":
            address: str = event["addresses"][0]
            return address
    raise SystemExit(f"the service did not start; see `{PDP} serve --config {HERE / 'pdp.toml'}`")


if __name__ == "__main__":
    raise SystemExit(main())
