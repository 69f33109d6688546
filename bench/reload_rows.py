"""How long a change of a bundle takes to be served."""

from __future__ import annotations

import time
from pathlib import Path

import grpc

from bench.bundle_files import tool_policies, write_bundle
from bench.processes import BenchError, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.unary_rows import questions
from bench.wire_requests import authorize_request
from bench.workloads import LOWEST_ISSUE, Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2_grpc

_SIZES = Sizes(10_000, 1_000)
_QUICK_SIZES = Sizes(1_000, 1_000)
_TARGET = Target("most", 1.0)
_POLL_SECONDS = 0.01
#: Between two changes: the service writes its last good copy after a new revision is in force.
_REST_SECONDS = 2.0
_LONGEST_SECONDS = 60.0


def reload_rows(run: Run) -> list[Section]:
    """From writing one small file to the first answer that follows from it; the watcher is on."""
    sizes = _QUICK_SIZES if run.quick else _SIZES
    world = World(sizes)
    work = run.directory("reload")
    bundle = work / "bundle"
    write_bundle(world, bundle, schema=True, file_per_tool=True)
    files = sum(1 for path in bundle.rglob("*") if path.is_file())
    run.say(f"reload: {files:,} files")
    watching = {"watch": True, "last_good_dir": str(work / "last-good")}
    config = service_config(bundle, bundle=watching)
    with (
        python_service("bench.service", config, run.cores, work / "errors") as service,
        grpc.insecure_channel(service.address) as channel,
    ):
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        changes = []
        for number in range(run.rounds):
            time.sleep(_REST_SECONDS)
            run.say(f"reload: change {number + 1} of {run.rounds}")
            changes.append(_change(stub, world, bundle))
        ready = service.ready
    seconds, waits = zip(*changes, strict=True)
    detail = f"watcher's quiet time of 0.05 s included; slowest answer meanwhile {max(waits) * 1000:.0f} ms"
    first = f"with validation; {ready['load_cpu_seconds']:.3g} s of CPU; {ready['rss_mib']:.0f} MiB resident after it"
    rows = [
        Row("first load", "s", [ready["load_seconds"]], detail=first),
        Row("one small policy file changed", "s", seconds, target=_TARGET, detail=detail),
    ]
    return [Section(f"reload of {sizes.policies:,} policies in {files:,} files, with a schema", rows)]


def _change(stub: decision_service_pb2_grpc.DecisionServiceStub, world: World, bundle: Path) -> tuple[float, float]:
    """Turn one answer round: seconds until it is served, and the slowest answer until then."""
    allowed, _ = questions(world)
    message = authorize_request(allowed)
    before = stub.Authorize(message)
    path = tool_policies(bundle, allowed.tool)
    text = path.read_text()
    low, high = f"> {LOWEST_ISSUE} ", f"> {10**15} "
    changed = text.replace(low, high) if low in text else text.replace(high, low)
    started = time.perf_counter()
    path.write_text(changed)
    slowest = 0.0
    while time.perf_counter() - started < _LONGEST_SECONDS:
        asked = time.perf_counter()
        answer = stub.Authorize(message)
        answered = time.perf_counter()
        slowest = max(slowest, answered - asked)
        if answer.revision != before.revision:
            if {answer.decision, before.decision} != {decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY}:
                raise BenchError("reload: the new revision does not answer as it says")
            return answered - started, slowest
        time.sleep(_POLL_SECONDS)
    raise BenchError("reload: the change is not served after a minute")
