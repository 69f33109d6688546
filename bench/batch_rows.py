"""AuthorizeBatch of 1,000 questions: over gRPC, and the handler alone in the same process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc

from bench.bundle_files import write_bundle
from bench.processes import BenchError, Service, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.wire_requests import batch_request
from bench.workloads import Request, Sizes, World
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc

_BATCH = 1_000
_SIZES = Sizes(1_000, 1_000)
_TARGET = Target("most", 30.0)
_REPEATS = 5
_UNIT = "µs/question"


@dataclass(slots=True)
class _Kind:
    """Batches of one kind; a new one each time. µs for each question, by round."""

    name: str
    batches: Sequence[Sequence[Request]]
    wire: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    handler: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)


def batch_rows(run: Run) -> list[Section]:
    """What one question of a batch costs."""
    work = run.directory("batch")
    world = World(_SIZES)
    write_bundle(world, work / "bundle")
    cedar: list[float] = []
    count = (run.rounds + 1) * _REPEATS
    kinds = [
        _Kind("one agent, one tool", [_one_tool(world, number) for number in range(count)]),
        _Kind("many agents, many tools", [world.requests("hot", seed, _BATCH) for seed in range(count)]),
    ]
    config = service_config(work / "bundle", log=work / "decisions.log")
    with (
        python_service("bench.service", config, run.cores, work / "errors") as service,
        grpc.insecure_channel(service.address, [("grpc.max_receive_message_length", -1)]) as channel,
    ):
        stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
        for number in range(run.rounds + 1):
            run.say(f"batch: round {number} of {run.rounds}")
            for kind in kinds:
                _round(stub, service, kind, number, work)
            cedar.append(service.ask(do="cedar", sizes=asdict(_SIZES), count=_BATCH, seed=number)["us"])
    for kind in kinds:
        del kind.wire[0], kind.cpu[0], kind.handler[0], kind.messages[0]  # the first round warmed up
    del cedar[0]
    detail = "the same policies, entities and contexts, made beforehand; by CPU time"
    detail += f"; fastest and slowest round {min(cedar):.3g} and {max(cedar):.3g}"
    floor = Row("cedarpy alone: one agent, one tool", _UNIT, cedar, detail=detail)
    title = f"AuthorizeBatch of {_BATCH:,} distinct questions (1,000 policies, no decision cache, decisions logged)"
    notes = ["each question has arguments of its own; every answer of every batch was the right one"]
    return [Section(title, [floor, *(row for kind in kinds for row in _rows(kind, cedar))], notes)]


def _one_tool(world: World, seed: int) -> list[Request]:
    tool = world.tools[0]
    numbers = range(seed * _BATCH, (seed + 1) * _BATCH)
    return [Request(0, tool, world.arguments(tool, "reader", number), "") for number in numbers]


def _round(
    stub: decision_service_pb2_grpc.DecisionServiceStub, service: Service, kind: _Kind, number: int, work: Path
) -> None:
    wire, cpu, handler, messages = [], [], [], []
    for requests in kind.batches[number * _REPEATS : (number + 1) * _REPEATS]:
        message = batch_request(requests)
        before = service.ask(do="cpu")["us"]
        started = time.perf_counter()
        response = stub.AuthorizeBatch(message)
        wire.append((time.perf_counter() - started) * 1e6)
        cpu.append(service.ask(do="cpu")["us"] - before)
        _check(requests, response)
        (work / "request").write_bytes(message.SerializeToString())
        inside = service.ask(do="batch", request=str(work / "request"), log=str(work / "handler.log"))
        handler.append(inside["handler"])
        messages.append(inside["messages"])
    for rounds, times in ((kind.wire, wire), (kind.cpu, cpu), (kind.handler, handler), (kind.messages, messages)):
        rounds.append(sorted(times)[_REPEATS // 2] / _BATCH)


def _check(requests: Sequence[Request], response: decision_service_pb2.AuthorizeBatchResponse) -> None:
    for request, result in zip(requests, response.results, strict=True):
        denial = result.response.denial
        answer = decision_pb2.DenialCode.Name(denial.code).removeprefix("DENIAL_CODE_") if denial.code else ""
        if result.WhichOneof("result") != "response" or answer != request.answer:
            raise BenchError(f"batch: `{answer}` instead of `{request.answer}`")


def _rows(kind: _Kind, cedar: Sequence[float]) -> list[Row]:
    floor = "cedarpy alone"
    # No ratio tells how fast the machine was meanwhile.
    seen = f"seen by the client; fastest and slowest round {min(kind.wire):.3g} and {max(kind.wire):.3g}"
    return [
        Row(f"{kind.name}: over gRPC", _UNIT, kind.wire, target=_TARGET, detail=seen),
        Row(
            f"{kind.name}: CPU time of the server",
            _UNIT,
            kind.cpu,
            floor,
            cedar,
            detail="for the same calls, all its threads",
        ),
        Row(
            f"{kind.name}: handler alone",
            _UNIT,
            kind.handler,
            floor,
            cedar,
            detail="called in the server's process; by CPU time",
        ),
        Row(f"{kind.name}: reading and writing messages", _UNIT, kind.messages, floor, cedar, detail="by CPU time"),
    ]
