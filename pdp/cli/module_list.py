"""`pdp module list`: the interceptors of a running service."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp._gen.pdp.v1 import admin_service_pb2_grpc, interceptor_pb2
from pdp.bundle.layout import printable
from pdp.cli.documents import message_document
from pdp.cli.remote import ask, connected, enum_name
from pdp.cli.status import calls_text
from pdp.cli.terminal import answer, answer_json, painted


def run(arguments: Namespace) -> int:
    """List them. Raises CommandError where there is no answer."""
    with connected(arguments) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        listed = ask(stub.ListInterceptors, pb.ListInterceptorsRequest(), arguments)
        if arguments.json:
            answer_json(message_document(listed))
            return 0
        status = ask(stub.GetStatus, pb.GetStatusRequest(), arguments)
    # Between the two questions the bundle may have changed; what another module did is not this one's.
    calls = {(each.name, each.sha256): each for each in status.interceptors}
    for interceptor in listed.interceptors:
        for line in _lines(interceptor, calls.get((interceptor.binding.name, interceptor.binding.sha256))):
            answer(line)
    answer(painted(f"revision {printable(listed.revision)}", "dim"))
    return 0


def _lines(interceptor: pb.Interceptor, status: pb.InterceptorStatus | None) -> Iterator[str]:
    binding = interceptor.binding
    phases = " and ".join(_word(interceptor_pb2.Phase, phase, "PHASE_") for phase in binding.phases)
    tools = ", ".join(f"`{printable(pattern)}`" for pattern in binding.tools)
    yield f"`{printable(binding.name)}` on {phases} of {tools}, order {binding.order}"
    yield f"  {_terms_text(binding)}"
    if status is not None:
        yield f"  {calls_text(status)}"
    kind = _word(pb.ModuleKind, interceptor.kind, "MODULE_KIND_")
    origin = _word(pb.InterceptorOrigin, interceptor.origin, "INTERCEPTOR_ORIGIN_")
    about = f"{kind}, {interceptor.size_bytes} bytes, {origin}, sha256 {printable(binding.sha256)}"
    yield painted(f"  {about}", "dim")


def _terms_text(binding: interceptor_pb2.InterceptorBinding) -> str:
    """What its answers count for and what it may use: `enforce, on error deny; 50 ms, 16 MiB, 50000000 fuel`."""
    mode = _word(interceptor_pb2.InterceptorMode, binding.mode, "INTERCEPTOR_MODE_")
    on_error = _word(interceptor_pb2.OnError, binding.on_error, "ON_ERROR_")
    transforms = ", may transform" if binding.may_transform else ""
    limits = f"{binding.timeout.ToMilliseconds()} ms, {binding.memory_mib} MiB, {binding.fuel} fuel"
    return f"{mode}, on error {on_error}{transforms}; {limits}"


def _word(enum: Any, number: int, prefix: str) -> str:
    return enum_name(enum, number, prefix).lower()
