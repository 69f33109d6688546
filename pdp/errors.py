"""The one error hierarchy. Foreign exceptions are translated into these where they enter.

Two kinds of mistake never mix: what the *agent* got wrong is a denial (a value, never an exception that
leaves the core), what the *caller* got wrong is an exception that the error boundary turns into an RPC error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class PdpError(Exception):
    """Base of every error this project raises on purpose."""


class InvalidRequestError(PdpError):
    """The caller's request is malformed.

    `field` is the path of the field in the request message (`subject.entity.type`), `reason` an upper-case
    constant for programs (`MISSING_FIELD`), the text is for people.
    """

    def __init__(self, field: str, message: str, reason: str = "INVALID_FIELD") -> None:
        self.message = _cut(message)
        super().__init__(self.message)
        self.field = field
        self.reason = reason


#: Messages repeat what was sent and travel in the trailers of a call, twice; clients take trailers of 8 KiB.
_MAX_MESSAGE_BYTES = 1_000


def _cut(message: str) -> str:
    shown = message.encode("utf-8", "backslashreplace")
    if len(shown) <= _MAX_MESSAGE_BYTES:
        return shown.decode()
    return shown[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore") + "…"


class InvalidArgumentsError(PdpError):
    """The agent's arguments cannot be represented in Cedar. Becomes a denial, never an RPC error.

    `path` is a JSON Pointer (RFC 6901) into the arguments; empty for the whole document.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path or '(arguments)'}: {message}")
        self.path = path
        self.message = message


class UnavailableError(PdpError):
    """No snapshot is loaded yet, or the service is draining."""


class UnauthenticatedError(PdpError):
    """The caller has not shown who it is."""


class PermissionDeniedError(PdpError):
    """The caller is known, and may not do this."""


class DeadlineExceededError(PdpError):
    """The caller's deadline passed before the answer was ready."""


class ConfigError(PdpError):
    """Configuration is wrong; `problems` holds every mistake, one text each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with a bundle.

    `path` is relative to the bundle's root; `line` and `column` count from 1, and are 0 where the problem is the
    file itself (missing, too large, not UTF-8).
    """

    path: str
    line: int
    column: int
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        return f"{place}: {self.severity}: {self.message}"


class BundleError(PdpError):
    """A bundle does not load; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class NotFoundError(PdpError):
    """What is to be changed is not there."""


class FailedPreconditionError(PdpError):
    """The service is not in a state in which this can be done."""


class OverLimitError(PdpError):
    """A request is larger than this service takes."""


class OverloadedError(PdpError):
    """The service has more to do than it can; the same call may be answered later."""


class RateLimitedError(PdpError):
    """The caller asks more often than it may. `retry_seconds` is when it may ask this again."""

    def __init__(self, retry_seconds: float) -> None:
        super().__init__("this caller asks more often than it may")
        self.retry_seconds = retry_seconds


class InvalidTokenError(PdpError):
    """The agent's token does not establish a subject. Becomes a denial; the cause is for the log only."""
