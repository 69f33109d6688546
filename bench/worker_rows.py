"""Two workers on two cores, and the load on both, beside one worker on one core with its load on the same or the other.

Where callers run matters: one on the worker's own core finds its messages in the core's caches and wakes no other core.
Two services that share nothing, each with its load on the other's core, tell what the machine itself takes.
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
from dataclasses import dataclass, field, replace
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
_MORE_SECONDS = 0.5


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
    """Uncached Authorize, every answer logged to a file."""
    section = Section("workers: uncached Authorize, 1,000 policies; as many cores as workers")
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
        one = stack.enter_context(_fleet("1 worker", 1, work, Cores(run.cores.server, run.cores.server)))
        asked_across = replace(one, cores=run.cores, busy=[], yields=[])
        two = stack.enter_context(_fleet("2 workers", 2, work, Cores(None, None)))
        crossed = (run.cores, Cores(run.cores.load, run.cores.server))
        apart = [stack.enter_context(_fleet(f"service {n}", 1, work, cores)) for n, cores in enumerate(crossed)]
        sets = [[one], [asked_across], [two], apart]
        seconds = 1 if run.quick else 3
        for number in range(run.rounds + 1):
            run.say(f"workers: round {number} of {run.rounds}")
            for fleets in sets if number % 2 else reversed(sets):
                _load_all(fleets, body, seconds)
    for fleet in (one, asked_across, two, *apart):
        del fleet.busy[0], fleet.yields[0]
    each = [2 / (1 / first + 1 / second) for first, second in zip(apart[0].yields, apart[1].yields, strict=True)]
    section.rows = [
        Row("1 worker, load on its core: cores kept busy", "cores", one.busy),
        Row("2 workers, load on both: cores kept busy", "cores", two.busy, "1 worker", one.busy, Target("least", 1.7)),
        Row("1 worker, load on its core", _YIELD, one.yields),
        Row("1 worker, load on another core", _YIELD, asked_across.yields, _SAME, one.yields),
        Row("2 services, load of each on the other's core", _YIELD, each, _SAME, one.yields),
        Row("2 workers, load on both", _YIELD, two.yields, _SAME, one.yields, _WITHIN),
        Row("2 workers, load on both", _YIELD, two.yields, _OTHER, asked_across.yields, _WITHIN),
    ]
    section.notes.append(
        "h2load takes its share of the cores where it is on the same; decisions are for a second of CPU time"
    )
    return section


_WITHIN = Target("least", 0.9)
_YIELD = "decisions/s of CPU"
_SAME, _OTHER = "1 worker, load on its core", "1 worker, load on another core"


def _load_all(fleets: Sequence[_Fleet], body: Path, seconds: int) -> None:
    with ThreadPoolExecutor(len(fleets)) as pool:
        for loaded in [pool.submit(_load, fleet, body, seconds) for fleet in fleets]:
            loaded.result()


def _load(fleet: _Fleet, body: Path, seconds: int) -> None:
    # By time and not by number: the system gives one worker more connections than another, and who has fewer would be
    # done early and rest.
    command = ["h2load", "-c", str(_CONNECTIONS), "-m", "4", "-t", "1", *_HEADERS, "-D", str(seconds), "-d", str(body)]
    before, started = _spent(fleet.pids), time.monotonic()
    output = output_of([*command, grpc_url(fleet.address, "Authorize")], fleet.cores)
    took, spent = time.monotonic() - started, _spent(fleet.pids) - before
    counts = _COUNTS.search(output)
    if counts is None or counts.groups()[1:] != (counts.group(1), "0", "0") or took > seconds + _MORE_SECONDS:
        raise BenchError(f"{fleet.name}: not every call was answered:\n{output}")
    fleet.busy.append(spent / took)
    fleet.yields.append(int(counts.group(2)) / spent)


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
