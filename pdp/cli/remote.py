"""Asking a running service: its address, a channel, and what went wrong where there is no answer."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from pdp._gen.pdp.v1 import admin_service_pb2
from pdp.addresses import host_of, is_local
from pdp.cli.documents import read_file
from pdp.cli.failure import CommandError
from pdp.cli.options import DEFAULT_ADDRESS
from pdp.errors import Problem
from pdp.status import DOMAIN

_Answer = TypeVar("_Answer", bound=Message)

#: What the command line sends and takes; the service has its own limit for what it takes.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@contextmanager
def connected(arguments: Namespace) -> Iterator[grpc.Channel]:
    """A channel to the address that `--address` or `$PDP_ADDRESS` names, or the usual one."""
    address = address_of(arguments)
    _ = _key_of(arguments, address)  # what is wrong with it is told before anything is sent
    options: list[tuple[str, int]] = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
    if is_local(host_of(address)):
        # A proxy for the network is not for this machine.
        options.append(("grpc.enable_http_proxy", 0))
    credentials = _tls_of(arguments)
    with (
        grpc.insecure_channel(address, options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    ) as channel:
        yield channel


def address_of(arguments: Namespace) -> str:
    """The address to ask. Raises CommandError if it is not one."""
    address = arguments.address or os.environ.get("PDP_ADDRESS") or DEFAULT_ADDRESS
    try:
        host_of(address)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return address


def ask(
    rpc: Callable[..., _Answer],
    request: Message | Iterator[Message],
    arguments: Namespace,
    findings: tuple[str, ...] = (),
) -> _Answer:
    """The answer of the service. Raises CommandError where there is none.

    An error whose reason begins with one of `findings` is what was to be found out: it ends with 1.
    """
    address = address_of(arguments)
    try:
        return rpc(request, timeout=arguments.timeout, metadata=_metadata(arguments, address))
    except grpc.RpcError as error:
        # What a stub raises is a call as well; the types of grpc do not say so.
        call: grpc.Call = error  # type: ignore[assignment]
        raise _failure(call, address, arguments.timeout, findings) from error


def _tls_of(arguments: Namespace) -> grpc.ChannelCredentials | None:
    """How the connection is encrypted, or None if it is not."""
    ca = arguments.tls_ca or os.environ.get("PDP_TLS_CA")
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        raise CommandError("`--tls-certificate` and `--tls-key` go together")
    if not (ca or arguments.tls):
        if arguments.tls_certificate is not None:
            raise CommandError("`--tls-certificate` needs `--tls` or `--tls-ca`")
        return None
    pems = [read_file(path) if path else None for path in (ca, arguments.tls_key, arguments.tls_certificate)]
    return grpc.ssl_channel_credentials(*pems)


def _key_of(arguments: Namespace, address: str) -> str:
    """The key that says who calls, empty for none. It is not sent in clear over a network."""
    path = arguments.caller_key_file
    key = read_file(path).decode("utf-8", "replace").strip() if path else os.environ.get("PDP_CALLER_KEY", "")
    if not key:
        return ""
    if not (key.isascii() and key.isprintable()):
        raise CommandError("the caller's key is not made of printable ASCII characters")
    if not is_local(host_of(address)) and _tls_of(arguments) is None:
        raise CommandError(f"the caller's key is not sent to `{address}` without TLS; give `--tls` or `--tls-ca`")
    return key


def _metadata(arguments: Namespace, address: str) -> list[tuple[str, str]]:
    key = _key_of(arguments, address)
    return [("authorization", f"Bearer {key}")] if key else []


def refusal(status: status_pb2.Status, answerer: str, findings: tuple[str, ...] = ()) -> CommandError:
    """The failure that an error status amounts to, from a service or from this process; `findings` as for `ask`."""
    code = enum_name(code_pb2.Code, status.code, "")
    info = _error_info(status)
    field = info.metadata.get("field", "") if info else ""
    place = f" (field `{field}`)" if field else ""
    facts = {"code": code, "reason": info.reason if info else "", "field": field}
    if facts["reason"].startswith(findings):
        return CommandError(status.message, facts, 1)
    return CommandError(f"{answerer} answered {code}: {status.message}{place}", facts)


def enum_name(enum: Any, number: int, prefix: str) -> str:
    """The name of a protobuf enum's value without its prefix; the number where a newer service has a newer value."""
    value = enum.DESCRIPTOR.values_by_number.get(number)
    return str(number) if value is None else str(value.name).removeprefix(prefix)


def read_problems(problems: Iterable[admin_service_pb2.BundleProblem]) -> list[Problem]:
    """Problems from the wire; what is not known to be a warning is an error."""
    return [
        Problem(
            problem.path,
            problem.line,
            problem.column,
            problem.message,
            "warning" if problem.severity == admin_service_pb2.SEVERITY_WARNING else "error",
        )
        for problem in problems
    ]


def _failure(call: grpc.Call, address: str, timeout: float, findings: tuple[str, ...]) -> CommandError:
    code = call.code()
    status = _status(call)
    if status is not None and _error_info(status) is not None:
        return refusal(status, f"the service at `{address}`", findings)
    facts = {"code": code.name, "reason": "", "field": ""}
    details = call.details() or "no details"
    explained: Mapping[grpc.StatusCode, str] = {
        grpc.StatusCode.UNAVAILABLE: f"no service can be reached at `{address}`: {details}",
        grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from `{address}` within {timeout:g} seconds",
        grpc.StatusCode.UNIMPLEMENTED: f"what listens at `{address}` does not serve this call: {details}",
    }
    return CommandError(explained.get(code, f"`{address}` answered {code.name}: {details}"), facts)


def _status(call: grpc.Call) -> status_pb2.Status | None:
    try:
        status: status_pb2.Status | None = rpc_status.from_call(call)
    except ValueError:  # details that contradict the code are not to be believed
        return None
    return status


def _error_info(status: status_pb2.Status) -> error_details_pb2.ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None
