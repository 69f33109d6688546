"""What the decision log costs: a record by itself, and the rate of Authorize with and without it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from bench.bundle_files import write_bundle
from bench.load import Endpoint, absolute, compared, grpc_url, load_by_turns
from bench.processes import BenchError, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.unary_rows import questions
from bench.wire_requests import authorize_request, framed
from bench.workloads import Request, Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2_grpc
from pdp.decision_log.backlog import Batch
from pdp.decision_log.draining import Checkpoints
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log.spool_sink import SpoolSink

_POLICIES, _ENTITIES = 1_000, 1_000
_RECORDS = 20_000
#: A record of one of the workload's calls is about so long.
_RECORD = '{"kind":"authorize","time":"2026-01-02T03:04:05.678901Z","filler":"' + 500 * "x" + '"}'
_MIB = 1 << 20


def decision_log_rows(run: Run) -> list[Section]:
    """The cost of a record, and of the log as a whole at its default settings."""
    return [_append_rows(run), _throughput_rows(run)]


class _Nowhere:
    """A medium that takes everything and costs nothing."""

    def export(self, batch: Batch) -> None:
        """Forget it."""

    def sync(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def _append_rows(run: Run) -> Section:
    section = Section(f"a record of {len(_RECORD)} bytes into the spool, CPU time of the calling thread")
    run.say("decision log: append")
    sink = SpoolSink(
        run.directory("spool"), 256 * _MIB, "block", lambda slot: _Nowhere(), Checkpoints(10, None), run.say
    )
    try:
        section.rows = [Row("chained and kept", "µs", [_per_record(sink) for _ in range(run.rounds)])]
    finally:
        sink.close()
    return section


def _per_record(sink: DecisionSink) -> float:
    started = time.thread_time_ns()
    for _ in range(_RECORDS):
        sink.write(_RECORD)
    return (time.thread_time_ns() - started) / _RECORDS / 1000


def _throughput_rows(run: Run) -> Section:
    section = Section(f"Authorize with and without the decision log (one core, {_POLICIES:,} policies)")
    if shutil.which("h2load") is None:
        section.notes.append("left out: h2load is missing (Debian: nghttp2-client)")
        return section
    world = World(Sizes(_POLICIES, _ENTITIES))
    work = run.directory("decision-log")
    write_bundle(world, work / "bundle")
    asked = questions(world)
    kinds: Mapping[str, Callable[[Path], dict[str, Any]]] = {
        "no log": lambda place: {"sink": "none"},
        "file, lines held in memory": lambda place: _file(place, ""),
        "file, by way of the spool": lambda place: _file(place, str(place / "spool")),
    }
    with ExitStack() as stack:
        found = {
            f"{name}, {cached}": _started(run, stack, work / f"{cached}-{number}", asked, log, cache)
            for cached, cache in (("uncached", 0), ("cached", 10_000))
            for number, (name, log) in enumerate(kinds.items())
        }
        seconds, rounds = (1.0, 3) if run.quick else (1.5, 12)
        load_by_turns(run, "decision log", list(found.values()), rounds, seconds)
    for cached in ("uncached", "cached"):
        silent, memory, spool = (found[f"{name}, {cached}"] for name in kinds)
        section.rows += [absolute(silent), compared(memory, silent, silent.name)]
        section.rows.append(compared(spool, silent, silent.name, Target("least", 0.85)))
    section.notes.append("every server that logs wrote a line for every answer, counted after the load")
    return section


def _file(place: Path, spool: str) -> dict[str, Any]:
    return {"sink": "file", "path": str(place / "decisions.log"), "spool_dir": spool}


def _started(
    run: Run,
    stack: ExitStack,
    place: Path,
    asked: tuple[Request, Request],
    log: Callable[[Path], dict[str, Any]],
    cache: int,
) -> Endpoint:
    place.mkdir()
    settings = log(place)
    config = service_config(place.parent / "bundle", authorize={"decision_cache": cache}, decision_log=settings)
    service = stack.enter_context(python_service("bench.service", config, run.cores, place / "errors"))
    with grpc.insecure_channel(service.address) as channel:
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        answers = [stub.Authorize(authorize_request(request)) for request in asked]
    name = (
        f"{settings['sink']}{' with spool' if settings.get('spool_dir') else ''}, {'cached' if cache else 'uncached'}"
    )
    if [answer.decision for answer in answers] != [decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY]:
        raise BenchError(f"{name}: the answers are wrong")
    body = place / "body"
    body.write_bytes(framed(authorize_request(asked[0]).SerializeToString()))
    path = Path(settings["path"]) if "path" in settings else None
    return Endpoint(name, service.pid, grpc_url(service.address, "Authorize"), body, path, b'"decision":"ALLOW"')
