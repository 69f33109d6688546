"""Unary Authorize over gRPC, beside a server that does nothing and beside Cerbos."""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench import cerbos
from bench.bundle_files import write_bundle
from bench.processes import BenchError, cpu_seconds, output_of, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.wire_requests import authorize_request, framed
from bench.workloads import Request, Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2_grpc

_SIZES = (10, 10_000)
_QUICK_SIZES = (10, 1_000)
_ENTITIES = 1_000
_CACHED = 10_000
_FIRST_REQUESTS = 3_000
_PATH = "/pdp.v1.DecisionService/Authorize"
_AUTHORIZE = ["-c", "4", "-m", "8", "-t", "1", "-H", "content-type: application/grpc", "-H", "te: trailers"]


@dataclass(slots=True)
class _Endpoint:
    """A server under load: where, with which body; then, by round, requests a second and µs of its CPU for each.

    Its log, if any, must name `allow` once for every request.
    """

    name: str
    pid: int
    url: str
    body: Path
    log: Path | None = None
    allow: bytes = b""
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    answered: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    """The servers with policies of one size."""

    label: str
    uncached: _Endpoint
    cached: _Endpoint
    logging: _Endpoint | None
    silent: _Endpoint | None
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
        echo = _start_echo(run, stack, groups[0])
        endpoints = [echo, *(endpoint for group in groups for endpoint in _endpoints(group))]
        # The first round warms up, and tells how many requests fill a round.
        counts = [_load(run, endpoint, _FIRST_REQUESTS) for endpoint in endpoints]
        for endpoint in endpoints:
            del endpoint.rates[0], endpoint.costs[0]
        turns = list(zip(endpoints, counts, strict=True))
        seconds, rounds = (1.0, 3) if run.quick else (1.5, 12)
        for number in range(rounds):
            run.say(f"unary: round {number + 1} of {rounds}")
            for endpoint, rate in turns if number % 2 else reversed(turns):
                _load(run, endpoint, int(rate * seconds))
    for endpoint in endpoints:
        _check_log(endpoint)
    section.rows = [_absolute(echo), *(row for group in groups for row in _group_rows(group, echo))]
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
    peers: list[_Endpoint | None] = [None, None]
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
            peers[number] = _Endpoint(name, server.pid, server.url, body, log, b"EFFECT_ALLOW")
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
) -> _Endpoint:
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
    return _Endpoint(name, service.pid, f"http://{service.address}{_PATH}", body, log, b'"decision":"ALLOW"')


def _checked_peer(server: cerbos.Cerbos, world: World, allowed: Request, denied: Request) -> bytes:
    message = server.request(world, allowed)
    if not server.allows(message) or server.allows(server.request(world, denied)):
        raise BenchError("cerbos gives wrong answers")
    return message


def _start_echo(run: Run, stack: ExitStack, group: _Group) -> _Endpoint:
    response = group.uncached.body.parent / "response"
    service = stack.enter_context(python_service("bench.echo", str(response), run.cores, run.work / "echo.err"))
    return _Endpoint("bare gRPC echo", service.pid, f"http://{service.address}{_PATH}", group.uncached.body)


def _endpoints(group: _Group) -> list[_Endpoint]:
    return [one for one in (group.uncached, group.cached, group.logging, group.silent) if one is not None]


_RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")
_COUNTS = re.compile(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")


def _load(run: Run, endpoint: _Endpoint, requests: int) -> float:
    """Let `requests` be answered as fast as may be; the requests a second."""
    command = ["h2load", *_AUTHORIZE, "-n", str(requests), "-d", str(endpoint.body), endpoint.url]
    before = cpu_seconds(endpoint.pid)
    output = output_of(command, run.cores)
    spent = cpu_seconds(endpoint.pid) - before
    rate, counts = _RATE.search(output), _COUNTS.search(output)
    if rate is None or counts is None:
        raise BenchError(f"h2load's answer cannot be read:\n{output}")
    done, succeeded, failed, errored = map(int, counts.groups())
    if failed or errored or not done == succeeded == requests:
        raise BenchError(f"{endpoint.name}: {failed} calls failed, {errored} broke off")
    endpoint.answered += succeeded
    endpoint.rates.append(float(rate.group(1)))
    endpoint.costs.append(spent / requests * 1e6)
    return endpoint.rates[-1]


def _check_log(endpoint: _Endpoint) -> None:
    if endpoint.log is None:
        return
    with endpoint.log.open("rb") as stream:
        lines = sum(endpoint.allow in line for line in stream)
    if lines < endpoint.answered:
        raise BenchError(f"{endpoint.name}: {endpoint.answered} answers, {lines} lines in the log")


def _group_rows(group: _Group, echo: _Endpoint) -> list[Row]:
    rows = [_absolute(peer) for peer in (group.logging, group.silent) if peer is not None]
    for own, target in zip((group.uncached, group.cached), group.targets, strict=True):
        bases: Sequence[tuple[_Endpoint | None, str, Target | None]] = (
            (echo, "bare gRPC echo", None),
            (group.logging, "Cerbos, decisions logged", target),
            (group.silent, "Cerbos, nothing logged", None),
        )
        rows += [_compared(own, base, label, bound) for base, label, bound in bases if base is not None]
    return rows


def _absolute(endpoint: _Endpoint) -> Row:
    return Row(endpoint.name, "req/s", endpoint.rates, detail=_cost(endpoint))


def _compared(own: _Endpoint, base: _Endpoint, label: str, target: Target | None) -> Row:
    by_cpu = statistics.median(theirs / ours for theirs, ours in zip(base.costs, own.costs, strict=True))
    return Row(own.name, "req/s", own.rates, label, base.rates, target, f"{_cost(own)}; ratio by CPU {by_cpu:.2f}")


def _cost(endpoint: _Endpoint) -> str:
    return f"{statistics.median(endpoint.costs):.0f} µs of CPU each"
