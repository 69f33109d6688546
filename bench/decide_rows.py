"""Both layers in one round trip, and tool lists: how long a caller waits."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from bench.bundle_files import write_bundle
from bench.interceptors.modules import find_modules
from bench.processes import BenchError, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.unary_rows import questions
from bench.wire_requests import authorize_request
from bench.workloads import Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc

_WORLD = Sizes(1_000, 1_000)
_CHAINS = (0, 1, 4)
_BINDING = """
[[interceptor]]
name = "i{number}"
module = "interceptors/module.wasm"
phases = ["request"]
may_transform = true
"""
_TOOLS, _POLICIES_PER_TOOL = 1_000, 10
_AGENTS = 50


def decide_rows(run: Run) -> list[Section]:
    """Latency of `Decide` beside that of `Authorize`, and of `FilterTools`, for one caller at a time."""
    return [_decide_section(run), _filter_section(run)]


def _decide_section(run: Run) -> Section:
    modules = find_modules(run.directory("decide"))
    subject = modules.typical
    section = Section(f"Decide beside Authorize, nothing cached, interceptors: {subject.label}; p50 of one caller")
    section.notes += modules.notes
    world = World(_WORLD)
    call = authorize_request(questions(world)[0])
    decide = decision_service_pb2.DecideRequest(subject=call.subject, tool_call=call.tool_call)
    times: dict[int, list[float]] = {length: [] for length in _CHAINS}
    authorize: list[float] = []
    for length in _CHAINS:
        bundle = run.directory(f"decide/{length}") / "bundle"
        write_bundle(world, bundle)
        _bind(bundle, modules.path(subject), length)
    asked = 200 if run.quick else 1_000
    with _Servers(run, [run.work / f"decide/{length}/bundle" for length in _CHAINS]) as stubs:
        for number in range(run.rounds + 1):
            run.say(f"decide: round {number} of {run.rounds}")
            taken = [_p50(lambda: stubs[0].Authorize(call), asked)]
            taken += [_p50(lambda stub=stub: stub.Decide(decide), asked) for stub in stubs]  # type: ignore[misc]
            if number:  # the first round warms up
                authorize.append(taken[0])
                for length, value in zip(_CHAINS, taken[1:], strict=True):
                    times[length].append(value)
    section.rows = [Row("Authorize", "µs", authorize)]
    for length in _CHAINS:
        target = Target("most", 2.0) if length == 1 else None
        name = f"Decide, {length} interceptor{'' if length == 1 else 's'}"
        section.rows.append(Row(name, "µs", times[length], "Authorize", authorize, target))
    return section


def _bind(bundle: Path, module: Path, length: int) -> None:
    (bundle / "interceptors").mkdir()
    shutil.copy(module, bundle / "interceptors" / "module.wasm")
    with (bundle / "bundle.toml").open("a") as manifest:
        manifest.writelines(_BINDING.format(number=number) for number in range(length))


class _Servers:
    """Services of these bundles, each allowed to be asked in turn."""

    def __init__(self, run: Run, bundles: Sequence[Path]) -> None:
        self._stack = ExitStack()
        self._run, self._bundles = run, bundles

    def __enter__(self) -> list[decision_service_pb2_grpc.DecisionServiceStub]:
        return [self._start(bundle) for bundle in self._bundles]

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _start(self, bundle: Path) -> decision_service_pb2_grpc.DecisionServiceStub:
        work = bundle.parent
        cache = {"cache_dir": str(work / "compiled")}
        config = service_config(bundle, log=work / "decisions.log", authorize={"decision_cache": 0}, interceptors=cache)
        service = self._stack.enter_context(python_service("bench.service", config, self._run.cores, work / "errors"))
        channel = self._stack.enter_context(grpc.insecure_channel(service.address))
        return decision_service_pb2_grpc.DecisionServiceStub(channel)


def _p50(ask: Callable[[], Any], count: int) -> float:
    """µs until an answer, which has to be an allow."""
    times = []
    for _ in range(count):
        started = time.perf_counter_ns()
        answer = ask()
        times.append(time.perf_counter_ns() - started)
        if answer.decision != decision_pb2.DECISION_ALLOW:
            raise BenchError(f"decide: not allowed: {answer.denial}")
    return statistics.median(times) / 1000


def _filter_section(run: Run) -> Section:
    tools = 100 if run.quick else _TOOLS
    bundle = run.directory("filter") / "bundle"
    _write_listed(bundle, tools)
    section = Section(f"FilterTools of {tools:,} tools over {tools * _POLICIES_PER_TOOL:,} policies")
    cold: list[float] = []
    warm: list[float] = []
    with _Servers(run, [bundle]) as [stub]:
        for number in range(min(_AGENTS, run.rounds * 2)):
            request = decision_service_pb2.FilterToolsRequest(server="srv")
            request.subject.entity.type, request.subject.entity.id = "Agent", f"a{number}"
            request.tools.extend(decision_service_pb2.ListedTool(name=f"t{tool}") for tool in range(tools))
            taken = []
            for _ in range(3):
                started = time.perf_counter()
                answer = stub.FilterTools(request)
                taken.append((time.perf_counter() - started) * 1000)
                if not (answer.allowed and answer.hidden):
                    raise BenchError("filter: a list that is not filtered")
            cold.append(taken[0])
            warm.append(min(taken[1:]))
    section.rows = [
        Row("first list of an agent", "ms", cold, target=Target("most", 100.0)),
        Row("the same list again", "ms", warm, target=Target("most", 5.0)),
    ]
    return section


def _write_listed(bundle: Path, tools: int) -> None:
    """One server with many tools, ten policies for each: by role, by attribute, and by what the arguments are."""
    for name in ("policies", "entities", "tools"):
        (bundle / name).mkdir(parents=True)
    properties = {"n": {"type": "integer"}, "owner": {"type": "string"}}
    definitions = [
        {"name": f"t{tool}", "inputSchema": {"type": "object", "properties": properties}} for tool in range(tools)
    ]
    (bundle / "tools/srv.json").write_text(json.dumps({"tools": definitions}))
    (bundle / "policies/all.cedar").write_text("\n".join(policy for tool in range(tools) for policy in _policies(tool)))
    agents = [
        {
            "uid": {"type": "Agent", "id": f"a{number}"},
            "attrs": {"team": f"team{number % 7}", "level": number % 5},
            "parents": [{"type": "Role", "id": f"r{number % 10}"}],
        }
        for number in range(1_000)
    ]
    (bundle / "entities/agents.json").write_text(json.dumps(agents))


def _policies(tool: int) -> list[str]:
    action = f'action == Action::"srv/t{tool}", resource'
    by_role = [
        f'permit(principal in Role::"r{(tool + part) % 10}", {action}) when '
        f"{{ principal.level > {part} && context.input has n && context.input.n < {tool} }};"
        for part in range(4)
    ]
    by_argument = [
        f'forbid(principal, {action}) when {{ context.input has owner && context.input.owner == "x{part}" }};'
        for part in range(3)
    ]
    others = [
        f'permit(principal, {action}) when {{ principal.team == "team{tool % 7}" }};',
        f"forbid(principal, {action}) unless {{ principal has team }};",
        f'permit(principal == Agent::"z{tool}", {action});',
    ]
    return [*by_role, *by_argument, *others]
