"""Guard LangChain tools.

    tools = guard_tools([search, write_file], client, server="assistant", subject=entity("Agent", "coder"))

They say the same of themselves as before, and every call of them is decided about.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import get_fields
from pydantic import PrivateAttr, ValidationError

from pdp_client import AsyncClient, Client, Subject
from pdp_client.integrations.documents import encoded
from pdp_client.integrations.errors import RefusedError, UnreadableError
from pdp_client.integrations.guard import AsyncGuard, Guard, Question
from pdp_client.integrations.identity import Who, identify, identify_async

# What the guarded tool says of itself as the tool does.
_SHOWN = ("name", "description", "return_direct", "tags", "metadata", "extras")


def guard_tools(
    tools: Iterable[BaseTool], client: Client | AsyncClient, *, server: str, subject: Who
) -> list[BaseTool]:
    """The same tools, each of which asks about its calls and their results.

    `server`: what the bundle calls this set of tools. `subject`: who calls, or a callable that gets the call's
    RunnableConfig; with `ainvoke` it may be a coroutine function. With an `AsyncClient` the tools can only be called
    with `ainvoke`.

    A refusal is a ToolMessage with the status `error` and the reason as content where the tool was called with a
    ToolCall, as agents do; otherwise it is a ToolException. Raises TypeError for what is no BaseTool.
    """
    return [GuardedTool.around(tool, client, server, subject) for tool in tools]


def definition(tool: BaseTool) -> dict[str, Any]:
    """What a model is told about the tool, in MCP's words."""
    if isinstance(tool, GuardedTool):
        return definition(tool.inner)
    function = convert_to_openai_tool(tool)["function"]
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"name": tool.name, "description": function.get("description", ""), "inputSchema": schema}


def manifest(tools: Iterable[BaseTool]) -> dict[str, Any]:
    """A `tools/list` result with these tools: what a bundle pins."""
    return {"tools": [definition(tool) for tool in tools]}


class GuardedTool(BaseTool):
    """A tool in front of a tool. Make it with `guard_tools`."""

    inner: BaseTool
    server: str
    _client: Client | AsyncClient = PrivateAttr()
    _subject: Who = PrivateAttr()
    _definition: dict[str, Any] = PrivateAttr()
    _injected: frozenset[str] = PrivateAttr()

    @classmethod
    def around(cls, tool: BaseTool, client: Client | AsyncClient, server: str, subject: Who) -> GuardedTool:
        """The tool, guarded."""
        if not isinstance(tool, BaseTool):
            raise TypeError(f"`{tool!r}` is no LangChain tool; make one of it with `@tool`")
        shown = {name: getattr(tool, name) for name in _SHOWN}
        told = definition(tool)
        # A tool of one text has no schema of its own, but a model is told one.
        guarded = cls(inner=tool, server=server, args_schema=tool.args_schema or told["inputSchema"], **shown)
        guarded._client, guarded._subject, guarded._definition = client, subject, told
        guarded._injected = _injected(tool)
        return guarded

    @property
    def func(self) -> Any:
        """The inner tool's function: LangGraph looks there for what it has to inject."""
        return getattr(self.inner, "func", None)

    @property
    def coroutine(self) -> Any:
        """The inner tool's coroutine function, for the same."""
        return getattr(self.inner, "coroutine", None)

    def _to_args_and_kwargs(self, tool_input: Any, tool_call_id: str | None) -> tuple[tuple[()], dict[str, Any]]:
        # The arguments go on as they came: they are decided about before the inner tool's schema changes anything.
        return (), {"tool_input": tool_input, "tool_call_id": tool_call_id}

    def _run(self, *, tool_input: Any, tool_call_id: str | None, config: RunnableConfig) -> Any:
        if isinstance(self._client, AsyncClient):
            raise NotImplementedError(f"`{self.name}` is guarded with an `AsyncClient`; call it with `ainvoke`")
        guard = Guard(self._client)
        try:
            arguments, injected = self._split(tool_input)
            permit = guard.decide(self._question(identify(self._subject, config), arguments))
            try:
                output = self.inner.run({**permit.arguments, **injected}, config=config, tool_call_id=tool_call_id)
            except (ToolException, ValidationError) as error:
                said = guard.passed(permit, {"content": str(error)}, is_error=True)
                return _failed(error, said, tool_call_id, self.name)
            document, is_error = _document(output)
            return _output(output, guard.passed(permit, document, is_error=is_error))
        except RefusedError as refusal:
            return _refused(refusal, tool_call_id, self.name)

    async def _arun(self, *, tool_input: Any, tool_call_id: str | None, config: RunnableConfig) -> Any:
        guard = AsyncGuard(self._client)
        try:
            arguments, injected = self._split(tool_input)
            permit = await guard.decide(self._question(await identify_async(self._subject, config), arguments))
            try:
                given = {**permit.arguments, **injected}
                output = await self.inner.arun(given, config=config, tool_call_id=tool_call_id)
            except (ToolException, ValidationError) as error:
                said = await guard.passed(permit, {"content": str(error)}, is_error=True)
                return _failed(error, said, tool_call_id, self.name)
            document, is_error = _document(output)
            return _output(output, await guard.passed(permit, document, is_error=is_error))
        except RefusedError as refusal:
            return _refused(refusal, tool_call_id, self.name)

    def _split(self, tool_input: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """The model's arguments, and those that the runtime adds, which are no JSON."""
        if isinstance(tool_input, str):
            names = self._definition["inputSchema"].get("properties", {})
            if len(names) != 1:
                raise UnreadableError("the arguments must be a JSON object")
            tool_input = dict.fromkeys(names, tool_input)
        if not isinstance(tool_input, dict):
            raise UnreadableError("the arguments must be a JSON object")
        injected = {key: value for key, value in tool_input.items() if key in self._injected}
        return {key: value for key, value in tool_input.items() if key not in injected}, injected

    def _question(self, subject: Subject, arguments: dict[str, Any]) -> Question:
        text = encoded(arguments, "the arguments")
        return Question(subject, self.server, self.name, text, definition=self._definition)


def _injected(tool: BaseTool) -> frozenset[str]:
    """The names of the arguments that a model is not told about, because the runtime gives them."""
    # Those that only the tool's function has, and not its schema. Without them such a tool's calls are refused, since
    # what is injected is no JSON.
    names = frozenset(getattr(tool, "_injected_args_keys", ()))
    if tool.args_schema is None or isinstance(tool.args_schema, dict):
        return names
    told = definition(tool)["inputSchema"].get("properties", {})
    return names.union(name for name in get_fields(tool.args_schema) if name not in told)


def _document(output: object) -> tuple[dict[str, Any], bool]:
    """What the service looks at, and whether it is an error. Raises UnreadableError for what is not text or JSON."""
    if isinstance(output, ToolMessage):
        document = {"content": output.content}
        if output.artifact is not None:
            document["artifact"] = output.artifact
        return document, output.status == "error"
    return {"content": output}, False


def _output(output: Any, document: object) -> Any:
    """The output with what became of the document in it, and with nothing that was not looked at."""
    if not isinstance(document, dict) or "content" not in document:
        raise UnreadableError("what became of the result is no tool result")
    if not isinstance(output, ToolMessage):
        return document["content"]
    if not isinstance(document["content"], str | list):
        raise UnreadableError("what became of the result is no tool result")
    try:
        return ToolMessage(
            content=document["content"],
            artifact=document.get("artifact"),
            status=output.status,
            name=output.name,
            tool_call_id=output.tool_call_id,
        )
    except ValidationError as error:
        raise UnreadableError("what became of the result is no tool result") from error


def _failed(error: Exception, document: object, tool_call_id: str | None, name: str) -> ToolMessage:
    """What the tool said against the call, as far as it may be known: to a model as content, or as an exception."""
    text = document.get("content") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise UnreadableError("what became of the result is no tool result")
    # Without the cause: its text is the one that was not looked at.
    if tool_call_id is None or isinstance(error, ToolException):
        raise ToolException(text) from None
    return ToolMessage(text, status="error", name=name, tool_call_id=tool_call_id)


def _refused(refusal: RefusedError, tool_call_id: str | None, name: str) -> ToolMessage:
    if tool_call_id is None:
        raise ToolException(str(refusal)) from refusal
    return ToolMessage(str(refusal), status="error", name=name, tool_call_id=tool_call_id)
