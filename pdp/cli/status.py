"""`pdp status`: how a running service is."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp._gen.pdp.v1 import admin_service_pb2_grpc, interceptor_pb2
from pdp.bundle.layout import printable
from pdp.cli.check import counts_text
from pdp.cli.documents import message_document
from pdp.cli.remote import ask, connected, enum_name, read_problems
from pdp.cli.terminal import answer, answer_json, counted, duration_text, painted, problem_line

_COLORS = {pb.SERVICE_STATE_SERVING: "green", pb.SERVICE_STATE_DEGRADED: "yellow"}


def run(arguments: Namespace) -> int:
    """Ask and print; 0 if the service serves, 1 if anything is wrong with it. Raises CommandError without an answer."""
    with connected(arguments) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        status = ask(stub.GetStatus, pb.GetStatusRequest(), arguments)
    if arguments.json:
        answer_json(message_document(status))
    else:
        for line in _lines(status):
            answer(line)
    return 0 if status.state == pb.SERVICE_STATE_SERVING else 1


def calls_text(status: pb.InterceptorStatus) -> str:
    """What an interceptor did: `3 calls, 2 passed, 1 failed (trap), mean 84 us, last failure 2026-01-31 …`."""
    done = {"passed": status.passed, "transformed": status.transformed, "denied": status.denied}
    parts = [counted(status.calls, "call"), *(f"{number} {word}" for word, number in done.items() if number)]
    if status.failures:
        failed = sum(failures.count for failures in status.failures)
        parts.append(f"{failed} failed ({', '.join(map(_failures_text, status.failures))})")
    if status.calls:
        parts.append(f"mean {duration_text(status.total_duration.ToNanoseconds() // status.calls)}")
    if status.HasField("last_failure_at"):
        parts.append(f"last failure {_moment(status.last_failure_at)}")
    text = ", ".join(parts)
    return text if status.healthy else painted(f"unhealthy, {text}", "red")


def _failures_text(failures: pb.InterceptorFailures) -> str:
    name = enum_name(interceptor_pb2.ErrorClass, failures.error_class, "ERROR_CLASS_").lower()
    return name if failures.count == 1 else f"{name} {failures.count}"


def _lines(status: pb.GetStatusResponse) -> Iterator[str]:
    yield painted(_state_name(status.state), _COLORS.get(status.state, "red"))
    if status.shadow.nothing_enforced:
        yield painted("NOTHING IS ENFORCED: every call is allowed, and decisions are only reported", "red")
    for reason in status.degraded_reasons:
        yield f"  {painted('because', 'yellow')} {printable(reason)}"
    for name, value in _facts(status):
        yield f"  {name:<9} {printable(value)}"
    for interceptor in status.interceptors:
        shadow = " (shadow)" if interceptor.mode == interceptor_pb2.INTERCEPTOR_MODE_SHADOW else ""
        yield f"  interceptor `{printable(interceptor.name)}`{shadow}: {calls_text(interceptor)}"
    yield from _shadow_lines(status.shadow)
    for problem in read_problems(status.problems):
        yield f"  {problem_line(problem, sys.stdout)}"


def _shadow_lines(shadow: pb.ShadowStatus) -> Iterator[str]:
    """What is evaluated and not enforced."""
    for policy in shadow.policies:
        flips = counted(policy.flips, "flip")
        text = f"{counted(policy.matches, 'match')}, {painted(flips, 'yellow') if policy.flips else flips}"
        yield f"  shadow policy `{printable(policy.policy_id)}`: {text}"
    if shadow.HasField("candidate"):
        yield from _candidate_lines(shadow.candidate)


def _candidate_lines(candidate: pb.CandidateStatus) -> Iterator[str]:
    name = candidate.bundle_name or "(without a name)"
    what = f"`{name}`, revision {candidate.revision}, {candidate.source}" if candidate.revision else "does not load"
    yield f"  candidate {printable(what)}"
    for reason in candidate.degraded_reasons:
        yield f"    {painted('because', 'yellow')} {printable(reason)}"
    different = {
        "newly allowed": candidate.newly_allowed,
        "newly denied": candidate.newly_denied,
        "otherwise different": candidate.otherwise_different,
    }
    numbers = (painted(f"{number} {word}", "yellow") if number else f"0 {word}" for word, number in different.items())
    yield f"    {', '.join([f'{candidate.compared} compared', *numbers, f'{candidate.skipped} skipped'])}"
    for policy in candidate.policies:
        yield f"    `{printable(policy.policy_id)}`: {counted(policy.flips, 'flip')}"


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
