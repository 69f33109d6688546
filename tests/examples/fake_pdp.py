"""A policy decision point that answers as a test says: the boundary that the gateway trusts, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2_grpc
from pdp._gen.pdp.v1 import decision_service_pb2 as pb

_Answer = TypeVar("_Answer")

#: What is done instead of the honest answer: gets the request and the honest answer, and gives another one.
Twist = Callable[[Any, Any, grpc.ServicerContext], Any]


class FakePdp(decision_service_pb2_grpc.DecisionServiceServicer):
    """Allows everything as it came, except for what a test makes of the answers."""

    def __init__(self) -> None:
        self.address = ""
        self.twists: dict[str, Twist] = {}
        #: Set to let go of answers that `never` holds back.
        self.over = threading.Event()

    def FilterTools(self, request: pb.FilterToolsRequest, context: grpc.ServicerContext) -> pb.FilterToolsResponse:
        honest = pb.FilterToolsResponse(allowed=[tool.name for tool in request.tools])
        return self._twisted("FilterTools", request, honest, context)

    def Decide(self, request: pb.DecideRequest, context: grpc.ServicerContext) -> pb.DecideResponse:
        arguments = request.tool_call.arguments_json
        honest = pb.DecideResponse(decision=decision_pb2.DECISION_ALLOW, arguments_json=arguments, decision_id="d")
        return self._twisted("Decide", request, honest, context)

    def Intercept(self, request: pb.InterceptRequest, context: grpc.ServicerContext) -> pb.InterceptResponse:
        honest = pb.InterceptResponse(decision=decision_pb2.DECISION_ALLOW, result_json=request.result_json)
        return self._twisted("Intercept", request, honest, context)

    def never(self, _request: Any, honest: Any, _context: grpc.ServicerContext) -> Any:
        """A twist: no answer, until the test is over."""
        self.over.wait()
        return honest

    def Authorize(self, request: pb.AuthorizeRequest, context: grpc.ServicerContext) -> pb.AuthorizeResponse:
        raise NotImplementedError("no gateway asks this")

    def AuthorizeBatch(
        self, request: pb.AuthorizeBatchRequest, context: grpc.ServicerContext
    ) -> pb.AuthorizeBatchResponse:
        raise NotImplementedError("no gateway asks this")

    def _twisted(self, method: str, request: Any, honest: _Answer, context: grpc.ServicerContext) -> _Answer:
        twist = self.twists.get(method)
        answer: _Answer = honest if twist is None else twist(request, honest, context)
        return answer


@contextmanager
def serving_fake() -> Iterator[FakePdp]:
    """A fake on a free port of loopback."""
    fake = FakePdp()
    server = grpc.server(ThreadPoolExecutor(4))
    decision_service_pb2_grpc.add_DecisionServiceServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield fake
    finally:
        fake.over.set()
        server.stop(None).wait()


def failing(code: grpc.StatusCode) -> Twist:
    """A twist: an error of the RPC."""

    def fail(_request: Any, _honest: Any, context: grpc.ServicerContext) -> Any:
        context.abort(code, "made up by a test")

    return fail


def with_fields(**fields: Any) -> Twist:
    """A twist: the honest answer with other values in these fields; None clears a field."""

    def change(_request: Any, honest: Any, _context: grpc.ServicerContext) -> Any:
        for name, value in fields.items():
            honest.ClearField(name)
            if value is not None:
                changed = type(honest)(**{name: value})
                honest.MergeFrom(changed)
        return honest

    return change
