"""Questions about MCP messages, put to the one DecisionServicer, so that everything that holds for `pdp.v1` holds here.

Whatever is no allow is a RefusedError: a denial with its reason, anything else with a fixed text.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from pdp._gen.pdp.v1 import decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.call import Call
from pdp.errors import InvalidRequestError, OverLimitError, PdpError, RateLimitedError
from pdp.identity.callers import Caller
from pdp.servicers.gateways.mcp_messages import MessageError
from pdp.servicers.gateways.refusals import RefusedError
from pdp.servicers.gateways.sources import Who
from pdp.telemetry.scope import current

_log = structlog.get_logger("pdp.gateways")

_NO_DECISION = "the policy decision point gave no decision"
_UNDECIDABLE = "this is nothing that can be decided about"
_TOO_OFTEN = "the policy decision point is asked more often than it may be"
_TOO_MUCH = "this is more than the policy decision point takes"

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Within:
    """A call for a stream, which stays open for longer than anybody waits for one answer: a time for each question."""

    caller: Caller
    seconds: float

    def time_remaining(self) -> float:
        """All of it."""
        return self.seconds


class Core(Protocol):
    """What of DecisionServicer is asked."""

    def Decide(self, request: pb.DecideRequest, call: Call) -> pb.DecideResponse: ...
    def FilterTools(self, request: pb.FilterToolsRequest, call: Call) -> pb.FilterToolsResponse: ...
    def Intercept(self, request: pb.InterceptRequest, call: Call) -> pb.InterceptResponse: ...


@dataclass(frozen=True, slots=True)
class Allowed:
    """A call that may be made: with these arguments, which are what was authorized."""

    tool: str
    arguments_json: bytes
    mutated: bool
    decision_id: str


class Asker:
    """Asks on behalf of one gateway protocol."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def decide(self, who: Who, tool: str, arguments_json: bytes, gateway: Call) -> Allowed:
        """May this call be made? Raises RefusedError unless it may."""
        call = _call(who, tool, arguments_json)
        answer = self._core.Decide(pb.DecideRequest(subject=who.subject, tool_call=call), gateway)
        _require_allow(answer)
        return Allowed(tool, answer.arguments_json, answer.mutated, answer.decision_id)

    def visible(self, who: Who, tools: Iterable[tuple[str, bytes]], gateway: Call) -> frozenset[str]:
        """The names of those tools that the subject could ever call; each comes with its definition."""
        listed = [pb.ListedTool(name=name, definition_json=definition) for name, definition in tools]
        request = pb.FilterToolsRequest(subject=who.subject, server=who.server, tools=listed)
        return frozenset(self._core.FilterTools(request, gateway).allowed)

    def intercepted(self, who: Who, call: Allowed, result_json: bytes, is_error: bool, gateway: Call) -> bytes:
        """The result to give to the agent. Raises RefusedError if there is none."""
        request = pb.InterceptRequest(
            phase=interceptor_pb2.PHASE_RESPONSE,
            subject=who.subject,
            tool_call=_call(who, call.tool, call.arguments_json),
            result_json=result_json,
            result_is_error=is_error,
            decision_id=call.decision_id,
        )
        answer = self._core.Intercept(request, gateway)
        _require_allow(answer)
        return answer.result_json


def guarded(name: str, ask: Callable[[], _Answer]) -> _Answer:
    """The boundary of the gateways' protocols: what `ask` gives, or RefusedError, whatever happens."""
    try:
        return _translated(name, ask)
    except RefusedError as refusal:
        scope = current()
        if scope is not None:
            scope.metrics.gateway_denials.add(scope.rpc.partition(".")[0], refusal.kind)
        raise


def _translated(name: str, ask: Callable[[], _Answer]) -> _Answer:
    try:
        return ask()
    except RefusedError:
        raise
    except MessageError as error:
        raise RefusedError(str(error), "invalid") from error
    except PdpError as error:
        _log.warning("no decision", rpc=name, cause=str(error))
        raise _refusal(error) from error
    except Exception as error:
        # The cause stays here: an exception's text can hold anything that was sent, or more.
        error_id = secrets.token_hex(8)
        _log.error("internal error", rpc=name, error_id=error_id, exc_info=error)
        raise RefusedError(f"internal error {error_id}", "internal") from error


def _refusal(error: PdpError) -> RefusedError:
    if isinstance(error, InvalidRequestError):
        return RefusedError(_UNDECIDABLE, "invalid")
    if isinstance(error, OverLimitError):
        return RefusedError(_TOO_MUCH, "exhausted")
    if isinstance(error, RateLimitedError):
        return RefusedError(_TOO_OFTEN, "exhausted")
    return RefusedError(_NO_DECISION, "internal")


def _call(who: Who, tool: str, arguments_json: bytes) -> decision_pb2.ToolCall:
    return decision_pb2.ToolCall(server=who.server, tool=tool, arguments_json=arguments_json, session_id=who.session_id)


def _require_allow(answer: pb.DecideResponse | pb.InterceptResponse) -> None:
    """Anything but an allow is a denial."""
    if answer.decision == decision_pb2.DECISION_ALLOW:
        return
    if not answer.HasField("denial"):
        raise RefusedError(_NO_DECISION, "internal")
    code = decision_pb2.DenialCode.Name(answer.denial.code).removeprefix("DENIAL_CODE_")
    raise RefusedError(f"{code}: {answer.denial.message}")
