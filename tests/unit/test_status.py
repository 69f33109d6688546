"""The error boundary: what callers see of an exception, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from pdp import errors
from pdp.status import guard_stream, guard_unary, status_of

Logs = list[MutableMapping[str, Any]]

EXPECTED: list[tuple[errors.PdpError, int, str, str]] = [
    (errors.InvalidRequestError("a.b", "wrong", "TOO_LONG"), code_pb2.INVALID_ARGUMENT, "TOO_LONG", "wrong"),
    (errors.InvalidRequestError("a", "wrong"), code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", "wrong"),
    (errors.UnauthenticatedError("who"), code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED", "who"),
    (errors.PermissionDeniedError("no"), code_pb2.PERMISSION_DENIED, "PERMISSION_DENIED", "no"),
    (errors.UnavailableError("not yet"), code_pb2.UNAVAILABLE, "UNAVAILABLE", "not yet"),
    (errors.DeadlineExceededError("late"), code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "late"),
    (errors.OverLimitError("much"), code_pb2.RESOURCE_EXHAUSTED, "OVER_LIMIT", "much"),
    (errors.OverloadedError("busy"), code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", "busy"),
    (
        errors.RateLimitedError(2.5),
        code_pb2.RESOURCE_EXHAUSTED,
        "RATE_LIMITED",
        "this caller asks more often than it may",
    ),
    (errors.NotFoundError("nobody"), code_pb2.NOT_FOUND, "NOT_FOUND", "nobody"),
    (errors.FailedPreconditionError("not now"), code_pb2.FAILED_PRECONDITION, "FAILED_PRECONDITION", "not now"),
]
INTERNAL = [
    ValueError("the cause"),
    KeyError("the cause"),
    RecursionError("the cause"),
    MemoryError("the cause"),
    OSError(28, "the cause"),
    grpc.RpcError("the cause"),
    errors.ConfigError(["the cause"]),
    errors.BundleError([errors.Problem("the cause", 0, 0, "x")]),
    errors.InvalidTokenError("the cause"),
    errors.InvalidArgumentsError("/the cause", "x"),
]


class Context:
    """Stands for grpc's context: ends the call with a bare exception, as grpc's does."""

    def __init__(self) -> None:
        self.ends: list[tuple[Any, str]] = []

    def is_active(self) -> bool:
        """The caller waits."""
        return True

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        """End the call."""
        self.ends.append((code, details))
        raise Exception  # noqa: TRY002 - grpc's very exception

    def abort_with_status(self, status: Any) -> None:
        """End the call."""
        self.ends.append((status, status.details))
        raise Exception  # noqa: TRY002 - grpc's very exception


def _unary(error: BaseException | None) -> Callable[..., Any]:
    def answer(request: str, context: Any) -> str:
        if error is not None:
            raise error
        return request.upper()

    return guard_unary("Service.Rpc", answer)


def _stream(error: BaseException | None, after: int) -> Callable[..., Any]:
    def answer(request: str, context: Any) -> Iterator[str]:
        yield from request[:after]
        if error is not None:
            raise error

    return guard_stream("Service.Rpc", answer)


def _drained(handler: Callable[..., Iterator[Any]]) -> Callable[..., list[Any]]:
    return lambda request, context: list(handler(request, context))


@pytest.mark.parametrize(("error", "code", "reason", "message"), EXPECTED)
def test_expected_errors_have_a_status(error: errors.PdpError, code: int, reason: str, message: str) -> None:
    """An expected error has its code, its text, and an ErrorInfo with reason, domain and, for a request, the field."""
    status = status_of(error)
    assert status is not None
    assert (status.code, status.message) == (code, message)
    detail = status.details[0]
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain) == (reason, "pdp.v1")
    assert dict(info.metadata) == ({"field": error.field} if isinstance(error, errors.InvalidRequestError) else {})


@pytest.mark.parametrize("error", [error for error in INTERNAL if isinstance(error, errors.PdpError)])
def test_errors_that_callers_may_not_see_have_none(error: errors.PdpError) -> None:
    """What is wrong with a bundle, a configuration or a token is not for callers."""
    assert status_of(error) is None


def test_every_kind_of_error_was_thought_of() -> None:
    """Each error of this project is either for callers or not, by decision."""
    kinds = {type(error) for error, *_ in EXPECTED} | {type(error) for error in INTERNAL}
    assert {kind for kind in errors.PdpError.__subclasses__() if kind.__module__ == "pdp.errors"} <= kinds


@pytest.mark.parametrize("error", INTERNAL)
@pytest.mark.parametrize("streamed", [None, 0, 2])
def test_a_bug_is_internal_and_its_cause_stays_here(error: Exception, streamed: int | None, logs: Logs) -> None:
    """The caller gets INTERNAL, a fixed text and an error id; the cause is in the log under that id, and only there."""
    context = Context()
    guarded = _unary(error) if streamed is None else _drained(_stream(error, streamed))
    with pytest.raises(Exception, match=r"^$"):
        guarded("abc", context)
    [(code, details)] = context.ends
    assert code is grpc.StatusCode.INTERNAL
    assert details.startswith("internal error ")
    [event] = logs
    assert (event["event"], event["rpc"], event["exc_info"]) == ("internal error", "Service.Rpc", error)
    assert details == f"internal error {event['error_id']}"
    assert "cause" not in details


@pytest.mark.parametrize(("error", "code", "reason", "message"), EXPECTED)
def test_expected_errors_end_the_call_once_and_are_not_logged(
    error: errors.PdpError, code: int, reason: str, message: str, logs: Logs
) -> None:
    """An expected error ends the call with its status, exactly once, and makes no noise."""
    for guarded in (_unary(error), _drained(_stream(error, 1))):
        context = Context()
        with pytest.raises(Exception, match=r"^$"):
            guarded("abc", context)
        [(status, details)] = context.ends
        assert status.code.value[0] == code
        assert details == message
        sent = dict(status.trailing_metadata)
        assert status_pb2.Status.FromString(sent["grpc-status-details-bin"]).message == message
    assert logs == []


def test_good_answers_pass() -> None:
    """Without an error the boundary changes nothing."""
    context = Context()
    assert _unary(None)("abc", context) == "ABC"
    assert list(_stream(None, 2)("abc", context)) == ["a", "b"]
    assert context.ends == []


def test_what_is_no_error_passes_too() -> None:
    """An interrupt or the end of the interpreter is not held up."""
    for raised in (KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(raised)):
            _unary(raised)("abc", Context())


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "\U0001f600" * 50_000, "\n" * 10_000, "\ud800" * 10_000, "é\0" * 9_999]
)
def test_long_messages_are_cut(text: str) -> None:
    """A message repeats what was sent, and it must fit into trailers that every client takes, however it is encoded."""
    error = errors.InvalidRequestError("a", text)
    status = status_of(error)
    assert status is not None
    percent_encoded = sum(1 if 32 <= byte < 127 else 3 for byte in status.message.encode())
    base64_encoded = len(status.SerializeToString()) * 4 // 3
    assert percent_encoded + base64_encoded < 7_000
    assert status.message.endswith("…")
    assert error.message == str(error) == status.message
