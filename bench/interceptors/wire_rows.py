"""`Intercept` over gRPC, and what a second process adds, with and without the wire."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import grpc

from bench.bundle_files import write_bundle
from bench.interceptors.modules import Modules, sandbox_process
from bench.interceptors.subjects import ENVELOPE, Subject
from bench.load import Endpoint, absolute, compared, grpc_url, load, load_by_turns, start_echo
from bench.processes import BenchError, Cores, Service, python_service, service_config
from bench.report import Row, Section
from bench.run_options import Run
from bench.unary_rows import questions
from bench.wire_requests import authorize_request, framed
from bench.workloads import Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc, interceptor_pb2

_SIZE = 1024
_WORLD = Sizes(10, 1_000)
_ALLOWED = b'"decision":"ALLOW"'
_BINDING = """
[[interceptor]]
name = "measured"
module = "interceptors/module.wasm"
phases = ["{phase}"]
may_transform = true
"""


def wire_rows(run: Run, modules: Modules) -> list[Section]:
    """Requests a second of one core, as ratios within the same rounds."""
    subject = modules.typical
    title = f"interceptors: Intercept over gRPC, {subject.label}, 1 KiB (one core, 4 connections with 8 calls each)"
    if shutil.which("h2load") is None:
        return [Section(title, notes=["left out: h2load is missing (Debian: nghttp2-client)"])]
    with ExitStack() as stack:
        run.say("interceptors: Intercept over gRPC")
        bundle = _write_bundle(run, modules, subject)
        own = _start(run, stack, bundle, subject, "Intercept", run.cores)
        authorize = _start(run, stack, bundle, subject, "Authorize", run.cores)
        echo = start_echo(run, stack, "Intercept", own.body.parent / "response", own.body)
        rounds, seconds = (run.rounds, 0.5 if run.quick else 0.7)
        load_by_turns(run, "interceptors: Intercept", [echo, own, authorize], rounds, seconds)
        rows = [
            absolute(echo),
            absolute(authorize),
            compared(own, echo, "bare gRPC echo"),
            compared(own, authorize, "Authorize, uncached"),
        ]
        notes = ["each server wrote a line for every answer, counted after the load"]
        return [Section(title, rows, notes), _two_processes(run, modules, stack, bundle)]


def _write_bundle(run: Run, modules: Modules, subject: Subject) -> Path:
    bundle = run.directory("interceptors-wire") / "bundle"
    write_bundle(World(_WORLD), bundle)
    (bundle / "interceptors").mkdir()
    shutil.copy(modules.path(subject), bundle / "interceptors" / "module.wasm")
    with (bundle / "bundle.toml").open("a") as manifest:
        manifest.write(_BINDING.format(phase=subject.phase))
    return bundle


def _start(run: Run, stack: ExitStack, bundle: Path, subject: Subject, method: str, cores: Cores) -> Endpoint:
    """A service that has answered the measured question as it has to."""
    work = run.directory(f"interceptors-wire/{method}-{time.monotonic_ns()}")
    kept = {"cache_dir": str(bundle.parent / "compiled")}
    config = service_config(bundle, log=work / "decisions.log", interceptors=kept)
    service = stack.enter_context(python_service("bench.service", config, cores, work / "errors"))
    request = _intercept_request(subject) if method == "Intercept" else authorize_request(questions(World(_WORLD))[0])
    with grpc.insecure_channel(service.address) as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        response = getattr(stub, method)(request)
    if response.decision != decision_pb2.DECISION_ALLOW:
        raise BenchError(f"{method}: the answer is wrong: {response.denial}")
    (work / "body").write_bytes(framed(request.SerializeToString()))
    (work / "response").write_bytes(response.SerializeToString())
    name = "Intercept" if method == "Intercept" else "Authorize, uncached, 10 policies"
    return Endpoint(
        name, service.pid, grpc_url(service.address, method), work / "body", work / "decisions.log", _ALLOWED
    )


def _intercept_request(subject: Subject) -> decision_service_pb2.InterceptRequest:
    payload = subject.payload(_SIZE)
    uid = decision_pb2.EntityUid(type=ENVELOPE.subject.type, id=ENVELOPE.subject.id)
    call = decision_pb2.ToolCall(
        server=ENVELOPE.server,
        tool=ENVELOPE.tool,
        arguments_json=payload.arguments,
        session_id=ENVELOPE.session_id,
    )
    return decision_service_pb2.InterceptRequest(
        phase=interceptor_pb2.Phase.Value(f"PHASE_{subject.phase.upper()}"),
        subject=decision_pb2.Subject(entity=uid),
        tool_call=call,
        result_json=payload.result or b"",
        request_id=ENVELOPE.request_id,
    )


def _two_processes(run: Run, modules: Modules, stack: ExitStack, bundle: Path) -> Section:
    """One process with a core, then two with a core each; in process, and as servers that share it with their load."""
    section = Section("interceptors: a second process on a second core")
    server, other = run.cores.server, run.cores.load
    if server is None or other is None:
        section.notes.append("left out: it needs two cores")
        return section
    subject, each = modules.typical, (Cores(server, server), Cores(other, other))
    services = [stack.enter_context(sandbox_process(run, f"rate-{number}", cores)) for number, cores in enumerate(each)]
    endpoints = [_start(run, stack, bundle, subject, "Intercept", cores) for cores in each]
    seconds = 0.3 if run.quick else 0.5
    requests = [
        int(load(run, endpoint, 1_000, cores) * seconds) for endpoint, cores in zip(endpoints, each, strict=True)
    ]

    def called(count: int) -> float:
        return _called(modules, subject, services[:count], seconds)

    def served(count: int) -> float:
        turns = list(zip(endpoints, requests, each, strict=True))[:count]
        return _together([partial(load, run, *turn) for turn in turns])

    for name, measure in (("in process", called), ("over gRPC, each server and its load on one core", served)):
        section.rows += _scaling(run, name, measure)
    section.notes.append(
        "with two servers on two cores, load and servers cannot be kept apart: each pair shares a core"
    )
    return section


def _scaling(run: Run, name: str, measure: Callable[[int], float]) -> list[Row]:
    measure(2)
    one: list[float] = []
    two: list[float] = []
    for number in range(run.rounds):
        run.say(f"interceptors: a second process, {name}, round {number + 1} of {run.rounds}")
        for count in (1, 2) if number % 2 else (2, 1):
            (one if count == 1 else two).append(measure(count))
    return [
        Row(f"{name}: 1 process", "calls/s", one),
        Row(f"{name}: 2 processes", "calls/s", two, "1 process", one),
    ]


def _called(modules: Modules, subject: Subject, services: Sequence[Service], seconds: float) -> float:
    command = modules.command("rate", subject, size=_SIZE, seconds=seconds, at=time.time() + 0.05)

    def ask(service: Service) -> float:
        answer = service.ask(**command)
        if answer["problem"]:
            raise BenchError(f"{subject.label}: {answer['problem']}")
        return float(answer["rate"])

    return _together([partial(ask, service) for service in services])


def _together(measures: Sequence[Callable[[], float]]) -> float:
    """The sum of rates that are measured at the same time."""
    with ThreadPoolExecutor(len(measures)) as pool:
        running = [pool.submit(measure) for measure in measures]
        return sum(future.result() for future in running)
