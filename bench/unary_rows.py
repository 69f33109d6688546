"""Unary Authorize over gRPC, beside a server that does nothing and beside Cerbos."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc

from bench import cerbos
from bench.bundle_files import write_bundle
from bench.load import Endpoint, absolute, compared, grpc_url, load_by_turns, start_echo
from bench.processes import BenchError, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.wire_requests import authorize_request, framed
from bench.workloads import Request, Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2_grpc

_SIZES = (10, 10_000)
_QUICK_SIZES = (10, 1_000)
_ENTITIES = 1_000
_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class _Group:
    """The servers with policies of one size."""

    label: str
    uncached: Endpoint
    cached: Endpoint
    logging: Endpoint | None
    silent: Endpoint | None
    targets: tuple[Target, Target]


def unary_rows(run: Run) -> list[Section]:
    """Requests a second of one core, as ratios within the same rounds."""
    section = Section("unary Authorize over gRPC (one core, 4 connections with 8 calls each)")
    if shutil.which("h2load") is None:
        section.notes.append("left out: h2load is missing (Debian: nghttp2-client)")
        return [section]
    binary = _cerbos_binary(run, section)
    with ExitStack() as stack:
        groups = [_start_group(run, stack, size, binary, section) for size in (_QUICK_SIZES if run.quick else _SIZES)]
        asked = groups[0].uncached.body
        echo = start_echo(run, stack, "Authorize", asked.parent / "response", asked)
        endpoints = [echo, *(endpoint for group in groups for endpoint in _endpoints(group))]
        seconds, rounds = (1.0, 3) if run.quick else (1.5, 12)
        load_by_turns(run, "unary", endpoints, rounds, seconds)
    section.rows = [absolute(echo), *(row for group in groups for row in _group_rows(group, echo))]
    section.notes.append("each server allowed the measured question and denied another, before the load")
    section.notes.append("every server that logs wrote a line for every answer, counted after the load")
    return [section]


def _cerbos_binary(run: Run, section: Section) -> Path | None:
    if not run.peers:
        section.notes.append("Cerbos was left out, as asked")
        return None
    try:
        binary = cerbos.install(run.cores)
    except BenchError as error:
        section.notes.append(f"Cerbos was left out: {error}")
        return None
    section.notes.append(f"Cerbos {cerbos.version()}")
    return binary


def _start_group(run: Run, stack: ExitStack, policies: int, binary: Path | None, section: Section) -> _Group:
    world = World(Sizes(policies, _ENTITIES))
    work = run.directory(f"unary-{policies}")
    write_bundle(world, work / "bundle")
    allowed, denied = questions(world)
    label = f"{policies:,} policies"
    run.say(f"unary: {label}")
    own = [
        _start_own(run, stack, f"pdp {kind}, {label}", work / kind, (allowed, denied), size)
        for kind, size in (("uncached", 0), ("cached", _CACHED))
    ]
    peers: list[Endpoint | None] = [None, None]
    if binary is not None:
        rules = cerbos.write_policies(world, work / "cerbos-policies")
        section.notes.append(f"at {label} Cerbos has {rules:,} rules")
        for number, kind in enumerate(("decisions logged", "nothing logged")):
            directory = run.directory(f"unary-{policies}/cerbos-{number}")
            log = directory / "audit.log" if number == 0 else None
            running = cerbos.running_cerbos(binary, work / "cerbos-policies", log, run.cores, directory)
            server = stack.enter_context(running)
            body = directory / "body"
            body.write_bytes(framed(_checked_peer(server, world, allowed, denied)))
            name = f"Cerbos, {kind}, {label}"
            peers[number] = Endpoint(name, server.pid, server.url, body, log, b"EFFECT_ALLOW")
    targets = (Target("least", 1.0), Target("least", 1.5 if policies == _SIZES[0] else 1.0))
    return _Group(label, own[0], own[1], peers[0], peers[1], targets)


def questions(world: World) -> tuple[Request, Request]:
    """A request that must be allowed and one of the same agent and tool that must be denied."""
    tool = world.tools[len(world.tools) // 2]
    agent = tool.server % world.departments
    allowed, denied = (world.arguments(tool, kind, 42) for kind in ("reader", "secrets"))
    return Request(agent, tool, allowed, ""), Request(agent, tool, denied, "FORBIDDEN")


def _start_own(
    run: Run, stack: ExitStack, name: str, work: Path, asked: tuple[Request, Request], cache: int
) -> Endpoint:
    work.mkdir()
    log, body = work / "decisions.log", work / "body"
    config = service_config(work.parent / "bundle", log=log, authorize={"decision_cache": cache})
    service = stack.enter_context(python_service("bench.service", config, run.cores, work / "errors"))
    with grpc.insecure_channel(service.address) as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        answers = [stub.Authorize(authorize_request(request)) for request in asked]
    if [answer.decision for answer in answers] != [decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY]:
        raise BenchError(f"{name}: the answers are wrong")
    body.write_bytes(framed(authorize_request(asked[0]).SerializeToString()))
    (work / "response").write_bytes(answers[0].SerializeToString())
    return Endpoint(name, service.pid, grpc_url(service.address, "Authorize"), body, log, b'"decision":"ALLOW"')


def _checked_peer(server: cerbos.Cerbos, world: World, allowed: Request, denied: Request) -> bytes:
    message = server.request(world, allowed)
    if not server.allows(message) or server.allows(server.request(world, denied)):
        raise BenchError("cerbos gives wrong answers")
    return message


def _endpoints(group: _Group) -> list[Endpoint]:
    return [one for one in (group.uncached, group.cached, group.logging, group.silent) if one is not None]


def _group_rows(group: _Group, echo: Endpoint) -> list[Row]:
    rows = [absolute(peer) for peer in (group.logging, group.silent) if peer is not None]
    for own, target in zip((group.uncached, group.cached), group.targets, strict=True):
        bases: Sequence[tuple[Endpoint | None, str, Target | None]] = (
            (echo, "bare gRPC echo", None),
            (group.logging, "Cerbos, decisions logged", target),
            (group.silent, "Cerbos, nothing logged", None),
        )
        rows += [compared(own, base, label, bound) for base, label, bound in bases if base is not None]
    return rows
