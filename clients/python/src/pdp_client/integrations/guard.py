"""Guard a tool call: decide, run the tool with what was authorized, look at its result. All integrations do this.

    guard = Guard(client)
    permit = guard.decide(Question(entity("Agent", "coder"), "git", "git_commit", encoded(arguments, "arguments")))
    result = commit(**permit.arguments)
    return guard.passed(permit, result)

Whatever is no allow is a RefusedError, so the tool does not run, or its result stays here.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from pdp_client import (
    PHASE_RESPONSE,
    AsyncClient,
    Client,
    DecideRequest,
    DecideResponse,
    DenialCode,
    FilterToolsRequest,
    FilterToolsResponse,
    InterceptRequest,
    InterceptResponse,
    ListedTool,
    Subject,
    ToolCall,
    allowed,
)
from pdp_client.integrations.documents import decoded, decoded_object, encoded
from pdp_client.integrations.errors import DeniedError, UnavailableError, UnreadableError
from pdp_client.integrations.identity import checked_subject

logger = logging.getLogger("pdp_client")

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Question:
    """A tool call to decide about.

    `arguments_json`: one JSON object as UTF-8 text. `definition`: what the tool says of itself now, as MCP has it
    (`name`, `description`, `inputSchema`, `annotations`); with it, a tool that is not the pinned one is denied.
    `context`: what else policies may know, which the bundle has to declare.
    """

    subject: Subject = field(repr=False)
    server: str
    tool: str
    arguments_json: bytes = field(repr=False)
    session_id: str = ""
    definition: dict[str, Any] | None = field(default=None, repr=False)
    context: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Permit:
    """An allow: `arguments` are those that were authorized, `arguments_json` their text, byte for byte."""

    question: Question
    arguments: dict[str, Any] = field(repr=False)
    arguments_json: bytes = field(repr=False)
    decision_id: str


class Guard:
    """Asks with a `Client`, for programs with threads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def decide(self, question: Question) -> Permit:
        """May this call be made? Raises RefusedError unless it may."""
        return _permit(question, _asked(self._client.decide, _decide_request(question)))

    def passed(self, permit: Permit, result: object, *, is_error: bool = False) -> Any:
        """What the agent may see of the tool's result, a JSON value. Raises RefusedError where it may see nothing."""
        return _result(_asked(self._client.intercept, _intercept_request(permit, result, is_error)))

    def filter_tools(self, subject: Subject, server: str, definitions: list[dict[str, Any]]) -> list[str]:
        """The names of those tools that the subject could ever call, in their order. Raises RefusedError."""
        request = _filter_request(subject, server, definitions)
        return _shown(request, _asked(self._client.filter_tools, request))


class AsyncGuard:
    """Asks from coroutines, with an `AsyncClient` of this event loop, or with a `Client` on threads.

    A `Client` can be made before there is a loop. Each question then takes a thread of the loop's default executor
    while it lasts; for many calls at a time make an `AsyncClient`.
    """

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    async def decide(self, question: Question) -> Permit:
        """As `Guard.decide`."""
        return _permit(question, await _asked_async(self._client.decide, _decide_request(question)))

    async def passed(self, permit: Permit, result: object, *, is_error: bool = False) -> Any:
        """As `Guard.passed`."""
        return _result(await _asked_async(self._client.intercept, _intercept_request(permit, result, is_error)))

    async def filter_tools(self, subject: Subject, server: str, definitions: list[dict[str, Any]]) -> list[str]:
        """As `Guard.filter_tools`."""
        request = _filter_request(subject, server, definitions)
        return _shown(request, await _asked_async(self._client.filter_tools, request))


# --- questions and answers, without asking ----------------------------------------------------------------------------


def _decide_request(question: Question) -> DecideRequest:
    request = DecideRequest(subject=checked_subject(question.subject), tool_call=_tool_call(question))
    request.tool_call.arguments_json = question.arguments_json
    if question.definition is not None:
        request.definition_json = encoded(question.definition, "the tool's definition")
    request.context_json = _context(question)
    return request


def _permit(question: Question, answer: DecideResponse) -> Permit:
    _require_allow(answer)
    arguments = decoded_object(answer.arguments_json, "the authorized arguments")
    return Permit(question, arguments, answer.arguments_json, answer.decision_id)


def _intercept_request(permit: Permit, result: object, is_error: bool) -> InterceptRequest:
    call = _tool_call(permit.question)
    call.arguments_json = permit.arguments_json
    return InterceptRequest(
        phase=PHASE_RESPONSE,
        subject=permit.question.subject,
        tool_call=call,
        result_json=encoded(result, "the result"),
        result_is_error=is_error,
        context_json=_context(permit.question),
        decision_id=permit.decision_id,
    )


def _result(answer: InterceptResponse) -> Any:
    _require_allow(answer)
    # An allow without a payload, or with that of the other phase, is nothing to go on with.
    if answer.WhichOneof("payload") != "result_json":
        raise UnreadableError("the policy decision point gave no result")
    return decoded(answer.result_json, "the result")


def _filter_request(subject: Subject, server: str, definitions: list[dict[str, Any]]) -> FilterToolsRequest:
    tools = [ListedTool(name=tool["name"], definition_json=encoded(tool, "a tool")) for tool in definitions]
    if len({tool.name for tool in tools}) != len(tools):
        # A decision about the name could mean either.
        raise UnreadableError("two tools have one name")
    return FilterToolsRequest(subject=checked_subject(subject), server=server, tools=tools)


def _shown(request: FilterToolsRequest, answer: FilterToolsResponse) -> list[str]:
    hidden = {tool.name for tool in answer.hidden}
    return [tool.name for tool in request.tools if tool.name in answer.allowed and tool.name not in hidden]


def _tool_call(question: Question) -> ToolCall:
    return ToolCall(server=question.server, tool=question.tool, session_id=question.session_id)


def _context(question: Question) -> bytes:
    return b"" if question.context is None else encoded(question.context, "the context")


def _require_allow(answer: DecideResponse | InterceptResponse) -> None:
    if allowed(answer):
        return
    if not answer.HasField("denial"):
        raise UnavailableError
    raise DeniedError(_code_name(answer.denial.code), answer.denial.message, answer.decision_id)


def _code_name(code: DenialCode.ValueType) -> str:
    try:
        return DenialCode.Name(code).removeprefix("DENIAL_CODE_")
    except ValueError:
        return str(code)


# --- asking -----------------------------------------------------------------------------------------------------------


def _asked(method: Callable[[_Request], _Answer], request: _Request) -> _Answer:
    try:
        return method(request)
    # A ValueError is a client that was closed.
    except (grpc.RpcError, ValueError) as error:
        raise _unavailable(error) from error


async def _asked_async(method: Callable[[_Request], Any], request: _Request) -> Any:
    try:
        if inspect.iscoroutinefunction(method):
            return await method(request)
        return await asyncio.to_thread(method, request)
    except (grpc.RpcError, grpc.aio.UsageError, ValueError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> UnavailableError:
    code = getattr(error, "code", None)
    logger.warning("no decision: %s", code().name if callable(code) else error)
    return UnavailableError()
