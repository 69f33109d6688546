"""Random worlds: policies, templates, entities with hierarchies and tags, and requests about them.

Everything comes from one seeded generator, so a world is named by its number. The vocabulary is small on purpose:
names meet often, scopes overlap, references chain, and about a third of the conditions can fail to evaluate.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import cedarpy

from pdp.cedar.model import ActionQuery, EntityUid, ToolQuery

SCHEMA = """
entity Group in [Group];
entity Folder in [Folder];
entity User in [Group] {
  age: Long, name: String, manager?: User, groups: Set<Group>, home?: Folder, ip: ipaddr, pay: decimal,
  meta: { level: Long, owner?: User },
} tags Long;
entity Doc in [Folder] { owner: User, public: Bool, labels: Set<String>, acl: Set<User> } tags Set<User>;
entity Server;
action "readers";
action "any" in ["readers"];
action "read" in ["readers", "any"] appliesTo { principal: [User], resource: [Doc], context: {
  n: Long, flag: Bool, who: User, names: Set<String>, rec: { x: { y: Long }, u?: User }, mfa?: Bool } };
action "write" appliesTo { principal: [User], resource: [Doc], context: {
  n: Long, flag: Bool, who: User, names: Set<String>, rec: { x: { y: Long }, u?: User }, mfa?: Bool } };
"""

#: A pinned tool of the world: its input is of the shape that `_tool_arguments` makes.
MANIFEST = {
    "tools": [
        {
            "name": "get",
            "annotations": {"readOnlyHint": True},
            "inputSchema": {
                "type": "object",
                "properties": {
                    "owner": {"type": "string"},
                    "count": {"type": "integer"},
                    "amount": {"type": "number"},
                    "labels": {"type": "array", "items": {"type": "string"}},
                    "deep": {"type": "object", "properties": {"y": {"type": "integer"}}},
                    "any": {},
                },
                "required": ["owner"],
            },
        },
        {"name": "put-it", "inputSchema": {"type": "object", "properties": {"owner": {"type": "string"}}}},
    ]
}

_USERS = [f"u{number}" for number in range(8)]
_GROUPS = [f"g{number}" for number in range(6)]
_FOLDERS = [f"f{number}" for number in range(5)]
_DOCS = [f"d{number}" for number in range(6)]
_ACTIONS = ["read", "write", "srv/get", "srv/put-it"]
_ACTION_GROUPS = ["readers", "any", "srv", "call_tool", "read_only", "destructive"]


@dataclass(frozen=True)
class World:
    """Policy texts in order, links as cedarpy takes them (template ids are `@id`s), and entity JSON."""

    policies: list[str]
    links: list[dict[str, Any]]
    entities: list[dict[str, Any]]
    has_schema: bool


def make_world(seed: int) -> World:
    """The world of that number."""
    rng = random.Random(seed)
    policies = [_policy(rng, number) for number in range(rng.randint(4, 40))]
    templates = [_template(rng, number) for number in range(rng.randint(0, 4))]
    links = [_link(rng, number, template) for template in templates for number in range(rng.randint(0, 6))]
    return World(
        [text for text, _ in templates] + policies,
        [link for link in links if link],
        _entities(rng),
        rng.random() < 0.5,
    )


def _one(rng: random.Random, kind: str, names: list[str]) -> str:
    return f'{kind}::"{rng.choice(names)}"'


def _user(rng: random.Random) -> str:
    return _one(rng, "User", [*_USERS, "missing"])


def _group(rng: random.Random) -> str:
    return _one(rng, "Group", [*_GROUPS, "missing"])


def _principal_scope(rng: random.Random) -> str:
    return rng.choice(
        [
            "principal",
            "principal",
            f"principal == {_user(rng)}",
            f"principal in {_group(rng)}",
            f"principal in {_group(rng)}",
            "principal is User",
            f"principal is User in {_group(rng)}",
            "principal is Group",
            f"principal in {_user(rng)}",
        ]
    )


def _action_scope(rng: random.Random) -> str:
    named = [f'Action::"{name}"' for name in rng.sample(_ACTIONS + _ACTION_GROUPS, rng.randint(0, 3))]
    return rng.choice(
        [
            "action",
            "action",
            f"action == {_one(rng, 'Action', _ACTIONS)}",
            f"action in {_one(rng, 'Action', _ACTIONS + _ACTION_GROUPS)}",
            f"action in [{', '.join(named)}]",
        ]
    )


def _resource_scope(rng: random.Random) -> str:
    return rng.choice(
        [
            "resource",
            "resource",
            "resource",
            f"resource == {_one(rng, 'Doc', _DOCS)}",
            f"resource in {_one(rng, 'Folder', _FOLDERS)}",
            f"resource is Doc in {_one(rng, 'Folder', _FOLDERS)}",
            "resource is Server",
            'resource == Server::"srv"',
        ]
    )


_ATOMS = [
    "principal == {user}",
    "principal in {group}",
    "principal is User",
    "principal has manager",
    "principal.manager in {group}",
    "principal.manager.manager == {user}",
    "principal has manager.manager && principal.manager.manager.age > {n}",
    "principal.age > {n}",
    "principal.age + 9223372036854775807 > {n}",
    'principal.name like "*a*"',
    "principal.groups.contains({group})",
    "principal.groups.containsAny([{group}, {group}])",
    'principal.hasTag("k") && principal.getTag("k") == {n}',
    'principal.getTag("k") > {n}',
    "principal.meta.level > {n}",
    'principal["meta"]["owner"].age < {n}',
    'principal.ip.isInRange(ip("10.0.0.0/8"))',
    'principal.pay.lessThan(decimal("{n}.5"))',
    "principal.home in {folder}",
    "principal.absent == {n}",
    "resource in principal.home",
    "resource.owner == principal",
    "resource.owner in {group}",
    "resource.owner.manager.age > {n}",
    "resource.public",
    'resource.labels.contains("red")',
    "resource.acl.contains(principal)",
    "resource.acl.containsAll([{user}])",
    'resource.hasTag("t") && resource.getTag("t").contains({user})',
    "resource in {folder}",
    "action in {action}",
    "{user}.age > {n}",
    "{user}.manager.age > {n}",
    "{user} in {group}",
    "{user} == principal",
    "context.n > {n}",
    "context.flag",
    "context has mfa && context.mfa",
    "context.mfa",
    "context.who == principal",
    "context.who.age > {n}",
    "context.who.manager.name == principal.name",
    "context.who in {group}",
    'context.names.contains("x")',
    "context.rec.x.y == {n}",
    "context has rec.u && context.rec.u.age > {n}",
    "context.rec.x == {{y: {n}}}",
    "context.rec has u",
    "[context.rec].contains({{x: {{y: {n}}}}})",
    "context == {{n: {n}}}",
    "context.input.owner == principal.name",
    'context.input.owner like "a*"',
    "context.input has count && context.input.count > {n}",
    "context.input.count > {n}",
    'context.input.amount.lessThan(decimal("{n}.0"))',
    'context.input has labels && context.input.labels.contains("red")',
    "context.input.deep.y == {n}",
    "context.input has deep.y && context.input.deep.y < {n}",
    'context.input has any.string && context.input.any.string == "a"',
    "context.input has any && context.input.any has long",
    "context has input",
    'context has undeclared && context.undeclared.contains("extra")',
    "context.undeclared.isEmpty()",
    'context has session_id && context.session_id == "s"',
    "{{a: principal}}.a.age > {n}",
    "(if context.n > {n} then principal else {user}).age > {n}",
    "(if context.flag then principal.manager else {user}) in {group}",
    "[principal, {user}].contains(resource.owner)",
    "ip(principal.name).isIpv4()",
    "principal == {user} || principal.absent",
]


def _atom(rng: random.Random) -> str:
    return rng.choice(_ATOMS).format(
        user=_user(rng),
        group=_group(rng),
        folder=_one(rng, "Folder", _FOLDERS),
        action=_one(rng, "Action", _ACTIONS + _ACTION_GROUPS),
        n=rng.randint(0, 9),
    )


def _condition(rng: random.Random, depth: int = 0) -> str:
    if depth < 2 and rng.random() < 0.5:
        left, right = _condition(rng, depth + 1), _condition(rng, depth + 1)
        return rng.choice(
            [f"({left} && {right})", f"({left} || {right})", f"!({left})", f"(if {left} then {right} else true)"]
        )
    return f"({_atom(rng)})"


def _conditions(rng: random.Random) -> str:
    return " ".join(
        f"{rng.choice(['when', 'when', 'unless'])} {{ {_condition(rng)} }}" for _ in range(rng.choice([0, 1, 1, 1, 2]))
    )


def _policy(rng: random.Random, number: int) -> str:
    effect = rng.choice(["permit", "permit", "forbid"])
    scope = f"{_principal_scope(rng)}, {_action_scope(rng)}, {_resource_scope(rng)}"
    return f'@id("p{number}") {effect} ({scope}) {_conditions(rng)};'


def _template(rng: random.Random, number: int) -> tuple[str, list[str]]:
    principal = rng.choice(["principal == ?principal", "principal in ?principal", "principal is User in ?principal"])
    resource = rng.choice(["resource == ?resource", "resource in ?resource", "resource is Doc in ?resource"])
    slots = rng.choice([["?principal"], ["?resource"], ["?principal", "?resource"]])
    scope = [
        principal if "?principal" in slots else _principal_scope(rng),
        _action_scope(rng),
        resource if "?resource" in slots else _resource_scope(rng),
    ]
    effect = rng.choice(["permit", "forbid"])
    # Links match seldom enough by their slots.
    conditions = _conditions(rng) if rng.random() < 0.4 else ""
    return f'@id("t{number}") {effect} ({", ".join(scope)}) {conditions};', slots


def _link(rng: random.Random, number: int, template: tuple[str, list[str]]) -> dict[str, Any]:
    text, slots = template
    name = text.split('"')[1]
    choices = {
        "?principal": [("User", user) for user in _USERS] + [("Group", group) for group in _GROUPS],
        "?resource": [("Doc", doc) for doc in _DOCS] + [("Folder", folder) for folder in _FOLDERS],
    }
    values = {slot: dict(zip(("type", "id"), rng.choice(choices[slot]), strict=True)) for slot in slots}
    return {"template_id": name, "new_id": f"{name}-link{number}", "values": values}


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _ref(kind: str, name: str) -> dict[str, Any]:
    return {"__entity": _uid(kind, name)}


def _later(rng: random.Random, kind: str, names: list[str], position: int, most: int) -> list[dict[str, str]]:
    """Parents among the later names, so that there is no cycle."""
    above = names[position + 1 :]
    return [_uid(kind, name) for name in rng.sample(above, min(len(above), rng.randint(0, most)))]


def _entities(rng: random.Random) -> list[dict[str, Any]]:
    made = [
        {"uid": _uid(kind, name), "attrs": {}, "parents": _later(rng, kind, names, position, 2)}
        for kind, names in (("Group", _GROUPS), ("Folder", _FOLDERS))
        for position, name in enumerate(names)
        if rng.random() < 0.9
    ]
    made += [_user_entity(rng, name) for name in _USERS if rng.random() < 0.9]
    made += [_doc_entity(rng, name) for name in _DOCS if rng.random() < 0.9]
    return made


def _user_entity(rng: random.Random, name: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {
        "age": rng.randint(0, 9),
        "name": rng.choice(["ada", "bob", "10.0.0.1"]),
        "groups": [_ref("Group", group) for group in rng.sample(_GROUPS, rng.randint(0, 2))],
        "ip": {"__extn": {"fn": "ip", "arg": rng.choice(["10.1.2.3", "192.168.0.1"])}},
        "pay": {"__extn": {"fn": "decimal", "arg": f"{rng.randint(0, 9)}.25"}},
        "meta": {"level": rng.randint(0, 9)},
    }
    if rng.random() < 0.6:
        attrs["manager"] = _ref("User", rng.choice([*_USERS, "missing"]))
    if rng.random() < 0.5:
        attrs["home"] = _ref("Folder", rng.choice(_FOLDERS))
    if rng.random() < 0.5:
        attrs["meta"]["owner"] = _ref("User", rng.choice(_USERS))
    parents = [_uid("Group", group) for group in rng.sample(_GROUPS, rng.randint(0, 2))]
    tags = {"k": rng.randint(0, 9)} if rng.random() < 0.5 else {}
    return {"uid": _uid("User", name), "attrs": attrs, "parents": parents, "tags": tags}


def _doc_entity(rng: random.Random, name: str) -> dict[str, Any]:
    attrs = {
        "owner": _ref("User", rng.choice(_USERS)),
        "public": rng.random() < 0.5,
        "labels": rng.sample(["red", "green", "blue"], rng.randint(0, 2)),
        "acl": [_ref("User", user) for user in rng.sample(_USERS, rng.randint(0, 2))],
    }
    parents = [_uid("Folder", folder) for folder in rng.sample(_FOLDERS, rng.randint(0, 2))]
    tags = {"t": [_ref("User", rng.choice(_USERS))]} if rng.random() < 0.5 else {}
    return {"uid": _uid("Doc", name), "attrs": attrs, "parents": parents, "tags": tags}


def make_queries(world: World, seed: int, count: int) -> list[ActionQuery | ToolQuery]:
    """Requests about a world: half of them tool calls, some of them asked as action and resource instead."""
    rng = random.Random(seed)
    return [_query(rng, world) for _ in range(count)]


def _query(rng: random.Random, world: World) -> ActionQuery | ToolQuery:
    chance = rng.random()
    if chance < 0.1:
        return _spelled_out_tool_query(rng)
    return _tool_query(rng) if chance < 0.55 else _action_query(rng, world)


def _spelled_out_tool_query(rng: random.Random) -> ActionQuery:
    """The action of a tool with a context as a tool call has it: of one shape with tool calls, not of their kind."""
    context = {"input": {"owner": rng.choice(["ada", "bob", "zoe"]), "count": rng.randint(0, 9)}, "undeclared": []}
    return ActionQuery(
        EntityUid("User", rng.choice([*_USERS, "missing"])),
        EntityUid("Action", "srv/get"),
        EntityUid("Server", "srv"),
        json.dumps(context).encode(),
    )


def _action_query(rng: random.Random, world: World) -> ActionQuery:
    context: dict[str, Any] = {
        "n": rng.randint(0, 9),
        "flag": rng.random() < 0.5,
        "who": _ref("User", rng.choice([*_USERS, "missing"])),
        "names": rng.sample(["x", "y"], rng.randint(0, 2)),
        "rec": {"x": {"y": rng.randint(0, 9)}},
    }
    if rng.random() < 0.5:
        context["rec"]["u"] = _ref("User", rng.choice(_USERS))
    if rng.random() < 0.5:
        context["mfa"] = rng.random() < 0.5
    if not world.has_schema and rng.random() < 0.3:
        context = {"n": rng.randint(0, 9)}
    return ActionQuery(
        EntityUid("User", rng.choice([*_USERS, "missing"])),
        EntityUid("Action", rng.choice(["read", "write"])),
        EntityUid("Doc", rng.choice([*_DOCS, "missing"])),
        json.dumps(context).encode() if context else b"",
        _request_entities(rng, world),
    )


def _request_entities(rng: random.Random, world: World) -> bytes:
    if rng.random() < 0.8:
        return b""
    known = {(entity["uid"]["type"], entity["uid"]["id"]) for entity in world.entities}
    fresh = [_user_entity(rng, name) for name in ("u0", "missing") if ("User", name) not in known]
    fresh += [_doc_entity(rng, name) for name in ("d0", "missing") if ("Doc", name) not in known]
    fresh += [entity for entity in world.entities if rng.random() < 0.1]
    return json.dumps(fresh).encode() if fresh else b""


def _tool_query(rng: random.Random) -> ToolQuery:
    arguments: dict[str, Any] = {"owner": rng.choice(["ada", "bob", "zoe"])}
    optional: dict[str, Any] = {
        "count": rng.randint(0, 9),
        "amount": rng.choice([1, 2.5, 7.25]),
        "labels": rng.sample(["red", "green"], rng.randint(0, 2)),
        "deep": rng.choice([{}, {"y": rng.randint(0, 9)}, {"y": 3, "z": 4}]),
        "any": rng.choice(["a", 3, True, [1, 2], {"b": None}, None]),
        "extra": 1,
    }
    arguments.update({name: value for name, value in optional.items() if rng.random() < 0.5})
    return ToolQuery(
        EntityUid("User", rng.choice([*_USERS, "missing"])),
        "srv",
        rng.choice(["get", "put-it"]),
        json.dumps(arguments).encode(),
        rng.choice(["", "s"]),
    )


def plain_answer(
    world: World,
    policies: cedarpy.PolicySet,
    names: dict[str, str],
    entities: cedarpy.Entities,
    schema: cedarpy.Schema | None,
    request: dict[str, Any],
) -> tuple[str, list[str], list[tuple[str, str]]]:
    """Plain cedarpy over everything: decision, determining policies, errors, by our names."""
    result = cedarpy.is_authorized(request, policies, entities, schema)
    reasons = sorted(names.get(reason, reason) for reason in result.diagnostics.reasons)
    errors = []
    for error in result.diagnostics.errors:
        name, _, message = error.removeprefix("error while evaluating policy `").partition("`: ")
        errors.append((names.get(name, name), message))
    return result.decision.value, reasons, sorted(errors)
