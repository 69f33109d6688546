"""Guard function tools of the OpenAI Agents SDK.

    tools = guard_tools([transfer], client, server="payments", subject=entity("Agent", "clerk"))
    agent = Agent(name="clerk", tools=tools)

The SDK's tool guardrails can reject a call or its output but change neither, so this wraps `on_invoke_tool`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from agents import FunctionTool
from agents.tool_context import ToolContext
from pydantic import BaseModel, ValidationError

from pdp_client import AsyncClient, Client
from pdp_client.integrations.errors import RefusedError, UnreadableError
from pdp_client.integrations.guard import AsyncGuard, Question
from pdp_client.integrations.identity import Who, identify_async


def guard_tools(
    tools: Iterable[FunctionTool], client: Client | AsyncClient, *, server: str, subject: Who
) -> list[FunctionTool]:
    """The same tools, each of which asks about its calls and their outputs.

    `server`: what the bundle calls this set of tools. `subject`: who calls, or a callable or coroutine function that
    gets the SDK's ToolContext. A refusal is the tool's output: its text goes to the model.

    Raises TypeError for what is no FunctionTool, such as the hosted tools, which run elsewhere and are not asked about,
    and ValueError for a tool whose `needs_approval` is a function: it would look at other arguments than the tool gets.
    """
    return [_guarded(tool, AsyncGuard(client), server, subject) for tool in tools]


def definition(tool: FunctionTool) -> dict[str, Any]:
    """What a model is told about the tool, in MCP's words."""
    return {"name": tool.name, "description": tool.description, "inputSchema": tool.params_json_schema}


def manifest(tools: Iterable[FunctionTool]) -> dict[str, Any]:
    """A `tools/list` result with these tools: what a bundle pins."""
    return {"tools": [definition(tool) for tool in tools]}


def _guarded(tool: FunctionTool, guard: AsyncGuard, server: str, subject: Who) -> FunctionTool:
    if not isinstance(tool, FunctionTool):
        raise TypeError(f"`{tool!r}` is no function tool; it runs where nobody asks")
    if callable(tool.needs_approval):
        raise ValueError(f"`{tool.name}`: `needs_approval` has to be true or false; a policy can look at the arguments")

    async def invoke(context: ToolContext[Any], arguments: str) -> Any:
        try:
            who = await identify_async(subject, context)
            # The text goes over as the model wrote it, so that the service sees what is wrong with it.
            question = Question(who, server, guarded.name, _text(arguments), definition=definition(guarded))
            permit = await guard.decide(question)
            # A tool may also read them from its context.
            context.tool_arguments = permit.arguments_json.decode()
            output = await tool.on_invoke_tool(context, context.tool_arguments)
            return _output(output, await guard.passed(permit, _document(output)))
        except RefusedError as refusal:
            return str(refusal)

    guarded = copy.copy(tool)
    guarded.on_invoke_tool = invoke
    return guarded


def _text(arguments: str) -> bytes:
    try:
        return arguments.encode()
    except UnicodeEncodeError as error:
        raise UnreadableError("the arguments cannot be written as JSON") from error


def _document(output: object) -> Any:
    """An output as JSON, models of pydantic and lists of them too. What is none is refused when it is sent."""
    if isinstance(output, BaseModel):
        return output.model_dump(mode="json", by_alias=True)
    if isinstance(output, list):
        return [_document(item) for item in output]
    return output


def _output(output: object, document: Any) -> Any:
    """The document as what the output was. Raises UnreadableError where it became something else."""
    if isinstance(output, BaseModel):
        try:
            return type(output).model_validate(document)
        except ValidationError as error:
            raise UnreadableError("what became of the output is none") from error
    if isinstance(output, list) and any(isinstance(item, BaseModel) for item in output):
        if not isinstance(document, list) or len(document) != len(output):
            raise UnreadableError("what became of the output is none")
        return [_output(item, changed) for item, changed in zip(output, document, strict=True)]
    return document
