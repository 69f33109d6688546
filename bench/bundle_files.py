"""A world as a bundle of this service."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from bench.workloads import LOWEST_ISSUE, ROLES, TOOLS, Rule, Tool, World, server_name

_ENTITIES_PER_FILE = 10_000
_SCHEMA = """\
entity Role in [Role];
entity Agent in [Role] { org: String, level: Long, manager?: Agent };
"""


def write_bundle(world: World, directory: Path, *, schema: bool = False, file_per_tool: bool = False) -> None:
    """Write the bundle of `world` into `directory`, which is made: a policy file for each server, or for each tool.

    Without a schema nothing is validated, which is what makes 100,000 policies load in seconds; a tool call costs the
    same with one.
    """
    for name in ("policies", "entities", "tools"):
        (directory / name).mkdir(parents=True)
    (directory / "bundle.toml").write_text('name = "bench"\n')
    if schema:
        (directory / "schema.cedarschema").write_text(_SCHEMA)
    ordered = sorted(world.rules, key=lambda rule: _file_of(rule, file_per_tool))
    for name, rules in groupby(ordered, lambda rule: _file_of(rule, file_per_tool)):
        path = directory / "policies" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(policy_text(world, rule, number) for number, rule in enumerate(rules)))
    for server, tools in groupby(world.tools, lambda tool: tool.server):
        document = {"tools": [_definition(TOOLS[tool.number]) for tool in tools]}
        (directory / "tools" / f"{server_name(server)}.json").write_text(json.dumps(document))
    remaining = _entities(world)
    number = 0
    while chunk := list(islice(remaining, _ENTITIES_PER_FILE)):
        (directory / "entities" / f"{number:04d}.json").write_text(json.dumps(chunk))
        number += 1


def tool_policies(directory: Path, tool: Tool) -> Path:
    """The file with a tool's rules in a bundle with a file for each tool."""
    return directory / "policies" / _file_of(Rule("reader", *tool), file_per_tool=True)


def policy_text(world: World, rule: Rule, number: int) -> str:
    """The rule in Cedar. `number` is unique among the rules of one kind and place."""
    place = "" if rule.server is None else server_name(rule.server)
    if rule.tool is not None:
        place += f"/{TOOLS[rule.tool]}"
    scope, condition = _scope(world, rule, place), _condition(rule)
    effect = "forbid" if rule.kind in ("level", "blocked", "secrets") else "permit"
    return f'@id("{rule.kind}:{place}:{number}")\n{effect} ({scope})\n{condition};\n'


def _scope(world: World, rule: Rule, place: str) -> str:
    if rule.kind == "level":
        return 'principal, action in Action::"destructive", resource'
    if rule.kind == "blocked":
        return f'principal, action in Action::"{place}", resource'
    if rule.kind in ("secrets", "tenant"):
        return f'principal, action == Action::"{place}", resource'
    role = f"dept-{(rule.server or 0) % world.departments}-{rule.kind}"
    resource = f'resource == Server::"{server_name(rule.server or 0)}"' if rule.kind == "auditor" else "resource"
    return f'principal in Role::"{role}", action == Action::"{place}", {resource}'


def _condition(rule: Rule) -> str:
    given = "context.input"
    return {
        "level": "unless { principal.level >= 1 }",
        "blocked": f'when {{ {given}.owner == "blocked-{rule.server}" }}',
        "reader": f"when {{ {given}.owner == principal.org && {given}.issue_number > {LOWEST_ISSUE} }}",
        "writer": f'when {{ {given}.repo like "team-*" && !({given}.title like "*urgent*") }}',
        "secrets": f'when {{ {given}.repo == "secrets-{rule.server}" }}',
        "auditor": f'when {{ {given}.owner == "audited" }}',
        "tenant": f'when {{ {given}.owner == "tenant-{rule.value}" && {given}.issue_number > {LOWEST_ISSUE} }}',
        "guest": f'when {{ {given}.owner == "guests" }}',
    }[rule.kind]


def _file_of(rule: Rule, file_per_tool: bool) -> str:
    if rule.server is None:
        return "everywhere.cedar"
    if not file_per_tool:
        return f"{server_name(rule.server)}.cedar"
    name = "server" if rule.tool is None else TOOLS[rule.tool]
    return f"{server_name(rule.server)}/{name}.cedar"


def _definition(name: str) -> dict[str, Any]:
    """A tool as MCP lists it. Without annotations it counts as destructive."""
    text = {"type": "string"}
    properties = {
        "owner": {**text, "description": "who owns the repository"},
        "repo": {**text, "description": "the repository's name"},
        "issue_number": {"type": "integer"},
        "title": text,
        "body": text,
        "labels": {"type": "array", "items": text},
    }
    required = ["owner", "repo", "issue_number", "title"]
    schema = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": f"{name.replace('_', ' ')} of a repository", "inputSchema": schema}


def _entities(world: World) -> Iterator[dict[str, Any]]:
    for department in range(world.departments):
        for role in ROLES:
            yield _entity("Role", f"dept-{department}-{role}", {}, ())
    for team in range(world.teams):
        roles = (f"dept-{team % world.departments}-{role}" for role in ("reader", "writer"))
        yield _entity("Role", f"team-{team}", {}, roles)
    for agent in range(world.agents):
        attributes: dict[str, Any] = {"org": f"acme-{agent % world.departments}", "level": 1 + agent % 5}
        if agent:
            attributes["manager"] = {"__entity": {"type": "Agent", "id": agent_name(agent // 8)}}
        yield _entity("Agent", agent_name(agent), attributes, (f"team-{world.team(agent)}",))


def agent_name(agent: int) -> str:
    """An agent's id, in every language."""
    return f"agent-{agent}"


def _entity(kind: str, name: str, attributes: dict[str, Any], roles: Iterable[str]) -> dict[str, Any]:
    parents = [{"type": "Role", "id": role} for role in roles]
    return {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": parents}
