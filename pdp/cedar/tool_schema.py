"""Pinned MCP tools: their definitions to actions and groups, and the Cedar schema that says what policies may read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdp.cedar.arguments import ToolInput, tool_input
from pdp.cedar.cedar_types import ESCAPE_KEYS, Record, quoted, record_syntax, written_type
from pdp.cedar.json_places import escape_segment, is_unicode, shown
from pdp.cedar.json_text import canonical_text
from pdp.cedar.model import is_entity_type
from pdp.cedar.strict_json import DEFAULT_LIMITS, JsonError, JsonLimits, kind_of
from pdp.cedar.tool_types import ToolSchemaError, from_json_schema

#: The group of all tools, and the groups that a tool's annotations put it in.
CALL_TOOL = "call_tool"
HINT_GROUPS = ("read_only", "destructive", "idempotent", "open_world")
#: Group names that are always there, so that policies may name them; no server can be called so.
GROUPS = (CALL_TOOL, *HINT_GROUPS)

NO_LIST = "must be an MCP `tools/list` result: an object with an array `tools`"
#: Characters of a server's or a tool's name.
_MAX_NAME = 256
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
#: What makes a tool what it is; nothing else of its definition counts.
DEFINING = ("description", "inputSchema", "annotations")
#: What a tool call's context always has; see `schema_text`.
_OWN_KEYS = frozenset({"input", "undeclared", "session_id", "interceptors", "on_behalf_of"})


@dataclass(frozen=True, slots=True)
class Tool:
    """One pinned tool.

    Its action is `Action::"<server>/<name>"`, a member of every action in `groups`. `digest` (`definition_digest`)
    tells whether a definition seen later is still this one.
    """

    server: str
    name: str
    groups: tuple[str, ...]
    input: ToolInput
    description: str
    digest: str

    @property
    def action_id(self) -> str:
        """The id of the tool's action."""
        return f"{self.server}/{self.name}"


def definition_digest(definition: Mapping[str, Any]) -> str:
    """The sha256, in hexadecimal, of what makes a tool what it is: description, inputSchema and annotations.

    Independent of how the JSON was written. Raises JsonError where a part of it is not a JSON value.
    """
    defining = {key: definition[key] for key in DEFINING if definition.get(key) is not None}
    return hashlib.sha256(canonical_text(defining).encode()).hexdigest()


# --- reading a manifest ----------------------------------------------------------------------------------------------


def parse_manifest(
    server: str, document: Any, limits: JsonLimits = DEFAULT_LIMITS
) -> tuple[list[Tool], list[tuple[str, str]]]:
    """The tools of an MCP `tools/list` result (or of a JSON-RPC response with one), and everything wrong with it.

    `document` is the parsed JSON. A problem is a JSON Pointer into it and a message. `limits` bound the arguments of
    calls. Tools without a problem are returned whatever is wrong with others.
    """
    if (message := _name_problem(server)) or (message := _server_problem(server)):
        return [], [("", f"the server's name {message}")]
    prefix, result = _result(document)
    listed = result.get("tools")
    if not isinstance(listed, list):
        return [], [(prefix, NO_LIST)]
    problems: list[tuple[str, str]] = []
    if result.get("nextCursor"):
        problems.append((f"{prefix}/nextCursor", "the list goes on: join all pages into one `tools` array"))
    tools: dict[str, Tool] = {}
    for index, definition in enumerate(listed):
        pointer = f"{prefix}/tools/{index}"
        try:
            tool = _tool(server, definition, limits)
            if tool.name in tools:
                raise ToolSchemaError("/name", f"the tool {shown(tool.name)} is defined twice")
            tools[tool.name] = tool
        except ToolSchemaError as error:
            problems.append((pointer + error.pointer, error.message))
        except (JsonError, UnicodeEncodeError):
            problems.append((pointer, "holds a value that JSON does not know"))
    return list(tools.values()), problems


def listed_definitions(document: Any) -> list[Any] | None:
    """The definitions in what `parse_manifest` takes, whatever is wrong with them; None if it has no list of tools."""
    listed = _result(document)[1].get("tools")
    return listed if isinstance(listed, list) else None


def _result(document: Any) -> tuple[str, dict[str, Any]]:
    """The object that should have the tools, with a JSON Pointer to it; an empty one where there is none."""
    if not isinstance(document, dict):
        return "", {}
    if "tools" not in document and isinstance(document.get("result"), dict):
        return "/result", document["result"]
    return "", document


def _server_problem(server: str) -> str:
    if "/" in server:
        return "must not contain `/`: that separates it from the tool's"
    return f"must not be {shown(server)}: that is a group of actions" if server in GROUPS else ""


def _name_problem(name: object) -> str:
    """What keeps `name` from naming a server or a tool; empty for nothing."""
    if not isinstance(name, str):
        return f"must be a string, not {kind_of(name)}"
    if not 1 <= len(name) <= _MAX_NAME:
        return f"must have 1 to {_MAX_NAME} characters, not {len(name)}"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        return "must not contain control characters"
    return "" if is_unicode(name) else "has half of a surrogate pair"


def _tool(server: str, definition: Any, limits: JsonLimits) -> Tool:
    if not isinstance(definition, dict):
        raise ToolSchemaError("", f"a tool must be an object, not {kind_of(definition)}")
    name, description = definition.get("name"), definition.get("description")
    if message := _name_problem(name):
        raise ToolSchemaError("/name" if "name" in definition else "", f"the tool's name {message}")
    if description is not None and not isinstance(description, str):
        raise ToolSchemaError("/description", f"must be a string, not {kind_of(description)}")
    groups = (CALL_TOOL, server, *_hint_groups(definition.get("annotations")))
    if "inputSchema" not in definition:
        raise ToolSchemaError("", "`inputSchema` is missing")
    try:
        record_type = from_json_schema(definition["inputSchema"])
    except ToolSchemaError as error:
        raise ToolSchemaError("/inputSchema" + error.pointer, error.message) from None
    converts = tool_input(record_type, limits)
    return Tool(server, str(name), groups, converts, description or "", definition_digest(definition))


def _hint_groups(annotations: Any) -> list[str]:
    """The groups of a tool by its annotations; where one is missing, MCP's default, which is the cautious one."""
    hints = {} if annotations is None else annotations
    if not isinstance(hints, dict):
        raise ToolSchemaError("/annotations", f"must be an object, not {kind_of(annotations)}")
    for hint in _HINTS:
        if not isinstance(hints.get(hint, False), bool):
            message = f"must be a boolean, not {kind_of(hints[hint])}"
            raise ToolSchemaError(f"/annotations/{escape_segment(hint)}", message)
    read_only = hints.get("readOnlyHint", False)
    member_of = {
        "read_only": read_only,
        "destructive": not read_only and hints.get("destructiveHint", True),
        "idempotent": hints.get("idempotentHint", False),
        "open_world": hints.get("openWorldHint", True),
    }
    return [group for group in HINT_GROUPS if member_of[group]]


# --- writing a schema ------------------------------------------------------------------------------------------------


def schema_text(
    tools: Sequence[Tool],
    *,
    principal_types: Sequence[str],
    resource_type: str = "Server",
    declare_server: bool = False,
    context_types: Mapping[str, str] | None = None,
    annotation_types: Mapping[str, Mapping[str, str]] | None = None,
    on_behalf_of: str | None = None,
) -> str:
    """Cedar schema text with one action for each tool and for each group.

    `principal_types` are the entity types that may call tools, `context_types` the facts that callers may state (name
    to type, as `arguments.parse_type` reads it), `annotation_types` those that each interceptor may state. All facts
    are optional. `declare_server` declares the resource's entity type too. Raises ValueError for names and types that
    Cedar would not take.
    """
    for name in (*principal_types, resource_type, *([on_behalf_of] if on_behalf_of else [])):
        if not is_entity_type(name):
            raise ValueError(f"`{name}` is not the name of an entity type")
    if tools and not principal_types:
        raise ValueError("no entity type is named that may call tools")
    facts = _facts(context_types or {}, annotation_types or {}, on_behalf_of)
    callers = ", ".join(principal_types)
    filled = dict.fromkeys(group for tool in tools for group in tool.groups)
    lines = [f"entity {resource_type};"] if declare_server else []
    lines.extend(f"action {quoted(group)};" for group in filled)
    # Cedar refuses a policy about a group that nothing can be asked of; a policy may well be there before its tools.
    empty = [(group, (), Record()) for group in GROUPS if group not in filled and callers]
    actions = [*empty, *((tool.action_id, tool.groups, tool.input.record_type) for tool in tools)]
    lines.extend(_action(*action, callers, resource_type, facts) for action in actions)
    return "\n".join(lines) + "\n"


def _facts(
    context_types: Mapping[str, str], annotation_types: Mapping[str, Mapping[str, str]], on_behalf_of: str | None
) -> list[tuple[str, bool, str]]:
    for name in context_types:
        if name in _OWN_KEYS:
            raise ValueError(f"`{name}` is filled in for every tool call and cannot be declared")
    stated = [(name, False, record_syntax(_optional(types))) for name, types in annotation_types.items()]
    interceptors = [("interceptors", False, record_syntax(stated))] if stated else []
    acting = [("on_behalf_of", False, on_behalf_of)] if on_behalf_of else []
    return [("session_id", False, "String"), *acting, *interceptors, *_optional(context_types)]


def _optional(types: Mapping[str, str]) -> list[tuple[str, bool, str]]:
    for name in types:
        if name in ESCAPE_KEYS:
            raise ValueError(f"`{name}` has a meaning of its own in Cedar and cannot be declared")
    return [(name, False, written_type(text).cedar_type()) for name, text in types.items()]


def _action(
    action_id: str,
    groups: Sequence[str],
    input_type: Record,
    callers: str,
    resource_type: str,
    facts: Sequence[tuple[str, bool, str]],
) -> str:
    known = [("input", True, input_type.cedar_type()), ("undeclared", True, "Set<String>")]
    member_of = f" in [{', '.join(map(quoted, groups))}]" if groups else ""
    return (
        f"\naction {quoted(action_id)}{member_of} appliesTo {{\n"
        f"  principal: [{callers}],\n"
        f"  resource: [{resource_type}],\n"
        f"  context: {record_syntax([*known, *facts])}\n"
        "};"
    )
