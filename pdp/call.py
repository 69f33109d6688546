"""A call as its handler sees it: who calls, and how long it will wait; and who gets as far as a handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import grpc
import structlog

from pdp.errors import UnauthenticatedError
from pdp.identity.caller_config import Right
from pdp.identity.callers import ANYONE, Caller, Callers

_log = structlog.get_logger("pdp.callers")

_TELL_SECONDS = 1.0


class Call(Protocol):
    """What handlers need of a call, however it came in."""

    @property
    def caller(self) -> Caller:
        """Who calls."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller no longer waits; None if it would wait for ever."""


class RpcCall(NamedTuple):
    """A gRPC call that was admitted."""

    caller: Caller
    context: grpc.ServicerContext

    def time_remaining(self) -> float | None:
        """As in `Call`.

        grpc reckons it by the machine's clock, which may be set, and ends calls by one that nobody sets: a deadline
        that has passed for a call that goes on says nothing.
        """
        seconds: float | None = self.context.time_remaining()
        return None if seconds == 0 and self.context.is_active() else seconds

    def is_active(self) -> bool:
        """Whether the caller is still there."""
        return bool(self.context.is_active())


class Admission:
    """Lets calls in: finds out who calls, and whether they have the right to. Counts and tells whom it refuses."""

    def __init__(self, callers: Callers) -> None:
        self.callers = callers
        self._lock = threading.Lock()
        self._told_at = -_TELL_SECONDS
        #: Calls refused because nobody knows who makes them.
        self.unauthenticated = 0

    def admit(self, context: grpc.ServicerContext, right: Right) -> RpcCall:
        """The call with its caller. Raises UnauthenticatedError or PermissionDeniedError."""
        if not self.callers.configured:
            return RpcCall(ANYONE, context)
        try:
            caller = self.callers.identify(*_credentials(context))
        except UnauthenticatedError:
            self._count(context.peer())
            raise
        caller.require(right)
        return RpcCall(caller, context)

    def _count(self, peer: str) -> None:
        with self._lock:
            self.unauthenticated += 1
            # Whoever guesses keys must not be able to fill a disk with it.
            if time.monotonic() - self._told_at < _TELL_SECONDS:
                return
            self._told_at = time.monotonic()
        _log.warning("caller refused", peer=peer, refused_so_far=self.unauthenticated)


def _credentials(context: grpc.ServicerContext) -> tuple[str | None, Sequence[str]]:
    """The `authorization` of a gRPC call and the names in its client certificate, as `Callers.identify` takes them.

    A header that was sent twice is taken for a wrong one: nobody knows which of the two was meant.
    """
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    authorization = None if not found else found[0] if len(found) == 1 else ""
    if isinstance(authorization, bytes):
        authorization = authorization.decode("latin-1")
    peer: Mapping[str, Sequence[bytes]] = context.auth_context()  # type: ignore[assignment]  # its types are wrong
    names = peer.get("x509_subject_alternative_name", ())
    return authorization, [name.decode("utf-8", "surrogateescape") for name in names]
