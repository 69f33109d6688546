"""Two workers on two cores beside one worker on one core, each with its load on the same cores.

Two services that share nothing, each on a core of its own, tell what the machine takes from two busy cores.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bench.bundle_files import write_bundle
from bench.load import grpc_url
from bench.processes import ROOT, BenchError, Cores, cpu_seconds, output_of
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.unary_rows import questions
from bench.wire_requests import authorize_request, framed
from bench.workloads import Sizes, World
from pdp._gen.pdp.v1 import admin_service_pb2, admin_service_pb2_grpc

#: Enough connections for all workers to have as many as the others, more or less.
_CONNECTIONS = 32
_HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
_COUNTS = re.compile(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")


@dataclass(slots=True)
class _Fleet:
    """A service, and by round: cores that its workers kept busy, and decisions for each second of their CPU time."""

    name: str
    cores: Cores
    address: str
    pids: list[int]
    busy: list[float] = field(default_factory=list)
    yields: list[float] = field(default_factory=list)


def worker_rows(run: Run) -> list[Section]:
    """Uncached Authorize, every answer logged to a file; the load shares the cores."""
    section = Section("workers: uncached Authorize, 1,000 policies; as many cores as workers, and the load on the same")
    if shutil.which("h2load") is None or run.cores.load is None:
        section.notes.append("left out: it needs h2load (Debian: nghttp2-client) and two cores")
        return [section]
    # What is started here inherits what this process may use.
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {run.cores.server or 0, run.cores.load})
    try:
        return [_measured(run, section)]
    finally:
        os.sched_setaffinity(0, own)


def _measured(run: Run, section: Section) -> Section:
    work = run.directory("workers")
    world = World(Sizes(1_000, 1_000))
    write_bundle(world, work / "bundle")
    body = work / "body"
    body.write_bytes(framed(authorize_request(questions(world)[0]).SerializeToString()))
    with ExitStack() as stack:
        here, there = Cores(run.cores.server, run.cores.server), Cores(run.cores.load, run.cores.load)
        one = stack.enter_context(_fleet("1 worker", 1, work, here))
        two = stack.enter_context(_fleet("2 workers", 2, work, Cores(None, None)))
        # What two cores give that have nothing to do with each other but the machine.
        apart = [stack.enter_context(_fleet(f"service {number}", 1, work, c)) for number, c in enumerate((here, there))]
        sets = [[one], [two], apart]
        requests = 2_000 if run.quick else 12_000
        for number in range(run.rounds + 1):
            run.say(f"workers: round {number} of {run.rounds}")
            for fleets in sets if number % 2 else reversed(sets):
                _load_all(fleets, body, requests)
    for fleet in (one, two, *apart):
        del fleet.busy[0], fleet.yields[0]
    each = [2 / (1 / first + 1 / second) for first, second in zip(apart[0].yields, apart[1].yields, strict=True)]
    section.rows = [
        Row("1 worker: cores kept busy", "cores", one.busy),
        Row("2 workers: cores kept busy", "cores", two.busy, "1 worker", one.busy, Target("least", 1.7)),
        Row("1 worker: decisions for its CPU time", "1/s of CPU", one.yields),
        Row("2 workers: decisions for their CPU time", "1/s of CPU", two.yields, "1 worker", one.yields, _WITHIN),
        Row("2 services on a core each: decisions for their CPU time", "1/s of CPU", each, "1 worker", one.yields),
        Row("2 workers: decisions for their CPU time", "1/s of CPU", two.yields, "2 services", each),
    ]
    section.notes.append("h2load takes its share of the cores in both cases")
    return section


_WITHIN = Target("least", 0.9)


def _load_all(fleets: Sequence[_Fleet], body: Path, requests: int) -> None:
    with ThreadPoolExecutor(len(fleets)) as pool:
        for loaded in [pool.submit(_load, fleet, body, requests) for fleet in fleets]:
            loaded.result()


def _load(fleet: _Fleet, body: Path, requests: int) -> None:
    command = ["h2load", "-c", str(_CONNECTIONS), "-m", "4", "-t", "1", *_HEADERS, "-n", str(requests), "-d", str(body)]
    before, started = _spent(fleet.pids), time.monotonic()
    output = output_of([*command, grpc_url(fleet.address, "Authorize")], fleet.cores)
    seconds, spent = time.monotonic() - started, _spent(fleet.pids) - before
    counts = _COUNTS.search(output)
    if counts is None or counts.groups() != (str(requests), str(requests), "0", "0"):
        raise BenchError(f"{fleet.name}: not every call was answered:\n{output}")
    fleet.busy.append(spent / seconds)
    fleet.yields.append(requests / spent)


def _spent(pids: Sequence[int]) -> float:
    return sum(map(cpu_seconds, pids))


@contextmanager
def _fleet(name: str, count: int, work: Path, cores: Cores) -> Iterator[_Fleet]:
    """The service as operators start it, with that many workers."""
    environ = {
        **os.environ,
        "PDP_SERVER__WORKERS": str(count),
        "PDP_SERVER__LISTEN": "127.0.0.1:0",
        "PDP_BUNDLE__WATCH": "false",
        "PDP_BUNDLE__LAST_GOOD_DIR": "",
        "PDP_AUTHORIZE__DECISION_CACHE": "0",
        "PDP_STATE_DIR": str(work / f"state of {name}"),
        "PDP_TELEMETRY__LOG_FORMAT": "json",
    }
    log = work / f"decisions of {name}.jsonl"
    program = [sys.executable, "-c", "import sys; from pdp.cli import main; sys.exit(main())"]
    serve = [*program, "serve", "--bundle", str(work / "bundle"), "--decision-log-path", str(log)]
    command = cores.pinned(serve, cores.server)
    process = subprocess.Popen(  # noqa: S603 - this program itself
        cores.pinned(command, cores.server),
        env=environ,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield _ready(process, name, count, cores)
    finally:
        process.terminate()
        process.communicate()


def _ready(process: subprocess.Popen[str], name: str, count: int, cores: Cores) -> _Fleet:
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "serving":
            address = str(event["addresses"][0])
            return _Fleet(name, cores, address, _workers(address, count))
    raise BenchError("the service did not start")


def _workers(address: str, count: int) -> list[int]:
    with grpc.insecure_channel(address) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        while True:
            status = stub.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=30)
            serving = [one.pid for one in status.workers if one.state == admin_service_pb2.SERVICE_STATE_SERVING]
            if len(serving) == count:
                return serving
            time.sleep(0.2)
