"""Stand-ins for the core that gateways ask, and for the call in which they do."""

from __future__ import annotations

from typing import Any

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.call import Call


class FailingCore:
    """Raises, or gives the empty answer, whatever is asked."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def _given(self, empty: Any) -> Any:
        if self._error is not None:
            raise self._error
        return empty

    def Decide(self, request: pb.DecideRequest, call: Call) -> pb.DecideResponse:
        answer: pb.DecideResponse = self._given(pb.DecideResponse())
        return answer

    def FilterTools(self, request: pb.FilterToolsRequest, call: Call) -> pb.FilterToolsResponse:
        answer: pb.FilterToolsResponse = self._given(pb.FilterToolsResponse())
        return answer

    def Intercept(self, request: pb.InterceptRequest, call: Call) -> pb.InterceptResponse:
        answer: pb.InterceptResponse = self._given(pb.InterceptResponse())
        return answer


class AllowingCore:
    """Allows everything as it is."""

    def Decide(self, request: pb.DecideRequest, call: Call) -> pb.DecideResponse:
        arguments = request.tool_call.arguments_json
        return pb.DecideResponse(decision=decision_pb2.DECISION_ALLOW, arguments_json=arguments)

    def FilterTools(self, request: pb.FilterToolsRequest, call: Call) -> pb.FilterToolsResponse:
        return pb.FilterToolsResponse(allowed=[tool.name for tool in request.tools])

    def Intercept(self, request: pb.InterceptRequest, call: Call) -> pb.InterceptResponse:
        return pb.InterceptResponse(decision=decision_pb2.DECISION_ALLOW, result_json=request.result_json)


class NoMetadata:
    """The context of a call without metadata."""

    def invocation_metadata(self) -> tuple[()]:
        """Nothing."""
        return ()


NO_METADATA: Any = NoMetadata()
