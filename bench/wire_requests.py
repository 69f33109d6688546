"""Requests of a world as messages of the service's API."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from bench.bundle_files import agent_name
from bench.workloads import TOOLS, Request, server_name
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2


def authorize_request(request: Request) -> decision_service_pb2.AuthorizeRequest:
    """The message for one request."""
    uid = decision_pb2.EntityUid(type="Agent", id=agent_name(request.agent))
    call = decision_pb2.ToolCall(
        server=server_name(request.tool.server),
        tool=TOOLS[request.tool.number],
        arguments_json=request.arguments,
    )
    return decision_service_pb2.AuthorizeRequest(subject=decision_pb2.Subject(entity=uid), tool_call=call)


def batch_request(requests: Iterable[Request]) -> decision_service_pb2.AuthorizeBatchRequest:
    """The message for many."""
    return decision_service_pb2.AuthorizeBatchRequest(requests=map(authorize_request, requests))


def framed(message: bytes) -> bytes:
    """A message as the body of a gRPC call: not compressed, its length before it."""
    return struct.pack(">BI", 0, len(message)) + message
