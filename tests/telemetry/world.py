"""A service that has something to say in every metric, and a client for its listener."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2 as mcp
from pdp._gen.pdp.v1 import admin_service_pb2 as admin
from pdp._gen.pdp.v1 import decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import Files, manifest, tool
from tests.grpc.service import TIMEOUT_SECONDS, Service, failure, question, serving, tool_call
from tests.modules import answering, binding, deny, looping
from tests.unit.identity.making import key_set, signer

FILES: Files = {
    "policies/a.cedar": """
        @id("all") permit(principal, action, resource);
        @id("secret") forbid(principal, action == Action::"srv/secret", resource);
    """,
    "tools/srv.json": manifest(*(tool(name) for name in ("read", "secret", "asked", "denied", "broken"))),
    "bundle.toml": "".join(
        [
            binding("asked", tools=["srv/asked"]),
            binding("denied", tools=["srv/denied"]),
            binding("broken", tools=["srv/broken"], fuel=100_000),
        ]
    ),
    "interceptors/asked.wasm": answering(),
    "interceptors/denied.wasm": answering(deny("no")),
    "interceptors/broken.wasm": looping(),
}

#: The module that loops does so only for arguments that are not short.
LONG = b'{"n": "' + b"x" * 100 + b'"}'
ISSUER = "https://people.example.com/"


class Reply(NamedTuple):
    """What the listener answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def get(address: str, path: str, method: str = "GET") -> Reply:
    """One request to the listener."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read())
    finally:
        connection.close()


def connected(address: str) -> socket.socket:
    """A bare connection to the listener."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)


def families(address: str) -> dict[str, Metric]:
    """What Prometheus reads there."""
    reply = get(address, "/metrics")
    assert reply.status == 200, reply.text
    return {family.name: family for family in text_string_to_metric_families(reply.text)}


def value(address: str, sample: str, **labels: str) -> float:
    """The sum of a metric's figures with these labels; 0 where there are none."""
    found = (each for family in families(address).values() for each in family.samples)
    return sum(each.value for each in found if each.name == sample and labels.items() <= each.labels.items())


@contextmanager
def observed(directory: Path, files: Files = FILES, **sections: Mapping[str, Any]) -> Iterator[Service]:
    """A service with a listener."""
    telemetry = {"listen": "127.0.0.1:0", **sections.pop("telemetry", {})}
    with serving(directory, files, telemetry=telemetry, **sections) as service:
        yield service


@contextmanager
def everything(directory: Path) -> Iterator[Service]:
    """A service with every part that has metrics, after a call of everything."""
    keys = directory / "keys.json"
    keys.write_bytes(key_set(signer("k1", "ES256")))
    issuer = {"issuer": ISSUER, "jwks_file": str(keys), "audiences": ["pdp"], "algorithms": ["ES256"]}
    identity = {"issuer": [{**issuer, "principal_type": "User"}]}
    gateway = {"enabled": True, "subject_from": "metadata:sub"}
    with observed(directory, identity=identity, agentgateway=gateway) as service:
        call_everything(service)
        yield service


def limited_callers() -> dict[str, Any]:
    """Callers of whom one may ask once, one often and one always; each has `key of` its name as its key."""
    limits = {"slow": {"calls_per_second": 0.001, "burst": 1}, "quick": {"calls_per_second": 1e6}, "free": {}}
    digests = {name: hashlib.sha256(f"key of {name}".encode()).hexdigest() for name in limits}
    return {"caller": [{"name": name, "keys_sha256": [digests[name]], **more} for name, more in limits.items()]}


def call_everything(service: Service) -> None:
    """A call of every RPC, and of every way in which it can end."""
    for _ in range(2):
        service.authorize(tool_call())
    service.authorize(tool_call(name="secret"))
    service.authorize(tool_call(name="nobody-knows"))
    service.batch(tool_call(), question())
    for name in ("read", "asked", "denied", "broken"):
        service.decision.Decide(decide(name, LONG), timeout=TIMEOUT_SECONDS)
    answered = tool_call(name="asked")
    intercept = pb.InterceptRequest(
        phase=interceptor_pb2.PHASE_REQUEST, subject=answered.subject, tool_call=answered.tool_call
    )
    service.decision.Intercept(intercept, timeout=TIMEOUT_SECONDS)
    listed = [pb.ListedTool(name="read")]
    service.decision.FilterTools(
        pb.FilterToolsRequest(subject=answered.subject, server="srv", tools=listed), timeout=TIMEOUT_SECONDS
    )
    failure(service.decision.Authorize, pb.AuthorizeRequest())
    nobody = decision_pb2.Subject(token="no.token.atall")
    service.authorize(pb.AuthorizeRequest(subject=nobody, tool_call=answered.tool_call))
    service.admin.GetStatus(admin.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
    service.admin.Reload(admin.ReloadRequest(), timeout=TIMEOUT_SECONDS)
    path = "/agentgateway.dev.ext_mcp.ExtMcp/CheckRequest"
    check = service.channel.unary_unary(path, mcp.McpRequest.SerializeToString, mcp.McpRequestResult.FromString)
    check(mcp.McpRequest(service_names=["srv"], method="tools/call"), timeout=TIMEOUT_SECONDS)


def decide(name: str, arguments: bytes = b"", **more: Any) -> pb.DecideRequest:
    """May this tool be called, as both layers see it?"""
    call = tool_call(arguments, name=name)
    return pb.DecideRequest(subject=call.subject, tool_call=call.tool_call, **more)
