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
_TOOL_ACTIONS = ["srv/get", "srv/get", "srv/put-it", "srv", "call_tool", "read_only", "destructive"]
_OTHER_ACTIONS = ["read", "read", "write", "readers", "any"]


@dataclass(frozen=True)
class World:
    """Policy texts in order, links as cedarpy takes them (template ids are `@id`s), and entity JSON."""

    policies: list[str]
    links: list[dict[str, Any]]
    entities: list[dict[str, Any]]
    has_schema: bool


def make_world(seed: int, *, shadows: bool = False) -> World:
    """The world of that number. With `shadows` about a third of its policies are shadow policies."""
    rng = random.Random(seed)
    policies = [_policy(rng, number) for number in range(rng.randint(4, 40))]
    templates = [_template(rng, number) for number in range(rng.randint(0, 4))]
    links = [_link(rng, number, template) for template in templates for number in range(rng.randint(0, 6))]
    texts = [text for text, _ in templates] + policies
    if shadows:
        texts = [f'@enforcement("shadow") {text}' if rng.random() < 0.3 else text for text in texts]
    has_schema = rng.random() < 0.5
    return World(
        texts,
        [link for link in links if link],
        _entities(rng, has_schema=has_schema),
        has_schema,
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
            f"principal is Group in {_group(rng)}",
            f"principal in {_user(rng)}",
        ]
    )


def _action_scope(rng: random.Random, names: list[str]) -> str:
    named = [f'Action::"{name}"' for name in rng.sample(names, rng.randint(0, 3))]
    return rng.choice(
        [
            # A group's own name is not its members'.
            f"action == {_one(rng, 'Action', names)}",
            f"action == {_one(rng, 'Action', names)}",
            f"action in {_one(rng, 'Action', names)}",
            f"action in {_one(rng, 'Action', names)}",
            f"action in [{', '.join(named)}]",
        ]
    )


def _head(rng: random.Random, *, for_tools: bool) -> str:
    """The action's part of a scope. Every fourth is for anything at all."""
    if rng.random() < 0.25:
        return "action"
    return _action_scope(rng, _TOOL_ACTIONS if for_tools else _OTHER_ACTIONS)


def _resource_scope(rng: random.Random, *, for_tools: bool) -> str:
    if for_tools and rng.random() < 0.7:
        return rng.choice(["resource", "resource is Server", 'resource == Server::"srv"', 'resource in Server::"srv"'])
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

#: About tool calls, and without an error for most of them.
_CERTAIN_ATOMS = [
    "principal == {user}",
    "principal in {group}",
    "principal is User in {group}",
    "principal has manager && principal.manager in {group}",
    "principal has manager.manager && principal.manager.manager == {user}",
    "principal has age && principal.age > {n}",
    'principal has name && principal.name like "*a*"',
    "principal has groups && principal.groups.containsAny([{group}, {group}])",
    'principal.hasTag("k") && principal.getTag("k") == {n}',
    "principal has meta.level && principal.meta.level > {n}",
    'principal has pay && principal.pay.lessThan(decimal("{n}.5"))',
    "principal has home && principal.home in {folder}",
    "action in {action}",
    "action == {action}",
    "{user} in {group}",
    'resource == Server::"srv"',
    'resource in [Server::"srv", {folder}]',
    "context has input && principal has name && context.input.owner == principal.name",
    'context has input && context.input.owner like "*d*"',
    "context has input.count && context.input.count > {n}",
    "context has input.count && context.input.count * {n} == context.input.count + {n}",
    'context has input.amount && context.input.amount.greaterThan(decimal("{n}.0"))',
    'context has input.labels && context.input.labels.contains("red")',
    'context has input.labels && context.input.labels == ["green", "red"]',
    "context has input.deep && context.input.deep == {{y: {n}}}",
    'context has input.any.string && context.input.any.string == "a"',
    "context has input.any && context.input.any == {{long: 3}}",
    'context has undeclared && context.undeclared.contains("extra")',
    "context has undeclared && context.undeclared.isEmpty()",
    'context has session_id && context.session_id == "s"',
    "context has on_behalf_of && context.on_behalf_of in {group}",
    "context has on_behalf_of && context.on_behalf_of has age && context.on_behalf_of.age > {n}",
    "context has on_behalf_of && context.on_behalf_of != principal",
    "context has who && context.who == principal",
    "context has who && context.who has manager && context.who.manager in {group}",
    "context has set && context.set.contains({{u: {user}, n: 1}})",
    "context has set && context.set.containsAny([{user}, 1, true])",
    'context has price && context.price == decimal("1.5")',
    "context has interceptors.scan && context.interceptors.scan.score > {n}",
    "(if principal in {group} then principal else {user}) in {group}",
    "[principal, {user}].contains({user})",
    "principal == {user} || principal.absent",
]


def _atom(rng: random.Random, *, for_tools: bool = False) -> str:
    return rng.choice(_CERTAIN_ATOMS if for_tools and rng.random() < 0.98 else _ATOMS).format(
        user=_user(rng),
        group=_group(rng),
        folder=_one(rng, "Folder", _FOLDERS),
        action=_one(rng, "Action", _ACTIONS + _ACTION_GROUPS),
        n=rng.randint(0, 9),
    )


def _condition(rng: random.Random, *, for_tools: bool, depth: int = 0) -> str:
    if depth < 2 and rng.random() < 0.5:
        left, right = (_condition(rng, for_tools=for_tools, depth=depth + 1) for _ in range(2))
        return rng.choice(
            [f"({left} && {right})", f"({left} || {right})", f"!({left})", f"(if {left} then {right} else true)"]
        )
    return f"({_atom(rng, for_tools=for_tools)})"


def _conditions(rng: random.Random, *, for_tools: bool) -> str:
    return " ".join(
        f"{rng.choice(['when', 'when', 'unless'])} {{ {_condition(rng, for_tools=for_tools)} }}"
        for _ in range(rng.choice([0, 1, 1, 1, 2]))
    )


def _policy(rng: random.Random, number: int) -> str:
    effect = rng.choice(["permit", "permit", "forbid"])
    for_tools = rng.random() < 0.5
    scope = f"{_principal_scope(rng)}, {_head(rng, for_tools=for_tools)}, {_resource_scope(rng, for_tools=for_tools)}"
    return f'@id("p{number}") {effect} ({scope}) {_conditions(rng, for_tools=for_tools)};'


def _template(rng: random.Random, number: int) -> tuple[str, list[str]]:
    principal = rng.choice(["principal == ?principal", "principal in ?principal", "principal is User in ?principal"])
    resource = rng.choice(["resource == ?resource", "resource in ?resource", "resource is Doc in ?resource"])
    slots = rng.choice([["?principal"], ["?resource"], ["?principal", "?resource"]])
    for_tools = rng.random() < 0.5
    scope = [
        principal if "?principal" in slots else _principal_scope(rng),
        _head(rng, for_tools=for_tools),
        resource if "?resource" in slots else _resource_scope(rng, for_tools=for_tools),
    ]
    effect = rng.choice(["permit", "forbid"])
    # Links match seldom enough by their slots.
    conditions = _conditions(rng, for_tools=for_tools) if rng.random() < 0.4 else ""
    return f'@id("t{number}") {effect} ({", ".join(scope)}) {conditions};', slots


def _link(rng: random.Random, number: int, template: tuple[str, list[str]]) -> dict[str, Any]:
    text, slots = template
    name = text.split('"')[1]
    choices = {
        "?principal": [("User", user) for user in _USERS] + [("Group", group) for group in _GROUPS],
        "?resource": [("Doc", doc) for doc in _DOCS]
        + [("Folder", folder) for folder in _FOLDERS]
        + [("Server", "srv")] * 4,
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


def _entities(rng: random.Random, *, has_schema: bool) -> list[dict[str, Any]]:
    made = [
        {"uid": _uid(kind, name), "attrs": {}, "parents": _later(rng, kind, names, position, 2)}
        for kind, names in (("Group", _GROUPS), ("Folder", _FOLDERS))
        for position, name in enumerate(names)
        if rng.random() < 0.9
    ]
    made += [_user_entity(rng, name, has_schema=has_schema) for name in _USERS if rng.random() < 0.9]
    made += [_doc_entity(rng, name) for name in _DOCS if rng.random() < 0.9]
    return made


def _user_entity(rng: random.Random, name: str, *, has_schema: bool) -> dict[str, Any]:
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
    if not has_schema and rng.random() < 0.4:
        # Those with simple values alone are kept in a form of their own.
        attrs = {key: value for key, value in attrs.items() if key in ("age", "name", "manager", "home")}
        tags = {}
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
    fresh = [
        _user_entity(rng, name, has_schema=world.has_schema)
        for name in ("u0", "missing")
        if ("User", name) not in known
    ]
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


def make_calls(world: World, seed: int, count: int) -> list[ToolQuery]:
    """Tool calls with all that can come with one: entities, a token's facts, a user acted for, context, facts."""
    rng = random.Random(seed)
    return [_call(rng, world) for _ in range(count)]


def _call(rng: random.Random, world: World) -> ToolQuery:
    call = _tool_query(rng)
    if rng.random() < 0.3:
        call = call._replace(entities=_request_entities(rng, world))
    if rng.random() < 0.3:
        call = call._replace(on_behalf_of=EntityUid("User", rng.choice([*_USERS, "missing"])))
    if rng.random() < 0.3:
        call = call._replace(subject_facts=_subject_facts(rng, call))
    if rng.random() < 0.3 and not world.has_schema:
        call = call._replace(context=json.dumps(_caller_context(rng)).encode())
    if rng.random() < 0.3:
        call = call._replace(facts=json.dumps({"scan": {"score": rng.randint(0, 9)}}))
    return call


def _subject_facts(rng: random.Random, call: ToolQuery) -> str:
    """What a token says of the subject, and of whom it acts for: groups and a tag, nothing that can disagree."""
    uids = [uid for uid in (call.principal, call.on_behalf_of) if uid is not None]
    return json.dumps(
        [
            {
                "uid": uid._asdict(),
                "attrs": {},
                "tags": {"claim": rng.randint(0, 9)},
                "parents": [_uid("Group", name) for name in rng.sample(_GROUPS, rng.randint(0, 2))],
            }
            for uid in dict.fromkeys(uids)
        ]
    )


def _caller_context(rng: random.Random) -> dict[str, Any]:
    user = _ref("User", rng.choice([*_USERS, "missing"]))
    context: dict[str, Any] = {
        "who": rng.choice([user, user, user["__entity"]]),
        "set": rng.choice([[], [user, 1, True], [{"n": 1, "u": user}], [[user], [user, user]]]),
        "price": {"__extn": {"fn": "decimal", "arg": rng.choice(["1.5", "1.50", "-0.0", "2.0"])}},
        "address": {"__extn": {"fn": "ip", "arg": "10.0.0.1"}},
    }
    return {name: value for name, value in context.items() if rng.random() < 0.7}


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
