"""`tools/<server>.json`: the MCP `tools/list` result of a server, pinned."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pdp.bundle.manifest import PATH as MANIFEST
from pdp.bundle.manifest import Manifest
from pdp.bundle.source import SourceFile
from pdp.cedar.json_places import locate_all
from pdp.cedar.strict_json import JsonError, JsonLimits, locate, parse_value
from pdp.cedar.tool_schema import GROUPS, NO_LIST, Tool, listed_definitions, parse_manifest
from pdp.errors import Problem

_LIMITS = JsonLimits(max_bytes=64 * 1024 * 1024, max_depth=200, max_nodes=5_000_000)


@dataclass(frozen=True, slots=True)
class ParsedTools:
    """One server's tools, and what is wrong with its file."""

    tools: tuple[Tool, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse_tools(file: SourceFile) -> ParsedTools:
    """Read one tool manifest; the server's name is the file's."""
    text = file.content.decode("utf-8", "replace")
    try:
        document = parse_value(file.content, _LIMITS)
    except JsonError as error:
        return ParsedTools(problems=(Problem(file.path, *locate(text, error.path), error.message),))
    server = file.path.rpartition("/")[2].removesuffix(".json")
    tools, offences = parse_manifest(server, document)
    places = locate_all(text, [pointer for pointer, _ in offences]) if offences else {}
    problems = tuple(Problem(file.path, *places[pointer], message) for pointer, message in offences)
    return ParsedTools(tuple(tools), problems)


def read_definitions(content: bytes) -> list[Any]:
    """The definitions in a tool manifest as they stand there, whatever is wrong with them. Raises JsonError."""
    definitions = listed_definitions(parse_value(content, _LIMITS))
    if definitions is None:
        raise JsonError("", NO_LIST)
    return definitions


def with_action_groups(tools: Sequence[Tool], manifest: Manifest) -> tuple[list[Tool], list[Problem]]:
    """The tools with the operator's own action groups (`[action_groups]`: name to globs over `server/tool`)."""
    groups = manifest.action_groups
    places = {name: manifest.place("action_groups", name) for name in groups}
    servers = {tool.server for tool in tools}
    taken = [name for name in groups if name in GROUPS or name in servers]
    message = "`action_groups.{}`: this group exists already"
    problems = [Problem(MANIFEST, *places[name], message.format(name)) for name in taken]
    for name, patterns in groups.items():
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(tool.action_id, pattern) for tool in tools):
                message = f"`action_groups.{name}`: `{pattern}` matches no pinned tool"
                problems.append(Problem(MANIFEST, *places[name], message, "warning"))
    return [replace(tool, groups=(*tool.groups, *_own_groups(tool, groups))) for tool in tools], problems


def _own_groups(tool: Tool, groups: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        name
        for name, patterns in groups.items()
        if any(fnmatch.fnmatchcase(tool.action_id, pattern) for pattern in patterns)
    ]
