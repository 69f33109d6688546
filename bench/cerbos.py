"""A peer: Cerbos, answering the same questions from equivalent policies.

A server is a resource kind, a tool is an action, roles and attributes of the agent and the arguments of the call come
with the request (Cerbos keeps no entities). Its policies know no rule over all resources, so that one rule of a world
is written once for every server.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from bench.bundle_files import agent_name
from bench.processes import ROOT, BenchError, Cores, foreign_service, free_port, output_of
from bench.workloads import LOWEST_ISSUE, TOOLS, Request, Rule, World, server_name

_PATH = "/cerbos.svc.v1.CerbosService/CheckResources"

_PACKAGE = ROOT / "bench" / "peers"
_BINARY = _PACKAGE / "node_modules" / "@cerbos" / "cerbos-linux-x64" / "cerbos-linux-x64"
_READY_SECONDS = 120


def install(cores: Cores) -> Path:
    """The binary, installed with npm as the lock pins it. Raises BenchError where that cannot be."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise BenchError("the pinned build of Cerbos is for Linux on x86-64")
    if shutil.which("npm") is None:
        raise BenchError("npm is missing, which installs Cerbos")
    stamp = _PACKAGE / "node_modules" / ".installed"
    lock = (_PACKAGE / "package-lock.json").read_text()
    if not stamp.exists() or stamp.read_text() != lock:
        output_of(["npm", "ci", "--silent"], cores, cwd=_PACKAGE)
        stamp.write_text(lock)
    return _BINARY


def version() -> str:
    """The pinned version."""
    pinned: str = json.loads((_PACKAGE / "package.json").read_text())["dependencies"]["@cerbos/cerbos-linux-x64"]
    return pinned


def write_policies(world: World, directory: Path) -> int:
    """Write the policies of `world` into `directory`, which is made; how many rules they are."""
    directory.mkdir()
    count = 0
    placed = sorted((rule for rule in world.rules if rule.server is not None), key=lambda rule: rule.server or 0)
    for server, rules in groupby(placed, lambda rule: rule.server):
        written = [_rule(world, rule, server or 0) for rule in (Rule("level"), *rules)]
        count += len(written)
        policy = {
            "apiVersion": "api.cerbos.dev/v1",
            "resourcePolicy": {"version": "default", "resource": server_name(server or 0), "rules": written},
        }
        (directory / f"{server_name(server or 0)}.json").write_text(json.dumps(policy))
    return count


def _rule(world: World, rule: Rule, server: int) -> dict[str, Any]:
    given = "R.attr.input"
    condition = {
        "level": "!(P.attr.level >= 1)",
        "blocked": f'{given}.owner == "blocked-{server}"',
        "reader": f"{given}.owner == P.attr.org && {given}.issue_number > {LOWEST_ISSUE}",
        "writer": f'{given}.repo.startsWith("team-") && !{given}.title.contains("urgent")',
        "secrets": f'{given}.repo == "secrets-{server}"',
        "auditor": f'{given}.owner == "audited"',
        "guest": f'{given}.owner == "guests"',
    }[rule.kind]
    denies = rule.kind in ("level", "blocked", "secrets")
    return {
        "actions": ["*" if rule.tool is None else TOOLS[rule.tool]],
        "effect": "EFFECT_DENY" if denies else "EFFECT_ALLOW",
        "roles": ["*" if denies else f"dept-{server % world.departments}-{rule.kind}"],
        "condition": {"match": {"expr": condition}},
    }


@dataclass(frozen=True, slots=True)
class Cerbos:
    """A running Cerbos. `address` is `host:port`."""

    address: str
    pid: int
    channel: grpc.Channel
    request_class: type[Message]
    response_class: type[Message]

    @property
    def url(self) -> str:
        """Where checks are asked for."""
        return f"http://{self.address}{_PATH}"

    def request(self, world: World, request: Request) -> bytes:
        """The message for one request."""
        roles = [f"dept-{request.tool.server % world.departments}-{role}" for role in ("reader", "writer")]
        roles.append(f"team-{world.team(request.agent)}")
        attributes = {"org": f"acme-{request.agent % world.departments}", "level": 1 + request.agent % 5}
        server = server_name(request.tool.server)
        resource = {"kind": server, "id": server, "attr": {"input": json.loads(request.arguments)}}
        document = {
            "principal": {"id": agent_name(request.agent), "roles": roles, "attr": attributes},
            "resources": [{"actions": [TOOLS[request.tool.number]], "resource": resource}],
        }
        message = json_format.ParseDict(document, self.request_class())
        return message.SerializeToString()

    def allows(self, message: bytes) -> bool:
        """Its answer."""
        data: bytes = self.channel.unary_unary(_PATH, bytes, bytes)(message)
        response = json_format.MessageToDict(self.response_class.FromString(data))
        [effect] = response["results"][0]["actions"].values()
        if effect not in ("EFFECT_ALLOW", "EFFECT_DENY"):
            raise BenchError(f"cerbos answered `{effect}`")
        return bool(effect == "EFFECT_ALLOW")


@contextmanager
def running_cerbos(binary: Path, policies: Path, audit_log: Path | None, cores: Cores, work: Path) -> Iterator[Cerbos]:
    """Cerbos with `policies`, its decisions logged to `audit_log`; on loopback, telling nobody about itself."""
    address = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "server": {"grpcListenAddr": address, "httpListenAddr": f"unix:{work / 'http.sock'}"},
        "storage": {"driver": "disk", "disk": {"directory": str(policies), "watchForChanges": False}},
        "telemetry": {"disabled": True},
    }
    if audit_log is not None:
        config["audit"] = {
            "enabled": True,
            "accessLogsEnabled": False,
            "decisionLogsEnabled": True,
            "backend": "file",
            "file": {"path": str(audit_log)},
        }
    (work / "config.json").write_text(json.dumps(config))
    command = [str(binary), "server", f"--config={work / 'config.json'}", "--log-level=warn"]
    with (
        foreign_service(command, cores, work / "output.txt") as pid,
        grpc.insecure_channel(address) as channel,
    ):
        try:
            grpc.channel_ready_future(channel).result(timeout=_READY_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise BenchError(f"cerbos did not start:\n{(work / 'output.txt').read_text()[-2000:]}") from error
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        classes = [
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"cerbos.{name}"))
            for name in ("request.v1.CheckResourcesRequest", "response.v1.CheckResourcesResponse")
        ]
        yield Cerbos(address, pid, channel, *classes)
