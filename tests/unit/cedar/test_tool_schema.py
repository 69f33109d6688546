"""Tool manifests to actions, groups and a Cedar schema; and that schema and conversion always agree."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.cedar.cedar_types import (
    BOOL,
    DECIMAL,
    LONG,
    STRING,
    FreeObject,
    JsonText,
    Record,
    Scalar,
    SetOf,
    Tagged,
    Type,
    quoted,
)
from pdp.cedar.json_text import canonical_text
from pdp.cedar.strict_json import JsonError, JsonLimits, parse_value
from pdp.cedar.syntax import find_schema_excess
from pdp.cedar.tool_schema import GROUPS, Tool, definition_digest, parse_manifest, schema_text
from pdp.errors import InvalidArgumentsError

GITHUB = Path(__file__).resolve().parents[4] / "shared" / "data" / "github-mcp-server.tools.json"

_EMPTY = {"type": "object"}


def _manifest(*tools: Any) -> dict[str, Any]:
    return {"tools": list(tools)}


def _definition(name: Any = "t", schema: Any = _EMPTY, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": schema, **more}


def _tool(schema: Any = _EMPTY, name: str = "t", server: str = "s", **more: Any) -> Tool:
    tools, problems = parse_manifest(server, _manifest(_definition(name, schema, **more)))
    assert problems == []
    return tools[0]


def _schema(tools: Sequence[Tool], **more: Any) -> cedarpy.Schema:
    text = schema_text(tools, principal_types=["Agent"], declare_server=True, **more)
    return cedarpy.Schema.from_str("entity Agent;\n" + text)


def _ask(
    tool: Tool, context: Mapping[str, Any], policies: str, schema: cedarpy.Schema | None = None
) -> cedarpy.AuthzResult:
    request = {
        "principal": {"type": "Agent", "id": "a"},
        "action": {"type": "Action", "id": tool.action_id},
        "resource": {"type": "Server", "id": tool.server},
        "context": json.dumps(context),
    }
    return cedarpy.is_authorized(request, policies, [], schema)


# --- manifests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document", [_manifest(_definition()), {"jsonrpc": "2.0", "id": 1, "result": _manifest(_definition())}]
)
def test_a_manifest_is_a_result_or_a_response(document: Any) -> None:
    """A `tools/list` result is read, bare or inside its JSON-RPC response."""
    tools, problems = parse_manifest("github", document)
    assert problems == []
    assert [(tool.server, tool.name, tool.action_id) for tool in tools] == [("github", "t", "github/t")]


@pytest.mark.parametrize(
    ("annotations", "groups"),
    [
        (None, {"destructive", "open_world"}),
        ({}, {"destructive", "open_world"}),
        ({"readOnlyHint": True}, {"read_only", "open_world"}),
        ({"readOnlyHint": True, "destructiveHint": True}, {"read_only", "open_world"}),
        ({"destructiveHint": False}, {"open_world"}),
        ({"idempotentHint": True}, {"destructive", "idempotent", "open_world"}),
        ({"openWorldHint": False}, {"destructive"}),
        ({"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False, "title": "T"}, set()),
    ],
)
def test_groups_follow_the_annotations_with_cautious_defaults(annotations: Any, groups: set[str]) -> None:
    """A tool is destructive and open-world until its annotations say otherwise, and always in its server's group."""
    tool = _tool(annotations=annotations, server="github")
    assert tool.groups[:2] == ("call_tool", "github")
    assert set(tool.groups[2:]) == groups


@pytest.mark.parametrize(
    "name", ["get-issue", "a.b", "a/b/c", "with space", "1st", "if", "in", "__cedar", "é😀", '"', "\\", "*", "x" * 256]
)
def test_a_tool_may_have_any_printable_name(name: str) -> None:
    """Names that are no identifiers are actions like any other, in schema and policies."""
    tool = _tool(name=name)
    policy = f"permit (principal, action == Action::{quoted('s/' + name)}, resource);"
    schema = _schema([tool])
    assert cedarpy.validate_policies(policy, schema).validation_passed
    assert _ask(tool, {"input": {}, "undeclared": []}, policy, schema).decision is cedarpy.Decision.Allow


@pytest.mark.parametrize(
    "server",
    ["", "a/b", "call_tool", "read_only", "destructive", "idempotent", "open_world", "a\n", "x" * 257, "\ud800"],
)
def test_a_server_whose_name_would_be_ambiguous_is_refused(server: str) -> None:
    """A server's name is not empty, has no slash or control character, and is not the name of a group."""
    tools, problems = parse_manifest(server, _manifest(_definition()))
    assert tools == []
    assert [pointer for pointer, _ in problems] == [""]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], ""),
        ({}, ""),
        ({"tools": {}}, ""),
        ({"result": {}}, "/result"),
        ({"result": {"tools": None}}, "/result"),
        ({"error": {"code": 1}}, ""),
        ({"tools": [], "nextCursor": "x"}, "/nextCursor"),
        ({"result": {"tools": [5]}}, "/result/tools/0"),
        (_manifest(None), "/tools/0"),
        (_manifest({}), "/tools/0"),
        (_manifest({"name": "a"}), "/tools/0"),
        (_manifest(_definition("")), "/tools/0/name"),
        (_manifest(_definition(5)), "/tools/0/name"),
        (_manifest(_definition("a\x00")), "/tools/0/name"),
        (_manifest(_definition("a\x85")), "/tools/0/name"),
        (_manifest(_definition("a\udc00")), "/tools/0/name"),
        (_manifest(_definition("x" * 257)), "/tools/0/name"),
        (_manifest(_definition(description=5)), "/tools/0/description"),
        (_manifest(_definition(annotations=[])), "/tools/0/annotations"),
        (_manifest(_definition(annotations={"readOnlyHint": "true"})), "/tools/0/annotations/readOnlyHint"),
        (_manifest(_definition(schema=None)), "/tools/0/inputSchema"),
        (_manifest(_definition(schema={"properties": {"a/b": 1}})), "/tools/0/inputSchema/properties/a~1b"),
        (_manifest(_definition(schema={"type": "object", "x": float("nan")})), "/tools/0"),
        (_manifest(_definition("a"), _definition("b"), _definition("a")), "/tools/2/name"),
    ],
)
def test_a_malformed_manifest_is_reported_where_it_is_wrong(document: Any, pointer: str) -> None:
    """Every mistake has a JSON Pointer into the manifest."""
    assert [place for place, _ in parse_manifest("s", document)[1]] == [pointer]


def test_all_problems_are_reported_and_good_tools_survive() -> None:
    """One bad tool hides neither the other bad ones nor the good ones."""
    document = _manifest(_definition("a"), {}, _definition("b", schema=[]), _definition("c"), _definition("c"))
    tools, problems = parse_manifest("s", document)
    assert [tool.name for tool in tools] == ["a", "c"]
    assert [pointer for pointer, _ in problems] == ["/tools/1", "/tools/2/inputSchema", "/tools/4/name"]


def test_limits_of_arguments_are_handed_on() -> None:
    """The limits given for a manifest bound the arguments of its tools."""
    tools, _ = parse_manifest("s", _manifest(_definition()), JsonLimits(max_bytes=5))
    with pytest.raises(InvalidArgumentsError):
        tools[0].input.convert(b'{"a":1}')


def test_the_digest_is_of_what_the_definition_says() -> None:
    """The digest depends on description, schema and annotations, and not on how they were written."""
    definition = _definition(description="d", annotations={"readOnlyHint": True, "x": 1.50})
    written = (
        '{"annotations":{"x":15e-1,"readOnlyHint":true},"inputSchema":{"type":"object"},"description":"d","name":"u"}'
    )
    digest = definition_digest(definition)
    assert digest == definition_digest(parse_value(written.encode()))
    assert digest == definition_digest(definition | {"title": "T"})
    changed: list[dict[str, Any]] = [
        {"description": "e"},
        {"annotations": {}},
        {"annotations": None},
        {"inputSchema": {"type": "object", "x": 1}},
    ]
    assert len({digest, *(definition_digest(definition | change) for change in changed)}) == 5
    with pytest.raises(JsonError):
        definition_digest({"annotations": {"x": {1, 2}}})


# --- schemas ---------------------------------------------------------------------------------------------------------

_NASTY = [
    "a",
    "weird-name",
    "if",
    "true",
    "in",
    "",
    " ",
    "é",
    "😀",
    "\n",
    "\x00",
    '"',
    "\\",
    "a/b",
    "__cedar",
    "1",
    "String",
    "\u202e",
    "'",
]


def test_nasty_names_everywhere_make_a_schema_that_cedar_takes() -> None:
    """Properties, tools, servers, interceptors and facts of any name are quoted as Cedar wants it."""
    properties = {name: {"type": "string"} for name in _NASTY}
    nested = {"type": "object", "properties": properties, "required": _NASTY}
    schema = {"type": "object", "properties": {**properties, "o": nested, "l": {"type": "array", "items": nested}}}
    names = [name for name in _NASTY if name.isprintable() and name]
    tools = [_tool(schema, name=name, server=name.replace("/", "-")) for name in names]
    annotations = {name: {name: "Set<decimal>"} for name in _NASTY}
    facts = dict.fromkeys(_NASTY, "ipaddr")
    text = schema_text(tools, principal_types=["Agent"], context_types=facts, annotation_types=annotations)
    assert "".join(text.split("\n")).isprintable()
    parsed = _schema(tools, context_types=facts, annotation_types=annotations)
    for tool in tools:
        values = {name: name for name in _NASTY}
        converted = tool.input.convert(json.dumps({**values, "o": values, "l": [values]}).encode())
        conditions = "".join(f" when {{ context.input.o[{quoted(name)}] == {quoted(name)} }}" for name in _NASTY)
        policy = f"permit (principal, action in Action::{quoted(tool.server)}, resource){conditions};"
        stated: dict[str, Any] = {name: {name: []} for name in _NASTY}
        context = {"input": converted.value, "undeclared": [], "session_id": "x", "interceptors": stated}
        result = _ask(tool, context, policy, parsed)
        assert (result.decision, result.diagnostics.errors) == (cedarpy.Decision.Allow, [])


def test_every_group_is_declared() -> None:
    """Policies may name all groups whatever the tools are, and a group reaches exactly its members."""
    reading, writing = _tool(name="r", annotations={"readOnlyHint": True}), _tool(name="w")
    schema = _schema([reading, writing])
    for group in (*GROUPS, "s"):
        policy = f"permit (principal, action in Action::{quoted(group)}, resource);"
        assert cedarpy.validate_policies(policy, schema).validation_passed
        for tool in (reading, writing):
            decision = _ask(tool, {"input": {}, "undeclared": []}, policy, schema).decision
            assert (decision is cedarpy.Decision.Allow) == (group in tool.groups)


def test_what_policies_may_read_is_declared_and_optional_where_it_may_be_missing() -> None:
    """Inputs, undeclared names, session, stated facts: validation knows them and demands `has` for optional ones."""
    tool = _tool({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    annotations = {"scan": {"risk": "Long"}}
    schema = _schema([tool], context_types={"mfa": "Bool"}, annotation_types=annotations)

    def validates(condition: str) -> bool:
        policy = f"permit (principal, action == Action::{quoted('s/t')}, resource) when {{ {condition} }};"
        return cedarpy.validate_policies(policy, schema).validation_passed

    assert validates('context.input.a == "x"')
    assert validates('context.undeclared.contains("force")')
    assert validates('context has session_id && context.session_id == "x"')
    assert validates("context has mfa && context.mfa")
    assert validates("context has interceptors.scan.risk && context.interceptors.scan.risk > 5")
    assert not validates("context.mfa")
    assert not validates('context.session_id == "x"')
    assert not validates("context.interceptors.scan.risk > 5")
    assert not validates('context.input.b == "x"')
    assert not validates("context.input.a == 1")


def test_groups_without_tools_are_declared() -> None:
    """A policy about a group that has no tool yet is valid, so that it may be there before its tools."""
    schema = _schema([])
    for group in GROUPS:
        condition = "when { context.input has path && context.undeclared.isEmpty() }"
        policy = f"forbid (principal, action in Action::{quoted(group)}, resource) {condition};"
        assert cedarpy.validate_policies(policy, schema).validation_passed
    assert schema_text([], principal_types=[]).strip() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        {"principal_types": []},
        {"principal_types": ["not a type"]},
        {"principal_types": ["Agent::"]},
        {"principal_types": ["if"]},
        {"resource_type": "Ser ver"},
        {"context_types": {"input": "String"}},
        {"context_types": {"session_id": "String"}},
        {"context_types": {"__entity": "String"}},
        {"context_types": {"a": "Strin"}},
        {"annotation_types": {"scan": {"__extn": "Long"}}},
        {"annotation_types": {"scan": {"risk": "{}"}}},
    ],
)
def test_names_and_types_that_cannot_be_declared_are_refused(arguments: Any) -> None:
    """What would break the schema, or redefine what is always there, is refused before it is written."""
    with pytest.raises(ValueError, match=r"name|declared|not a type"):
        schema_text([_tool()], **{"principal_types": ["Agent"], **arguments})


@pytest.mark.skipif(not GITHUB.exists(), reason="the manifest of GitHub's server is not here")
def test_every_tool_of_a_large_real_server_loads() -> None:
    """All 117 tools of GitHub's MCP server become actions of one schema that Cedar takes."""
    tools, problems = parse_manifest("github", parse_value(GITHUB.read_bytes(), JsonLimits(max_nodes=10**6)))
    assert problems == []
    assert len(tools) == 117
    schema = _schema(tools)
    policy = 'permit (principal, action == Action::"github/get_me", resource);'
    assert cedarpy.validate_policies(policy, schema).validation_passed
    assert len({tool.digest for tool in tools}) == 117


def test_the_deepest_type_stays_within_what_cedars_parser_is_trusted_with() -> None:
    """The most nested type that a schema can make is far from the depth that harms Cedar's parser."""
    deep: Any = {}
    for _ in range(100):
        deep = {"type": ["string", "object"], "properties": {"x": deep}}
    tool = _tool({"type": "object", "properties": {"x": deep}})
    text = schema_text([tool], principal_types=["Agent"])
    assert text.count("record?") == 16
    assert find_schema_excess(text) is None
    _schema([tool])


# --- schema and conversion agree -------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "if", "weird-name", "", "é", "\n", "😀"])
_LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [
        {},
        True,
        {"$ref": "#/$defs/d"},
        {"$ref": "#"},
        {"enum": ["a", 1]},
        {"enum": ["a", None]},
        {"const": 1.5},
        {"type": "array"},
        {"type": "object"},
        *({"type": kind} for kind in ("string", "integer", "number", "boolean", "null")),
        *({"type": kinds} for kinds in (["string", "integer"], ["number", "null"], ["array", "object", "boolean"])),
        {"type": "string", "nullable": True},
    ]
)


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(_NAMES, inner, max_size=4))
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if draw(st.booleans())],
    }


_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: (
        _objects(inner)
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(
            lambda key, both: {key: both},
            st.sampled_from(["anyOf", "oneOf", "allOf"]),
            st.lists(inner, min_size=1, max_size=3),
        )
    ),
    max_leaves=10,
)
_ROOTS = st.builds(lambda root, definition: {**root, "$defs": {"d": definition}}, _objects(_SCHEMAS), _SCHEMAS)

_TEXT = st.text(max_size=5)
_LONGS = st.integers(-(2**63), 2**63 - 1)
_DECIMALS = st.integers(-(2**63), 2**63 - 1).map(lambda units: Decimal(units).scaleb(-4))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES | _TEXT, inner, max_size=3),
    max_leaves=6,
)
_SCALAR_VALUES: dict[Type, st.SearchStrategy[Any]] = {
    STRING: _TEXT,
    LONG: _LONGS,
    BOOL: st.booleans(),
    DECIMAL: _DECIMALS,
}


def _values(type_: Type) -> st.SearchStrategy[Any]:
    """JSON values that a type takes."""
    match type_:
        case Scalar():
            return _SCALAR_VALUES[type_]
        case SetOf():
            return st.lists(_values(type_.item), max_size=3)
        case JsonText():
            return _JSON
        case FreeObject():
            return st.dictionaries(_NAMES | _TEXT, _JSON, max_size=3)
        case Tagged():
            containers = st.lists(_JSON, max_size=2) | st.dictionaries(_NAMES, _JSON, max_size=2)
            return st.one_of([containers if tag == "json" else _values(variant) for tag, variant in type_.variants])
        case Record():
            return _records(type_)


@st.composite
def _records(draw: st.DrawFn, type_: Record) -> dict[str, Any]:
    undeclared = draw(st.dictionaries(st.sampled_from(["zz", "a", "~/"]), _JSON, max_size=1))
    record = {name: value for name, value in undeclared.items() if name not in [field.name for field in type_.fields]}
    for field in type_.fields:
        if field.required or draw(st.booleans()):
            nothing = st.just(None) if not field.required else st.nothing()
            record[field.name] = draw(_values(field.type) | nothing)
    return record


_Case = tuple[Tool, Any]


@st.composite
def _fitting_calls(draw: st.DrawFn) -> _Case:
    """A tool of a random schema, and arguments that fit it."""
    tool = _tool(draw(_ROOTS))
    return tool, draw(_records(tool.input.record_type))


@st.composite
def _wild_calls(draw: st.DrawFn) -> _Case:
    """A tool of a random schema, and arguments that mostly do not fit it."""
    tool, arguments = draw(_fitting_calls())
    for name in draw(st.lists(_NAMES, max_size=2)):
        arguments[name] = draw(_JSON)
    return tool, draw(st.just(arguments) | _JSON)


def _assert_cedar_takes(tool: Tool, arguments: Any) -> None:
    converted = tool.input.convert(canonical_text(arguments).encode())
    context = {"input": converted.value, "undeclared": converted.undeclared}
    for schema in (None, _schema([tool])):
        result = _ask(tool, context, "permit (principal, action, resource);", schema)
        assert (result.decision, result.diagnostics.errors) == (cedarpy.Decision.Allow, [])


@given(_fitting_calls())
@settings(deadline=None, max_examples=200)
def test_arguments_of_the_declared_type_are_taken_by_cedar(call: _Case) -> None:
    """Whatever a schema declares can be sent, converted, and given to Cedar with the schema made from it."""
    _assert_cedar_takes(*call)


@given(_wild_calls())
@settings(deadline=None, max_examples=200)
def test_any_arguments_are_refused_or_taken_by_cedar(call: _Case) -> None:
    """Whatever an agent sends is refused as invalid arguments, or Cedar takes what was made of it."""
    with contextlib.suppress(InvalidArgumentsError):
        _assert_cedar_takes(*call)


@given(_fitting_calls(), st.binary(max_size=3), st.integers(0, 200))
@settings(deadline=None, max_examples=200)
def test_any_bytes_are_refused_or_converted(call: _Case, damage: bytes, at: int) -> None:
    """Damaged text raises nothing but the error for invalid arguments."""
    tool, arguments = call
    text = canonical_text(arguments).encode()
    damaged = text[: at % len(text)] + damage + text[at % len(text) + len(damage) :]
    with contextlib.suppress(InvalidArgumentsError):
        tool.input.convert(damaged)


def _literal(value: Any) -> str:
    """A scalar as Cedar policy text."""
    if isinstance(value, str):
        return '"' + "".join(f"\\u{{{ord(character):x}}}" for character in value) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'decimal("{value:f}")'


_KINDS = {"string": _TEXT, "boolean": st.booleans(), "integer": _LONGS, "number": _DECIMALS}
_ANY_TAGS = {"string": "string", "boolean": "bool", "integer": "long", "number": "decimal"}


@given(st.sampled_from(sorted(_KINDS)), _NAMES, st.data())
@settings(deadline=None, max_examples=200)
def test_scalars_survive_exactly(kind: str, name: str, data: st.DataObject) -> None:
    """What a policy compares is what the agent sent, with and without a schema, declared or untyped."""
    value: Any = data.draw(_KINDS[kind])
    other: Any = data.draw(_KINDS[kind])
    tool = _tool({"type": "object", "properties": {name: {"type": kind}, "any thing": {}}, "required": [name]})
    converted = tool.input.convert(canonical_text({name: value, "any thing": value}).encode())
    context = {"input": converted.value, "undeclared": converted.undeclared}
    tag = "long" if kind == "number" and value == value.to_integral_value() else _ANY_TAGS[kind]
    literal = str(int(value)) if tag == "long" else _literal(value)
    conditions = f'context.input["any thing"].{tag} == {literal} && context.input[{quoted(name)}]'
    for schema in (None, _schema([tool])):
        for candidate in (value, other):
            policy = f"permit (principal, action, resource) when {{ {conditions} == {_literal(candidate)} }};"
            result = _ask(tool, context, policy, schema)
            assert result.diagnostics.errors == []
            assert (result.decision is cedarpy.Decision.Allow) == (candidate == value)
