"""The one error boundary: every exception that leaves a handler becomes a gRPC status here, and nowhere else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from pdp import errors

DOMAIN = "pdp.v1"

_CODES: tuple[tuple[type[errors.PdpError], int, str], ...] = (
    (errors.InvalidRequestError, code_pb2.INVALID_ARGUMENT, "INVALID_FIELD"),
    (errors.UnauthenticatedError, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED"),
    (errors.PermissionDeniedError, code_pb2.PERMISSION_DENIED, "PERMISSION_DENIED"),
    (errors.UnavailableError, code_pb2.UNAVAILABLE, "UNAVAILABLE"),
    (errors.DeadlineExceededError, code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    (errors.NotFoundError, code_pb2.NOT_FOUND, "NOT_FOUND"),
    (errors.FailedPreconditionError, code_pb2.FAILED_PRECONDITION, "FAILED_PRECONDITION"),
    (errors.OverLimitError, code_pb2.RESOURCE_EXHAUSTED, "OVER_LIMIT"),
    (errors.OverloadedError, code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED"),
    (errors.RateLimitedError, code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
)

_log = structlog.get_logger("pdp.rpc")


def status_of(error: errors.PdpError) -> status_pb2.Status | None:
    """The status that an expected error amounts to, or None if it is not one that callers may see."""
    for kind, code, reason in _CODES:
        if isinstance(error, kind):
            info = error_details_pb2.ErrorInfo(reason=getattr(error, "reason", reason), domain=DOMAIN)
            if isinstance(error, errors.InvalidRequestError):
                info.metadata["field"] = error.field
            details: list[Message] = [info]
            if isinstance(error, errors.RateLimitedError):
                retry = error_details_pb2.RetryInfo()
                retry.retry_delay.FromNanoseconds(int(error.retry_seconds * 1e9))
                details.append(retry)
            return status_pb2.Status(code=code, message=str(error), details=map(_packed, details))
    return None


def trailers(error: errors.PdpError) -> Any:
    """The trailing metadata with which an expected error ends a call."""
    return rpc_status.to_status(status_of(error)).trailing_metadata


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def guard_unary(name: str, handler: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[..., Any]:
    """`handler` with the boundary around it."""

    def guarded(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(request, context)
        except Exception as error:  # noqa: BLE001 - the boundary
            failure = error
        try:
            _abort(name, failure, context)
        finally:
            # Its traceback holds this frame, which holds it: the call would stay in memory until cycles are looked for.
            del failure

    return guarded


def guard_stream(name: str, handler: Callable[[Any, grpc.ServicerContext], Iterator[Any]]) -> Callable[..., Any]:
    """`handler`, which answers with a stream, with the boundary around all of it."""

    def guarded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from handler(request, context)
        except Exception as error:  # noqa: BLE001 - the boundary
            failure = error
        else:
            return
        try:
            _abort(name, failure, context)
        finally:
            del failure  # as above

    return guarded


def _abort(name: str, error: Exception, context: grpc.ServicerContext) -> NoReturn:
    # `abort` itself raises a bare exception, so it is called outside of every `try`.
    if isinstance(error, grpc.RpcError) and not context.is_active():
        # What reading a stream of messages raises when the caller breaks it off; nobody will see this answer.
        context.abort(grpc.StatusCode.CANCELLED, "the caller broke off the call")
    status = status_of(error) if isinstance(error, errors.PdpError) else None
    if status is None:
        # The cause stays here: an exception's text can hold anything a caller sent, or more.
        error_id = secrets.token_hex(8)
        _log.error("internal error", rpc=name, error_id=error_id, exc_info=error)
        context.abort(grpc.StatusCode.INTERNAL, f"internal error {error_id}")
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort returned")
