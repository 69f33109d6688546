"""`pdp status`: how a running service is."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp._gen.pdp.v1 import admin_service_pb2_grpc
from pdp.bundle.layout import printable
from pdp.cli.check import counts_text
from pdp.cli.remote import ask, connected, enum_name
from pdp.cli.terminal import answer, answer_json, painted

_COLORS = {pb.SERVICE_STATE_SERVING: "green", pb.SERVICE_STATE_DEGRADED: "yellow"}


def run(arguments: Namespace) -> int:
    """Ask and print; 0 if the service serves, 1 if anything is wrong with it. Raises CommandError without an answer."""
    with connected(arguments) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        status = ask(stub.GetStatus, pb.GetStatusRequest(), arguments)
    if arguments.json:
        answer_json(
            json_format.MessageToDict(
                status, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
        )
    else:
        for line in _lines(status):
            answer(line)
    return 0 if status.state == pb.SERVICE_STATE_SERVING else 1


def _lines(status: pb.GetStatusResponse) -> Iterator[str]:
    yield painted(_state_name(status.state), _COLORS.get(status.state, "red"))
    for reason in status.degraded_reasons:
        yield f"  {painted('because', 'yellow')} {printable(reason)}"
    for name, value in _facts(status):
        yield f"  {name:<9} {printable(value)}"
    for problem in status.problems:
        place = f"{problem.path}:{problem.line}:{problem.column}" if problem.line else problem.path
        severity = enum_name(pb.Severity, problem.severity, "SEVERITY_").lower()
        yield f"  {printable(place)}: {severity}: {printable(problem.message)}"


def _facts(status: pb.GetStatusResponse) -> Iterator[tuple[str, str]]:
    if status.revision:
        yield "bundle", status.bundle_name or "(without a name)"
        yield "revision", status.revision
        yield "source", status.source
        yield "holds", counts_text(status.counts)
        yield "loaded", _moment(status.loaded_at)
    if status.HasField("last_reload_attempt"):
        yield "looked at", _moment(status.last_reload_attempt)
    yield "version", status.version
    yield "started", _moment(status.started_at)
    for worker in status.workers:
        yield "worker", f"{worker.pid}, {_state_name(worker.state)}"


def _state_name(state: pb.ServiceState.ValueType) -> str:
    return enum_name(pb.ServiceState, state, "SERVICE_STATE_").lower().replace("_", " ")


def _moment(stamp: Timestamp) -> str:
    return stamp.ToDatetime(UTC).isoformat(sep=" ", timespec="seconds")
