"""The client for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TypeVar

import grpc
import grpc.aio

from pdp_client._channel import (
    DEFAULT_DEADLINE_SECONDS,
    DEFAULT_MAX_RECEIVE_BYTES,
    Tls,
    checked_deadline,
    make_settings,
)
from pdp_client._gen.pdp.v1 import decision_service_pb2 as pb
from pdp_client._gen.pdp.v1.decision_service_pb2_grpc import DecisionServiceStub

_Answer = TypeVar("_Answer")


class AsyncClient:
    """Asks a policy decision point from coroutines: `pdp_client.Client` with methods to await.

    It belongs to the event loop in which it is made. Everything else is said there.
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
            self._channel = grpc.aio.insecure_channel(target, options=settings.options)
        else:
            self._channel = grpc.aio.secure_channel(target, settings.credentials, options=settings.options)
        self._stub = DecisionServiceStub(self._channel)

    def __repr__(self) -> str:
        """Where it asks; never the key."""
        return f"{type(self).__name__}({self._settings.target!r})"

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel."""
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls in flight end with CANCELLED."""
        await self._channel.close()

    async def authorize(
        self, request: pb.AuthorizeRequest, *, deadline_seconds: float | None = None
    ) -> pb.AuthorizeResponse:
        """May this subject do this action on this resource, or make this tool call?"""
        timeout = self._timeout(deadline_seconds)
        return _given(await self._stub.Authorize(request, timeout=timeout, metadata=self._settings.metadata))

    async def authorize_batch(
        self, request: pb.AuthorizeBatchRequest, *, deadline_seconds: float | None = None
    ) -> pb.AuthorizeBatchResponse:
        """Many such questions, answered in order; a result is an answer or an error, and an error is no allow."""
        timeout = self._timeout(deadline_seconds)
        return _given(await self._stub.AuthorizeBatch(request, timeout=timeout, metadata=self._settings.metadata))

    async def intercept(
        self, request: pb.InterceptRequest, *, deadline_seconds: float | None = None
    ) -> pb.InterceptResponse:
        """What do the interceptors make of this tool call, or of its result? The answer has what to go on with."""
        timeout = self._timeout(deadline_seconds)
        return _given(await self._stub.Intercept(request, timeout=timeout, metadata=self._settings.metadata))

    async def decide(self, request: pb.DecideRequest, *, deadline_seconds: float | None = None) -> pb.DecideResponse:
        """May this tool call be made? If so, the answer has the arguments to make it with."""
        timeout = self._timeout(deadline_seconds)
        return _given(await self._stub.Decide(request, timeout=timeout, metadata=self._settings.metadata))

    async def filter_tools(
        self, request: pb.FilterToolsRequest, *, deadline_seconds: float | None = None
    ) -> pb.FilterToolsResponse:
        """Which of these tools could this subject ever call?"""
        timeout = self._timeout(deadline_seconds)
        return _given(await self._stub.FilterTools(request, timeout=timeout, metadata=self._settings.metadata))

    def _timeout(self, seconds: float | None) -> float:
        return self._settings.deadline_seconds if seconds is None else checked_deadline(seconds)


def _given(answer: _Answer | None) -> _Answer:
    """The answer, if it is one: for bytes that are no message grpc.aio gives None, and says it in its log only."""
    if answer is None:
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "the answer cannot be read")
    return answer
