"""MCP's JSON-RPC messages: read strictly, changed in one place and nowhere else. Pure.

What a policy sees and what the server gets is the same text: arguments and results are handed on byte for byte, and a
message that two parsers could read in two ways is not taken.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pdp.cedar.json_places import after_blanks, shown
from pdp.cedar.strict_json import JsonError, JsonLimits, kind_of, parse_value
from pdp.errors import PdpError
from pdp.servicers.gateways.json_spans import Span, items, members, replaced, whole

#: What passes without a question: it sets up a session, keeps it, and tells of progress.
PASSING: Final = frozenset({"initialize", "ping", "server/discover"})
PASSING_PREFIX: Final = "notifications/"
#: What a server asks of an agent. An agent's answers go on only where one of them may be asked.
ASKED_OF_AGENTS: Final = frozenset({"elicitation/create", "roots/list", "sampling/createMessage"})

#: A message wraps a payload of at most 1 MiB and 64 levels.
MESSAGE_LIMITS: Final = JsonLimits(max_bytes=(1 << 20) + (1 << 16), max_depth=66, max_nodes=1 << 20)

_MEMBERS = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
#: Of a call. Others, such as answers to a server's questions or a task to run in, are nothing that a policy sees.
_CALL_MEMBERS = frozenset({"name", "arguments", "_meta"})
_MAX_ID_CHARACTERS = 256

#: The id of a request: a string or an integer; None for what has none.
Id = str | int | None


class MessageError(PdpError):
    """Not a message of MCP; the text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `text` is what came, `value` what it says; `method` is None for an answer."""

    text: str
    value: Mapping[str, Any]
    method: str | None
    id: Id

    def without_content(self) -> Message:
        """What is enough to answer it."""
        return Message("", {}, self.method, self.id)

    @property
    def is_request(self) -> bool:
        """Whether it wants an answer."""
        return self.method is not None and self.id is not None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a `tools/call` asks for. `arguments_json` is the text that came; empty where there is none."""

    name: str
    arguments_json: bytes


@dataclass(frozen=True, slots=True)
class ListedTools:
    """A `tools/list` result: its text, and where each tool stands in it, by name."""

    text: str
    tools: Mapping[str, Span]

    def definition_json(self, name: str, own_name: str | None = None) -> bytes:
        """The tool's definition as it came, but with the name that its own server calls it by."""
        start, end = self.tools[name]
        definition = self.text[start:end]
        if own_name not in (None, name):
            place = members(definition, whole(definition))["name"]
            definition = replaced(definition, [(place, json.dumps(own_name))])
        return definition.encode()


def read_message(data: bytes) -> Message:
    """Read one message. Raises MessageError."""
    value = _parsed(data)
    if type(value) is list:
        raise MessageError("batches of messages are not taken")
    _require_object(value, "a message")
    _require_members(value, _MEMBERS, "a message")
    if value.get("jsonrpc") != "2.0":
        raise MessageError("`jsonrpc` must be `2.0`")
    return Message(data.decode(), value, _method(value), _id(value))


def _method(value: Mapping[str, Any]) -> str | None:
    if "method" not in value:
        if ("result" in value) == ("error" in value) or "params" in value or "id" not in value:
            raise MessageError("a message has a `method`, or an `id` with either a `result` or an `error`")
        return None
    method = value["method"]
    if type(method) is not str or not method:
        raise MessageError("`method` must be a string")
    if "result" in value or "error" in value:
        raise MessageError("a message has a `method` or an answer, not both")
    if "params" in value:
        _require_object(value["params"], "`params`")
    return method


def _id(value: Mapping[str, Any]) -> Id:
    if "id" not in value:
        return None
    number = value["id"]
    if type(number) is int or (type(number) is str and len(number) <= _MAX_ID_CHARACTERS):
        return number
    raise MessageError(f"`id` must be an integer, or a string of at most {_MAX_ID_CHARACTERS} characters")


def passes(message: Message, more: Collection[str]) -> bool:
    """Whether a message goes on unasked; `more` names further methods that do."""
    if message.method is not None:
        # A notification that wants an answer is none.
        named = message.method.startswith(PASSING_PREFIX) and message.is_request
        return message.method in more if named else passing(message.method, more)
    # An agent's answer: to a ping, or to what its server may ask.
    return message.value.get("result") == {} or not ASKED_OF_AGENTS.isdisjoint(more)


def passing(method: str, more: Collection[str]) -> bool:
    """Whether messages of this method go on unasked."""
    return method in PASSING or method.startswith(PASSING_PREFIX) or method in more


def read_call(params_json: bytes) -> ToolCall:
    """The call in the `params` of a `tools/call`. Raises MessageError."""
    params = _parsed(params_json)
    _require_object(params, "`params`")
    _require_members(params, _CALL_MEMBERS, "`params` of `tools/call`")
    name = params.get("name")
    if type(name) is not str or not name:
        raise MessageError("`params.name` must be the name of a tool")
    if "arguments" not in params:
        return ToolCall(name, b"")
    _require_object(params["arguments"], "`params.arguments`")
    text = params_json.decode()
    start, end = members(text, whole(text))["arguments"]
    return ToolCall(name, text[start:end].encode())


def with_arguments(params_json: bytes, arguments_json: bytes) -> bytes:
    """These `params`, with other arguments."""
    text, arguments = params_json.decode(), arguments_json.decode()
    span = whole(text)
    found = members(text, span).get("arguments")
    if found is None:
        start = span[0] + 1
        return replaced(text, [((start, start), f'"arguments":{arguments},')]).encode()
    return replaced(text, [(found, arguments)]).encode()


def part(message: Message, name: str) -> bytes:
    """The text of a member, such as `params` or `result`; empty where there is none."""
    span = members(message.text, whole(message.text)).get(name)
    return b"" if span is None else message.text[span[0] : span[1]].encode()


def with_part(message: Message, name: str, part_json: bytes) -> bytes:
    """The message with another text for a member that it has."""
    span = members(message.text, whole(message.text))[name]
    return replaced(message.text, [(span, part_json.decode())]).encode()


def read_result(result_json: bytes) -> bool:
    """Whether a result of a tool is an error. Raises MessageError for what is no final result of a tool."""
    result = _parsed(result_json)
    _require_object(result, "a result")
    if result.get("resultType", "complete") != "complete":
        raise MessageError("the server asks for something that is not passed on")
    is_error = result.get("isError", False)
    if type(is_error) is not bool:
        raise MessageError("`isError` must be a boolean")
    return is_error


def completed(result_json: bytes) -> bytes:
    """A final result that says so, as newer versions of MCP want; interceptors that make one need not know."""
    text = result_json.decode()
    span = whole(text)
    if "resultType" in members(text, span):
        return result_json
    start = span[0] + 1
    comma = "," if after_blanks(text, start) != span[1] - 1 else ""
    return replaced(text, [((start, start), f'"resultType":"complete"{comma}')]).encode()


def read_tools(result_json: bytes) -> ListedTools:
    """The tools of a `tools/list` result. Raises MessageError."""
    result = _parsed(result_json)
    _require_object(result, "a result")
    tools = result.get("tools")
    if type(tools) is not list:
        raise MessageError(f"`tools` must be an array, not {kind_of(tools)}")
    text = result_json.decode()
    spans = items(text, members(text, whole(text))["tools"])
    found: dict[str, Span] = {}
    for tool, span in zip(tools, spans, strict=True):
        name = tool.get("name") if type(tool) is dict else None
        if type(name) is not str or not name:
            raise MessageError("a tool has no name")
        if name in found:
            raise MessageError(f"{shown(name)} is listed twice, so a decision could mean either")
        found[name] = span
    return ListedTools(text, found)


def with_tools(listed: ListedTools, kept: Collection[str]) -> bytes:
    """The result with these tools only, in its order. What one subject may see is for no cache that others share."""
    parts = members(listed.text, whole(listed.text))
    texts = [listed.text[start:end] for name, (start, end) in listed.tools.items() if name in kept]
    changes = [(parts["tools"], f"[{','.join(texts)}]")] if len(texts) < len(listed.tools) else []
    if "cacheScope" in parts:
        changes.append((parts["cacheScope"], '"private"'))
    return replaced(listed.text, changes).encode()


def error_text(message: Message) -> str:
    """What an answer that is an error says."""
    error = message.value.get("error")
    text = error.get("message") if type(error) is dict else None
    return text if type(text) is str else "the server answered with an error"


def error_result(text: str) -> bytes:
    """A tool's result that is an error."""
    return _written({"resultType": "complete", "content": [{"type": "text", "text": text}], "isError": True})


def tool_error(identifier: Id, text: str) -> bytes:
    """An answer to a `tools/call` that an agent can read."""
    return answer(identifier, error_result(text))


def answer(identifier: Id, result_json: bytes) -> bytes:
    """An answer with this result."""
    return b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (_written(identifier), result_json)


def error_answer(identifier: Id, code: int, text: str) -> bytes:
    """An answer that is an error of the protocol."""
    return _written({"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": text}})


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _parsed(data: bytes) -> Any:
    try:
        return parse_value(data, MESSAGE_LIMITS)
    except JsonError as error:
        raise MessageError(str(error)) from None


def _require_object(value: Any, what: str) -> None:
    if type(value) is not dict:
        raise MessageError(f"{what} must be a JSON object, not {kind_of(value)}")


def _require_members(value: Mapping[str, Any], known: Collection[str], what: str) -> None:
    unknown = sorted(value.keys() - known)
    if unknown:
        raise MessageError(f"{what} has no member {shown(unknown[0])}")
