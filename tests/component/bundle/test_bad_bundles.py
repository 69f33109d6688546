"""Bundles that must not load: each with exactly the problems, at exactly the places."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.bundles import PERMIT_ALL, Files, entity, manifest, problems_of, tool
from tests.modules import answering, binding, module, transform

HEAD = "permit(principal, action, resource)"
SCHEMA = """entity Agent in [Group] { age?: Long, boss?: Agent };
entity Group in [Group];
entity Server;
action read appliesTo { principal: Agent, resource: Server, context: { n?: Long } };
"""
TEMPLATE = '@id("t") permit(principal == ?principal, action, resource in ?resource);\n@id("s") ' + PERMIT_ALL
ARGS = {"?principal": 'Agent::"a"', "?resource": {"type": "Server", "id": "s"}}

MODULE = answering()
MODULE_SHA256 = hashlib.sha256(MODULE).hexdigest()

#: A bundle's files, and its problems without the word `error`.
Case = tuple[Files, list[str]]


def _problems(files: Files) -> list[str]:
    return [problem.replace(": error: ", ": ", 1) for problem in problems_of(files)]


def _lines(*values: Any) -> str:
    """A JSON array with one element a line, from the second line on."""
    return "[\n" + ",\n".join(map(json.dumps, values)) + "\n]"


def _link(template: Any = "t", link: Any = "l", **args: Any) -> dict[str, Any]:
    return {"template_id": template, "link_id": link, "args": args or ARGS}


POLICIES: dict[str, Case] = {
    "several mistakes in several files": (
        {
            "policies/a.cedar": f"{HEAD};\nforbid(principal, action, recource);\n{HEAD} when {{ 1 === 2 }};",
            "policies/deep/er/b.cedar": f"\n\n{HEAD} when {{ foo(1) }};\nforbid(principal)",
        },
        [
            "policies/a.cedar:2:27: found an invalid variable in the policy scope: recource",
            "policies/a.cedar:3:48: unexpected token `=`",
            "policies/deep/er/b.cedar:3:44: `foo` is not a valid function",
            "policies/deep/er/b.cedar:4:17: unexpected end of input",
        ],
    ),
    "ids that are taken": (
        {
            "policies/a.cedar": f'@id("x") {PERMIT_ALL}\n{PERMIT_ALL}\n@id("x") {PERMIT_ALL}',
            "policies/b.cedar": f'@id("x")\n{PERMIT_ALL}\n@id("policies/a.cedar#2") {PERMIT_ALL}',
        },
        [
            "policies/a.cedar:3:1: policy id `x` is taken by policies/a.cedar:1",
            "policies/b.cedar:1:1: policy id `x` is taken by policies/a.cedar:1",
            "policies/b.cedar:3:1: policy id `policies/a.cedar#2` is taken by policies/a.cedar:2",
        ],
    ),
    "a policy and a template of one id": (
        {"policies/a.cedar": f'@id("x") {PERMIT_ALL}\n@id("x") permit(principal == ?principal, action, resource);'},
        ["policies/a.cedar:2:1: policy id `x` is taken by policies/a.cedar:1"],
    ),
    "an unknown enforcement": (
        {"policies/a.cedar": f'{PERMIT_ALL}\n @enforcement("shadwo") {PERMIT_ALL}'},
        ["policies/a.cedar:2:2: `@enforcement` is `shadwo`; write `shadow` or `enforce`"],
    ),
    "an annotation twice": (
        {"policies/a.cedar": f'@id("a") @id("b") {PERMIT_ALL}'},
        ["policies/a.cedar:1:1: duplicate annotation: @id"],
    ),
    "bytes that are no text": (
        {"policies/a.cedar": b"\xff", "policies/b.cedar": PERMIT_ALL.encode() + b"// caf\xe9"},
        ["policies/a.cedar: not UTF-8 at byte 0", "policies/b.cedar: not UTF-8 at byte 42"],
    ),
    "a byte order mark": (
        {"policies/a.cedar": "\ufeff" + PERMIT_ALL},
        ["policies/a.cedar:1:1: invalid token"],
    ),
    "a bomb": (
        {"policies/a.cedar": f"{PERMIT_ALL}\n{HEAD} when {{ {'(' * 100_000}"},
        [
            (
                "policies/a.cedar:2:107: the policy nests too deeply to be analysed; split it, or write long "
                "alternatives as `[…].contains(…)`"
            )
        ],
    ),
    "violations of the schema": (
        {
            "schema.cedarschema": SCHEMA,
            "policies/a.cedar": "\n".join(
                [
                    'permit(principal, action == Action::"read", resource) when { principal.shoe == 1 };',
                    '@id("two")',
                    "permit(principal is Robot, action, resource);",
                    'permit(principal, action == Action::"write", resource);',
                    'permit(principal, action == Action::"read", resource) when { context.n > 1 };',
                    "permit(principal == ?principal, action, resource) when { principal.shoe == 2 };",
                ]
            ),
        },
        [
            "policies/a.cedar:1:1: policy `policies/a.cedar#1`: attribute `shoe` on entity type `Agent` not found",
            (
                "policies/a.cedar:2:1: policy `two`: unable to find an applicable action given the policy scope "
                "constraints"
            ),
            "policies/a.cedar:2:1: policy `two`: unrecognized entity type `Robot`",
            (
                "policies/a.cedar:4:1: policy `policies/a.cedar#3`: unable to find an applicable action given the "
                "policy scope constraints"
            ),
            'policies/a.cedar:4:1: policy `policies/a.cedar#3`: unrecognized action `Action::"write"`',
            (
                "policies/a.cedar:5:1: policy `policies/a.cedar#4`: unable to guarantee safety of access to optional "
                'attribute `n` in context for Action::"read"'
            ),
            "policies/a.cedar:6:1: policy `policies/a.cedar#5`: attribute `shoe` on entity type `Agent` not found",
        ],
    ),
    "violations beside mistakes in one file": (
        {
            "schema.cedarschema": SCHEMA,
            "policies/a.cedar": f"{HEAD} when {{ principal.shoe == 1 }};\nnonsense;",
        },
        [
            "policies/a.cedar:1:1: policy `policies/a.cedar#1`: attribute `shoe` on entity type `Agent` not found",
            "policies/a.cedar:2:9: unexpected token `;`",
        ],
    ),
}

LINKS: dict[str, Case] = {
    "links that do not fit": (
        {
            "policies/a.cedar": TEMPLATE,
            "policies/a.links.json": _lines(
                _link(),
                _link(template="nope", link="2"),
                _link(template="s", link="3"),
                _link(link="4", **{"?principal": 'Agent::"a"'}),
                _link(),
                _link(link="s"),
                _link(link="5", **ARGS, **{"?other": 'A::"a"'}),
            ),
            "policies/b.links.json": _lines(_link()),
        },
        [
            "policies/a.links.json:3:1: link `2`: there is no template `nope`",
            "policies/a.links.json:4:1: link `3`: there is no template `s`",
            "policies/a.links.json:5:1: link `4`: template `t` wants exactly `?principal`, `?resource`",
            "policies/a.links.json:6:1: link `l`: policy id `l` is taken",
            "policies/a.links.json:7:1: link `s`: policy id `s` is taken",
            "policies/a.links.json:8:1: link `5`: template `t` wants exactly `?principal`, `?resource`",
            "policies/b.links.json:2:1: link `l`: policy id `l` is taken",
        ],
    ),
    "links that are none": (
        {
            "policies/a.cedar": TEMPLATE,
            "policies/a.links.json": _lines(
                5,
                {"template_id": "t", "link_id": "x"},
                {**_link(), "more": 1},
                _link(link=""),
                _link(link=5),
                {**_link(), "args": []},
                _link(**{"?principal": "nope"}),
                _link(**{"?principal": 'Agent::"\\q"'}),
                _link(**{"?principal": 5}),
                _link(**{"?principal": {"type": "no type", "id": "a"}}),
                _link(**{"?principal": {"type": "Agent", "id": "a", "more": 1}}),
            ),
        },
        [
            "policies/a.links.json:2:1: a link has exactly the keys `template_id`, `link_id` and `args`",
            "policies/a.links.json:3:1: a link has exactly the keys `template_id`, `link_id` and `args`",
            "policies/a.links.json:4:1: a link has exactly the keys `template_id`, `link_id` and `args`",
            "policies/a.links.json:5:1: `template_id` and `link_id` are non-empty strings",
            "policies/a.links.json:6:1: `template_id` and `link_id` are non-empty strings",
            "policies/a.links.json:7:1: `args` is an object of slots to entities",
            'policies/a.links.json:8:1: `nope` is not an entity; write `Type::"id"`',
            "policies/a.links.json:9:1: `\\q` is not an escape of Cedar's",
            'policies/a.links.json:10:1: a slot\'s value is an entity, such as `User::"alice"`',
            "policies/a.links.json:11:1: `no type` is not a Cedar entity type name",
            'policies/a.links.json:12:1: a slot\'s value is an entity, such as `User::"alice"`',
        ],
    ),
    "links files that are none": (
        {
            "policies/a.links.json": '[\n {"template_id": "t",, }]',
            "policies/b.links.json": "{}",
            "policies/c.links.json": b"\xff",
            "policies/d.links.json": '[{"a": 1,\n "a": 2}]',
            "policies/e.links.json": "[" * 100_000,
        },
        [
            "policies/a.links.json:2:2: expected a key in double quotes",
            "policies/b.links.json:1:1: a links file is a JSON array of links",
            "policies/c.links.json: not UTF-8 at byte 0",
            "policies/d.links.json:1:8: the key `a` is given twice",
            "policies/e.links.json:1:33: nests deeper than 32 levels",
        ],
    ),
}

SCHEMAS: dict[str, Case] = {
    "a syntax error": (
        {"schema.cedarschema": "entity Agent;\nentity Group { x: Long ];"},
        ["schema.cedarschema:2:24: error parsing schema: unexpected token `]`"],
    ),
    "an unfinished declaration": (
        {"schema.cedarschema": "entity Agent = {"},
        ["schema.cedarschema:1:16: error parsing schema: unexpected end of input"],
    ),
    "a type that is not there": (
        {"schema.cedarschema": "entity Agent;\nentity Group {\n  x: Lnog\n};"},
        ["schema.cedarschema:3:6: failed to resolve type: Lnog"],
    ),
    "a group that is not there": (
        {"schema.cedarschema": "entity Agent in [Nope];"},
        ["schema.cedarschema:1:18: failed to resolve type: Nope"],
    ),
    "a declaration twice": (
        {"schema.cedarschema": "entity Agent;\nentity Agent;"},
        ["schema.cedarschema:1:8: error parsing schema: `Agent` is declared twice"],
    ),
    "a pinned tool's action": (
        {
            "schema.cedarschema": 'entity Agent;\naction "s/t" appliesTo { principal: Agent, resource: Agent };',
            "tools/s.json": manifest(tool("t")),
        },
        ["schema.cedarschema:2:8: error parsing schema: `s/t` is declared twice"],
    ),
    "names that are none": (
        {"schema.cedarschema": "entity 123;"},
        ["schema.cedarschema:1:8: error parsing schema: unexpected token `123`"],
    ),
    "a reserved name": (
        {"schema.cedarschema": "entity in;"},
        ["schema.cedarschema:1:8: error parsing schema: `in` is a reserved identifier"],
    ),
    "a namespace without anything": (
        {"schema.cedarschema": "namespace A"},
        ["schema.cedarschema:1:11: error parsing schema: unexpected end of input"],
    ),
    "nobody who could ask": (
        {"schema.cedarschema": "// nothing\n"},
        [
            (
                "schema.cedarschema:1:1: declares no entity type that could be the subject of a tool call, such as "
                "`entity Agent;`"
            )
        ],
    ),
    "bytes that are no text": (
        {"schema.cedarschema": b"entity \xff;"},
        ["schema.cedarschema: not UTF-8 at byte 7"],
    ),
    "a bomb": (
        {"schema.cedarschema": "entity A { x: " + "Set<" * 100_000},
        ["schema.cedarschema:1:270: the schema nests too deeply"],
    ),
}

UID = 'an entity uid is written `{"type": "…", "id": "…"}`'
ENTITIES: dict[str, Case] = {
    "entities that Cedar refuses": (
        {
            "entities/a.json": _lines(
                entity("User", "a", x=1.5),
                entity("User", "b", x={"y": [None]}),
                entity("User", "c", x=2**70),
                entity("User", "fine", x=1),
                entity("User", "d", x={"__extn": {"fn": "nope", "arg": "1"}}),
                entity("not a type", "e"),
                {"uid": {"type": "User", "id": "f"}},
                {**entity("User", "g"), "tags": {"t": 1.5}},
            )
        },
        [
            'entities/a.json:2:1: `User::"a"`: error during entity deserialization; at fault is `x` in `attrs`',
            'entities/a.json:3:1: `User::"b"`: error during entity deserialization; at fault is `x` in `attrs`',
            'entities/a.json:4:1: `User::"c"`: error during entity deserialization; at fault is `x` in `attrs`',
            'entities/a.json:6:1: `User::"d"`: error during entity deserialization; at fault is `x` in `attrs`',
            'entities/a.json:7:1: `not a type::"e"`: error during entity deserialization',
            'entities/a.json:8:1: `User::"f"`: error during entity deserialization',
            'entities/a.json:9:1: `User::"g"`: error during entity deserialization; at fault is `t` in `tags`',
        ],
    ),
    "elements that are no entities": (
        {
            "entities/a.json": _lines(
                7,
                [],
                {"uid": 5},
                {"uid": 'User::"a"'},
                {**entity("User", "a"), "parents": 5},
                {**entity("User", "a"), "parents": [5]},
                {**entity("User", "a"), "attrs": None},
                {**entity("User", "a"), "tags": None},
                {**entity("User", "a"), "attrs": ["x"]},
                {**entity("User", "a"), "tags": 5},
                entity("User", "b", x=[{"__entity": 5}]),
                entity("User", "c", x={"__extn": {"fn": "ip", "arg": "::1"}, "y": 1}),
            )
        },
        [
            "entities/a.json:2:1: an entity is a JSON object with `uid`, `attrs` and `parents`",
            "entities/a.json:3:1: an entity is a JSON object with `uid`, `attrs` and `parents`",
            f"entities/a.json:4:1: {UID}",
            f"entities/a.json:5:1: {UID}",
            "entities/a.json:6:1: `parents` must be an array",
            f"entities/a.json:7:1: {UID}",
            "entities/a.json:8:1: `attrs` must be an object",
            "entities/a.json:9:1: `tags` must be an object",
            "entities/a.json:10:1: `attrs` must be an object",
            "entities/a.json:11:1: `tags` must be an object",
            "entities/a.json:12:1: `__entity` is not used as Cedar's JSON defines it",
            "entities/a.json:13:1: `__extn` is not used as Cedar's JSON defines it",
        ],
    ),
    "files that are no arrays": (
        {
            "entities/a.json": "",
            "entities/b.json": "{}",
            "entities/c.json": "[",
            "entities/d.json": "[{},\n]",
            "entities/e.json": "[] []",
            "entities/f.json": b"[\xff]",
            "entities/g.json": '[\n{"uid": 1, "uid": 2}]',
            "entities/h.json": "[{}\n{}]",
            "entities/i.json": '[{"x": NaN}]',
            "entities/j.json": '[{"x": tru}]',
            "entities/k.json": "\ufeff[]",
        },
        [
            "entities/a.json:1:1: an entity file is a JSON array of entities",
            "entities/b.json:1:1: an entity file is a JSON array of entities",
            "entities/c.json:1:2: not valid JSON: expecting value",
            f"entities/d.json:1:2: {UID}",
            "entities/d.json:2:1: not valid JSON: expected `,` and another entity, or `]`",
            "entities/e.json:1:4: not valid JSON: text after the array",
            "entities/f.json: not UTF-8 at byte 1",
            "entities/g.json:2:1: the key `uid` stands twice in one object",
            f"entities/h.json:1:2: {UID}",
            "entities/h.json:2:1: not valid JSON: expected `,` and another entity, or `]`",
            "entities/i.json:1:2: `NaN` is not JSON",
            "entities/j.json:1:8: not valid JSON: expecting value",
            "entities/k.json:1:1: an entity file is a JSON array of entities",
        ],
    ),
    "bombs": (
        {
            "entities/a.json": "[" * 100_000,
            "entities/b.json": '[{"uid":{"type":"A","id":"b"},"parents":[],"attrs":{"x":'
            + "[" * 900
            + "]" * 900
            + "}}]",
            "entities/c.json": '[{"a":' * 50_000,
        },
        [
            "entities/a.json:1:2: nests too deeply",
            'entities/b.json:1:2: `A::"b"`: error during entity deserialization; at fault is `x` in `attrs`',
            "entities/c.json:1:2: nests too deeply",
        ],
    ),
    "names that are taken": (
        {
            "entities/a.json": _lines(entity("User", "a"), entity("User", "b"), entity("User", "a")),
            "entities/b.json": _lines(entity("User", "c"), entity("User", "b")),
        },
        [
            'entities/a.json:4:1: `User::"a"` stands here for the second time',
            'entities/b.json:3:1: `User::"b"` is defined elsewhere too',
        ],
    ),
    "cycles": (
        {
            "entities/a.json": _lines(
                entity("Group", "a", ("Group", "b")),
                entity("Group", "self", ("Group", "self")),
                entity("Group", "x", ("Group", "y")),
                entity("Group", "y", ("Group", "x")),
            ),
            "entities/b.json": _lines(entity("Group", "b", ("Group", "c"))),
            "entities/c.json": _lines(entity("Group", "c", ("Group", "a"))),
        },
        ["Group::self", "Group::x or Group::y", "Group::a or Group::b or Group::c"],
    ),
    "violations of the schema": (
        {
            "schema.cedarschema": SCHEMA,
            "entities/a.json": _lines(
                entity("Robot", "a"),
                entity("Agent", "a", age="old"),
                entity("Agent", "b", shoe=44),
                entity("Agent", "c", ("Agent", "a")),
                entity("Action", "mine"),
                entity("Action", "read"),
                entity("Agent", "fine", age=1, boss={"type": "Agent", "id": "a"}),
            ),
        },
        [
            'entities/a.json:2:1: `Robot::"a"`: error during entity deserialization',
            'entities/a.json:3:1: `Agent::"a"`: entity does not conform to the schema; at fault is `age` in `attrs`',
            'entities/a.json:4:1: `Agent::"b"`: error during entity deserialization; at fault is `shoe` in `attrs`',
            (
                'entities/a.json:5:1: `Agent::"c"`: entity does not conform to the schema; at fault is `Agent::"a"` in '
                "`parents`"
            ),
            'entities/a.json:6:1: `Action::"mine"`: entity does not conform to the schema',
            'entities/a.json:6:1: `Action::"mine"`: with a schema, actions are declared there',
            'entities/a.json:7:1: `Action::"read"` is defined elsewhere too',
            'entities/a.json:7:1: `Action::"read"`: with a schema, actions are declared there',
        ],
    ),
    "a pinned tool's action": (
        {"entities/a.json": _lines(entity("Action", "s/t", ("Action", "mine"))), "tools/s.json": manifest(tool("t"))},
        ['entities/a.json:2:1: `Action::"s/t"` is defined elsewhere too'],
    ),
}
PATTERN = "string should match pattern"
MANIFESTS: dict[str, Case] = {
    "no TOML": (
        {"bundle.toml": 'name = "a"\ndescription = \n'},
        ["bundle.toml:2:15: not valid TOML: invalid value"],
    ),
    "an unfinished text": (
        {"bundle.toml": 'name = """a\nb'},
        ["bundle.toml:2:2: not valid TOML: unterminated string"],
    ),
    "a key twice": (
        {"bundle.toml": 'name = "a"\nname = "b"\n'},
        ["bundle.toml:2:11: not valid TOML: cannot overwrite a value"],
    ),
    "bytes that are no text": ({"bundle.toml": b'name = "\xff"'}, ["bundle.toml: not UTF-8 at byte 8"]),
    "a number without end": (
        {"bundle.toml": "a = " + "9" * 5_000},
        ["bundle.toml:1:1: not valid TOML: a number has thousands of digits"],
    ),
    "nested lists": ({"bundle.toml": "a = " + "[" * 100_000}, ["bundle.toml:1:1: nests too deeply"]),
    "nested tables": ({"bundle.toml": "a = " + "{a=" * 100_000}, ["bundle.toml:1:1: nests too deeply"]),
    "a key of many parts": (
        {"bundle.toml": 'name = "x"\n[context]\n' + "a." * 100_000 + "a = 1"},
        ["bundle.toml:3:1: nests too deeply"],
    ),
    "a key of many quoted parts": (
        {"bundle.toml": '\n"a" . ' + "'b'." * 100_000 + "a = 1"},
        ["bundle.toml:2:1: nests too deeply"],
    ),
    "a table of many parts": (
        {"bundle.toml": "[" + "a." * 100_000 + "a]\nx = 1"},
        ["bundle.toml:1:2: nests too deeply"],
    ),
    "values of every kind": (
        {
            "bundle.toml": "\n".join(
                [
                    "name = 5",
                    "unknown = 1",
                    "[context]",
                    'mfa = "Boolean"',
                    '"bad key" = "Long"',
                    'input = "Long"',
                    '__entity = "Long"',
                    "[action_groups]",
                    'writers = "x"',
                    "[[interceptor]]",
                    'name = "a b"',
                    'module = "../x.wasm"',
                    "phases = []",
                    "tools = []",
                    "timeout_ms = 0",
                    "memory_mib = 65",
                    'on_error = "ignore"',
                    'sha256 = "zz"',
                    "  foo = 1",
                    "[[interceptor]]",
                    'name = "ok"',
                    'module = "interceptors/a.wasm"',
                    'phases = ["request", "later"]',
                    'order = "1"',
                    "may_transform = 1",
                    "[interceptor.annotations]",
                    'risk = "Longish"',
                    "[schema]",
                    'principal_types = "Agent"',
                ]
            )
        },
        [
            "bundle.toml:1:1: `name`: input should be a valid string",
            "bundle.toml:2:1: `unknown`: extra inputs are not permitted",
            (
                "bundle.toml:4:1: `context.mfa`: `Boolean` is not a type; use `String`, `Long`, `Bool`, `decimal`, "
                "`ipaddr`, `datetime`, `duration` or `Set<…>` of one"
            ),
            f"bundle.toml:5:1: `context.bad key`: {PATTERN} '^[A-Za-z_][A-Za-z0-9_]*$'",
            (
                "bundle.toml:6:1: `context.input`: the service fills this in for every tool call, so it cannot be "
                "declared"
            ),
            ("bundle.toml:7:1: `context.__entity`: this name has a meaning of its own in Cedar and cannot be declared"),
            "bundle.toml:9:1: `action_groups.writers`: input should be a valid list",
            f"bundle.toml:11:1: `interceptor.0.name`: {PATTERN} '^[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}$'",
            f"bundle.toml:12:1: `interceptor.0.module`: {PATTERN} '^interceptors/[^/\\\\]+\\.wasm$'",
            "bundle.toml:13:1: `interceptor.0.phases`: list should have at least 1 item after validation, not 0",
            "bundle.toml:14:1: `interceptor.0.tools`: list should have at least 1 item after validation, not 0",
            "bundle.toml:15:1: `interceptor.0.timeout_ms`: input should be greater than or equal to 1",
            "bundle.toml:16:1: `interceptor.0.memory_mib`: input should be less than or equal to 64",
            "bundle.toml:17:1: `interceptor.0.on_error`: input should be 'deny' or 'allow'",
            f"bundle.toml:18:1: `interceptor.0.sha256`: {PATTERN} '^[0-9a-f]{{64}}$'",
            "bundle.toml:19:3: `interceptor.0.foo`: extra inputs are not permitted",
            "bundle.toml:23:1: `interceptor.1.phases.1`: input should be 'request' or 'response'",
            "bundle.toml:24:1: `interceptor.1.order`: input should be a valid integer",
            "bundle.toml:25:1: `interceptor.1.may_transform`: input should be a valid boolean",
            (
                "bundle.toml:27:1: `interceptor.1.annotations.risk`: `Longish` is not a type; use `String`, `Long`, "
                "`Bool`, `decimal`, `ipaddr`, `datetime`, `duration` or `Set<…>` of one"
            ),
            "bundle.toml:29:1: `schema.principal_types`: input should be a valid list",
        ],
    ),
    "modules that are not there, or others": (
        {
            "bundle.toml": "\n".join(
                [
                    "[[interceptor]]",
                    'name = "a"',
                    'module = "interceptors/a.wasm"',
                    'phases = ["request"]',
                    "[[interceptor]]",
                    'name = "a"',
                    'module = "interceptors/b.wasm"',
                    'phases = ["request"]',
                    f'sha256 = "{"0" * 64}"',
                ]
            ),
            "interceptors/b.wasm": MODULE,
        },
        [
            "bundle.toml:3:1: there is no file `interceptors/a.wasm`",
            "bundle.toml:6:1: interceptor `a` is bound twice",
            f"bundle.toml:9:1: `interceptors/b.wasm` has the sha256 `{MODULE_SHA256}`, not the one given",
        ],
    ),
    "modules that are refused": (
        {
            "bundle.toml": binding("a") + binding("b", phases=("response",)) + binding("c") + binding("d"),
            "interceptors/a.wasm": b"\0asm",
            "interceptors/b.wasm": answering(),
            "interceptors/c.wasm": module('(module (import "env" "open" (func)))'),
            "interceptors/d.wasm": answering(transform(arguments={})),
        },
        [
            (
                "bundle.toml:3:1: interceptor `a`: `interceptors/a.wasm` is refused: load: it is no kind of "
                "WebAssembly that is known: its version is ``"
            ),
            (
                "bundle.toml:7:1: interceptor `b`: `interceptors/b.wasm` is refused: load: it has no hook for the "
                "phase `response`"
            ),
            (
                "bundle.toml:11:1: interceptor `c`: `interceptors/c.wasm` is refused: load: it is no interceptor: it "
                "does not export `pdp_abi_v1`"
            ),
            (
                "bundle.toml:15:1: interceptor `d`: `interceptors/d.wasm` is refused: bad_output: its trial request "
                "failed: `transform` without the right to: the binding does not say `may_transform = true`"
            ),
        ],
    ),
    "interceptors that guard nothing": (
        {
            "bundle.toml": binding("a", tools=["srv"]) + binding("b", tools=["s/t", "s/gone", "other/*"]),
            "interceptors/a.wasm": answering(),
            "interceptors/b.wasm": answering(),
            "tools/s.json": manifest(tool("t")),
        },
        [
            ("bundle.toml:5:1: `interceptor.0.tools.0`: `srv` matches no tool: write `server/tool`, such as `srv/*`"),
        ],
    ),
    "interceptors of tools that are not pinned": (
        {
            "bundle.toml": binding("b", tools=["s/t", "s/gone", "other/*"]),
            "interceptors/b.wasm": answering(),
            "tools/s.json": manifest(tool("t")),
        },
        [
            "bundle.toml:5:1: warning: interceptor `b`: `other/*` matches no pinned tool",
            "bundle.toml:5:1: interceptor `b`: `s/gone` matches no tool that is pinned for `s`",
        ],
    ),
    "action groups that are taken, or match nothing": (
        {
            "bundle.toml": '[action_groups]\ncall_tool = ["*"]\ns = ["s/*"]\nmine = ["s/*", "z/*"]\n',
            "tools/s.json": manifest(tool("t")),
        },
        [
            "bundle.toml:2:1: `action_groups.call_tool`: this group exists already",
            "bundle.toml:3:1: `action_groups.s`: this group exists already",
            "bundle.toml:4:1: warning: `action_groups.mine`: `z/*` matches no pinned tool",
        ],
    ),
    "principals that are not there": (
        {
            "bundle.toml": '[schema]\nprincipal_types = ["Agent", "Robot", "Droid"]\n',
            "schema.cedarschema": "entity Agent;",
        },
        [
            "bundle.toml:2:1: `schema.principal_types`: `Droid` is not an entity type of `schema.cedarschema`",
            "bundle.toml:2:1: `schema.principal_types`: `Robot` is not an entity type of `schema.cedarschema`",
        ],
    ),
}
NO_LIST = "must be an MCP `tools/list` result: an object with an array `tools`"
TOOLS: dict[str, Case] = {
    "files that are no lists": (
        {
            "tools/a.json": "",
            "tools/b.json": "[]",
            "tools/c.json": '{"tools": 5}',
            "tools/d.json": b"\xff",
            "tools/e.json": '{"tools": [\n',
            "tools/f.json": "[" * 100_000,
            "tools/g.json": '{"tools": [],\n "tools": []}',
            "tools/h.json": '{"tools": [],\n "nextCursor": "x"}',
            "tools/i.json": '{"result": {}}',
        },
        [
            "tools/a.json:1:1: is empty",
            f"tools/b.json:1:1: {NO_LIST}",
            f"tools/c.json:1:1: {NO_LIST}",
            "tools/d.json: not UTF-8 at byte 0",
            "tools/e.json:2:1: expected a JSON value",
            "tools/f.json:1:100: nests deeper than 200 levels",
            "tools/g.json:1:11: the key `tools` is given twice",
            "tools/h.json:2:16: the list goes on: join all pages into one `tools` array",
            f"tools/i.json:1:12: {NO_LIST}",
        ],
    ),
    "tools that are none": (
        {
            "tools/s.json": '{"tools": '
            + _lines(
                5,
                {},
                {"name": "a"},
                tool("twice"),
                tool("twice"),
                tool(""),
                tool("x" * 257),
                tool("new\nline"),
                {**tool("b"), "inputSchema": {"type": "string"}},
                {**tool("c"), "inputSchema": {"type": "object", "properties": {"__entity": {}}}},
                {**tool("d"), "annotations": {"readOnlyHint": "yes"}},
                {**tool("e"), "description": 5},
                {**tool("f"), "inputSchema": {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}},
            )
            + "}"
        },
        [
            "tools/s.json:2:1: a tool must be an object, not a number",
            "tools/s.json:3:1: the tool's name must be a string, not null",
            "tools/s.json:4:1: `inputSchema` is missing",
            "tools/s.json:6:10: the tool `twice` is defined twice",
            "tools/s.json:7:10: the tool's name must have 1 to 256 characters, not 0",
            "tools/s.json:8:10: the tool's name must have 1 to 256 characters, not 257",
            "tools/s.json:9:10: the tool's name must not contain control characters",
            "tools/s.json:10:30: must describe an object: a tool's arguments are one",
            "tools/s.json:11:76: a property cannot be called `__entity`: Cedar's JSON gives that key a meaning",
            "tools/s.json:12:100: must be a boolean, not a string",
            "tools/s.json:13:83: must be a string, not a number",
            "tools/s.json:14:78: there is nothing at `#/nowhere`",
        ],
    ),
    "servers called like groups": (
        {"tools/call_tool.json": manifest(), "tools/destructive.json": manifest()},
        [
            "tools/call_tool.json:1:1: the server's name must not be `call_tool`: that is a group of actions",
            "tools/destructive.json:1:1: the server's name must not be `destructive`: that is a group of actions",
        ],
    ),
}

EVERY = {
    f"{kind}: {name}": case
    for kind, cases in (
        ("policies", POLICIES),
        ("links", LINKS),
        ("schema", SCHEMAS),
        ("entities", ENTITIES),
        ("manifest", MANIFESTS),
        ("tools", TOOLS),
    )
    for name, case in cases.items()
    if name != "cycles"
}


@pytest.mark.parametrize("name", EVERY)
def test_a_bad_bundle_says_what_is_wrong_and_where(name: str) -> None:
    """The bundle does not load, and each problem is reported once with file, line, column and what is wrong."""
    files, expected = EVERY[name]
    assert _problems(files) == expected


def test_every_problem_of_a_bundle_is_reported_together() -> None:
    """Mistakes in all parts of one bundle are reported at once, sorted by place."""
    parts = [POLICIES, LINKS, ENTITIES, TOOLS]
    names = ["several mistakes in several files", "links files that are none", "files that are no arrays"]
    chosen = [part[name] for part, name in zip(parts, [*names, "files that are no lists"], strict=True)]
    chosen += [SCHEMAS["a syntax error"], MANIFESTS["no TOML"]]
    files = {path: text for case_files, _ in chosen for path, text in case_files.items()}
    found = _problems(files)
    assert sorted(found) == sorted(problem for _, expected in chosen for problem in expected)
    assert [problem.partition(":")[0] for problem in found] == sorted(problem.partition(":")[0] for problem in found)


def test_every_cycle_is_reported() -> None:
    """Of each cycle of parents one entity is named where it stands, also if the cycle runs through several files."""
    files, _ = ENTITIES["cycles"]
    found = [problem for problem in _problems(files) if "is its own ancestor" in problem]
    places = {
        'entities/a.json:2:1: `Group::"a"` is its own ancestor': "abc",
        'entities/b.json:2:1: `Group::"b"` is its own ancestor': "abc",
        'entities/c.json:2:1: `Group::"c"` is its own ancestor': "abc",
        'entities/a.json:4:1: `Group::"x"` is its own ancestor': "xy",
        'entities/a.json:5:1: `Group::"y"` is its own ancestor': "xy",
    }
    assert sorted(places[problem] for problem in found) == ["abc", "xy"]
    assert any('`Group::"self"`' in problem and ":3:1:" in problem for problem in _problems(files))


@pytest.mark.parametrize(
    "files",
    [
        {"entities/a.json": _lines(*(entity("User", str(n)) for n in range(3_000))), "entities/b.json": ""},
        {"policies/a.cedar": TEMPLATE, "policies/a.links.json": _lines(*(_link("nope", str(n)) for n in range(3_000)))},
        {"policies/a.cedar": TEMPLATE, "policies/a.links.json": _lines(*({} for n in range(3_000)))},
        {"tools/s.json": manifest(*({"name": str(n)} for n in range(3_000)))},
        {"entities/a.json": _lines(*(entity("User", str(n), x=1.5) for n in range(1_000)))},
        {"entities/a.json": _lines(entity("User", "a", **{f"a{n}": n for n in range(1_000)}, z=1.5))},
        {"policies/a.cedar": f'@id("a") {PERMIT_ALL}\n' * 3_000},
        {"policies/a.cedar": "nonsense;\n" * 3_000},
    ],
    ids=["copied entities", "links", "no links", "tools", "entities", "attributes", "ids", "policies"],
)
def test_thousands_of_mistakes_are_all_found(files: dict[str, str]) -> None:
    """A mistake made thousands of times is reported as often, in a time that does not grow with its square."""
    # An empty file stands for a copy of the first.
    files = {path: text or files["entities/a.json"] for path, text in files.items()}
    found = _problems(files)
    assert len(found) == len(set(found))
    assert len(found) >= (1 if "a1" in files.get("entities/a.json", "") else 1_000)


def test_links_to_unknown_types_are_found() -> None:
    """With a schema, a link that names an entity type which the schema lacks can never match, and is refused."""
    files = {
        "schema.cedarschema": SCHEMA,
        "policies/a.cedar": '@id("t") forbid(principal == ?principal, action, resource);',
        "policies/a.links.json": _lines(_link(**{"?principal": 'Agnet::"a"'})),
    }
    assert "Agnet" in _problems(files)[0]
