"""The client for programs with threads."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc

from pdp_client._channel import (
    DEFAULT_DEADLINE_SECONDS,
    DEFAULT_MAX_RECEIVE_BYTES,
    Tls,
    checked_deadline,
    make_settings,
)
from pdp_client._gen.pdp.v1 import decision_service_pb2 as pb
from pdp_client._gen.pdp.v1.decision_service_pb2_grpc import DecisionServiceStub


class Client:
    """Asks a policy decision point over one channel. Safe to use from several threads; do not fork with one open.

    `target`: `host:port`, `[v6]:port`, `unix:/path` or `dns:///name:port`. `tls`: absent, the connection is in clear.
    `bearer`: the key of this caller, sent with every call; only with TLS, or to this machine. `deadline_seconds`: how
    long a call may take, attempts that are made again included. `max_receive_bytes`: larger answers are refused. Raises
    ValueError for what cannot be, and OSError for a file that cannot be read. It does not wait for a connection.

    Each method gives the answer, or raises grpc.RpcError with `code()` and `details()`; `error_info` tells more. An
    error is never an allow, and of an answer only `allowed` tells whether it is one. `deadline_seconds` of a call is in
    place of the client's; ValueError if it is not more than 0 and finite.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        bearer: str | None = None,
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
        max_receive_bytes: int = DEFAULT_MAX_RECEIVE_BYTES,
    ) -> None:
        self._settings = settings = make_settings(target, tls, bearer, deadline_seconds, max_receive_bytes)
        if settings.credentials is None:
            self._channel = grpc.insecure_channel(target, options=settings.options)
        else:
            self._channel = grpc.secure_channel(target, settings.credentials, options=settings.options)
        self._stub = DecisionServiceStub(self._channel)

    def __repr__(self) -> str:
        """Where it asks; never the key."""
        return f"{type(self).__name__}({self._settings.target!r})"

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel."""
        self.close()

    def close(self) -> None:
        """Close the channel; calls in flight end with CANCELLED."""
        self._channel.close()

    def authorize(self, request: pb.AuthorizeRequest, *, deadline_seconds: float | None = None) -> pb.AuthorizeResponse:
        """May this subject do this action on this resource, or make this tool call?"""
        return self._stub.Authorize(request, timeout=self._timeout(deadline_seconds), metadata=self._settings.metadata)

    def authorize_batch(
        self, request: pb.AuthorizeBatchRequest, *, deadline_seconds: float | None = None
    ) -> pb.AuthorizeBatchResponse:
        """Many such questions, answered in order; a result is an answer or an error, and an error is no allow."""
        timeout = self._timeout(deadline_seconds)
        return self._stub.AuthorizeBatch(request, timeout=timeout, metadata=self._settings.metadata)

    def intercept(self, request: pb.InterceptRequest, *, deadline_seconds: float | None = None) -> pb.InterceptResponse:
        """What do the interceptors make of this tool call, or of its result? The answer has what to go on with."""
        return self._stub.Intercept(request, timeout=self._timeout(deadline_seconds), metadata=self._settings.metadata)

    def decide(self, request: pb.DecideRequest, *, deadline_seconds: float | None = None) -> pb.DecideResponse:
        """May this tool call be made? If so, the answer has the arguments to make it with."""
        return self._stub.Decide(request, timeout=self._timeout(deadline_seconds), metadata=self._settings.metadata)

    def filter_tools(
        self, request: pb.FilterToolsRequest, *, deadline_seconds: float | None = None
    ) -> pb.FilterToolsResponse:
        """Which of these tools could this subject ever call?"""
        timeout = self._timeout(deadline_seconds)
        return self._stub.FilterTools(request, timeout=timeout, metadata=self._settings.metadata)

    def _timeout(self, seconds: float | None) -> float:
        return self._settings.deadline_seconds if seconds is None else checked_deadline(seconds)
