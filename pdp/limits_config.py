"""`[limits]`: how much of anything is accepted."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Positive = Annotated[int, Field(ge=1)]


class LimitsConfig(BaseModel):
    """`[limits]`: how much of anything is accepted, by each worker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Size of one request.
    message_bytes: Annotated[int, Field(ge=1_024, le=1 << 30)] = 4 * 1024 * 1024
    #: gRPC connections at each address, those that have not asked anything included; further ones are closed at once.
    #: Each takes a file descriptor.
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 4_096
    #: Calls in flight; further ones are refused with RESOURCE_EXHAUSTED.
    concurrent_rpcs: _Positive = 1_000
    #: Calls in flight on one connection; its peer keeps further ones to itself until some have ended.
    streams_per_connection: _Positive = 32
    #: Calls that wait for a thread; further ones are refused with RESOURCE_EXHAUSTED.
    queued_calls: _Positive = 500
    #: How long a call may wait for a thread. Where it would be longer, or than its deadline, it is refused at once.
    queue_ms: Annotated[int, Field(ge=1, le=600_000)] = 500
    #: Size of all requests that wait for a thread or are answered; beyond it calls are refused with RESOURCE_EXHAUSTED.
    bytes_in_flight: Annotated[int, Field(ge=1_024)] = 256 * 1024 * 1024
    #: Size of a tool call's arguments; larger ones are denied as INVALID_ARGUMENTS.
    argument_bytes: Annotated[int, Field(ge=2, le=1 << 20)] = 1024 * 1024
    #: Questions of one batch.
    batch_requests: _Positive = 5_000
    #: Tools of one list to filter.
    listed_tools: _Positive = 10_000
