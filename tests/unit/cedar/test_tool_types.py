"""Input schemas of tools to Cedar types."""

from __future__ import annotations

from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.cedar.tool_types import ToolSchemaError, from_json_schema

_ANY = "{ bool?: Bool, long?: Long, decimal?: __cedar::decimal, string?: String, json?: String }"
_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}


def _type_of(schema: Any, document: dict[str, Any] | None = None, *, required: bool = False) -> str:
    """The type of a property `x` with this schema, with its `?` where it is optional."""
    root = {
        "type": "object",
        "properties": {"x": schema},
        **({"required": ["x"]} if required else {}),
        **(document or {}),
    }
    return from_json_schema(root).cedar_type().removeprefix("{ x").removesuffix(" }")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (_STRING, "?: String"),
        (_INTEGER, "?: Long"),
        ({"type": "number"}, "?: __cedar::decimal"),
        ({"type": "boolean"}, "?: Bool"),
        ({"type": "string", "format": "date-time", "pattern": "^a"}, "?: String"),
        ({"type": "array", "items": _STRING}, "?: Set<String>"),
        ({"type": "array", "items": {"type": "array", "items": _INTEGER}}, "?: Set<Set<Long>>"),
        (_object(a=_STRING), "?: { a?: String }"),
        ({**_object(a=_STRING), "required": ["a", "b"]}, "?: { a: String }"),
        ({**_object(a=_STRING), "additionalProperties": True}, "?: { a?: String }"),
        ({"enum": ["a", "b"]}, "?: String"),
        ({"enum": [1, 2]}, "?: Long"),
        ({"enum": [1, 1.5]}, "?: __cedar::decimal"),
        ({"type": "number", "enum": [1, 2]}, "?: Long"),
        ({"enum": ["a", 1]}, "?: { long?: Long, string?: String }"),
        ({"enum": [True, "auto"]}, "?: { bool?: Bool, string?: String }"),
        ({"enum": [{"a": 1}]}, "?: { keys: Set<String>, json: String }"),
        ({"const": "a"}, "?: String"),
        ({"const": True}, "?: Bool"),
        ({"properties": {"a": _STRING}}, "?: { a?: String }"),
        ({"items": _STRING}, "?: Set<String>"),
    ],
)
def test_a_schema_of_one_kind_has_that_kinds_type(schema: Any, expected: str) -> None:
    """One kind of value has its own type; keywords that narrow it within the kind do not matter."""
    assert _type_of(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "null"]}, "?: String"),
        ({"anyOf": [_STRING, {"type": "null"}]}, "?: String"),
        ({"oneOf": [{"type": "null"}, {"enum": ["a"]}]}, "?: String"),
        ({"type": "string", "nullable": True}, "?: String"),
        ({"type": "string", "enum": ["a"], "nullable": True}, "?: String"),
        ({"type": ["string"]}, ": String"),
        ({"enum": ["a", None]}, "?: String"),
        ({}, f"?: {_ANY}"),
    ],
)
def test_a_nullable_property_is_optional_even_when_required(schema: Any, expected: str) -> None:
    """Null is absence in Cedar, so what may be null may be absent; what may not stays required."""
    assert _type_of(schema, required=True) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["integer", "number"]}, "?: __cedar::decimal"),
        ({"anyOf": [{"type": "number"}, _INTEGER]}, "?: __cedar::decimal"),
        ({"type": ["string", "integer"]}, "?: { long?: Long, string?: String }"),
        ({"type": ["string", "number"]}, "?: { long?: Long, decimal?: __cedar::decimal, string?: String }"),
        ({"anyOf": [_STRING, {"const": "all"}]}, "?: String"),
        ({"oneOf": [_STRING, {"type": "array", "items": _STRING}]}, "?: { string?: String, set?: Set<String> }"),
        ({"oneOf": [_STRING, _object(a=_INTEGER)]}, "?: { string?: String, record?: { a?: Long } }"),
        ({"type": ["object", "string"]}, "?: { string?: String, record?: { keys: Set<String>, json: String } }"),
        (
            {
                "oneOf": [
                    {**_object(a=_STRING, b=_STRING), "required": ["a", "b"]},
                    {**_object(a=_STRING), "required": ["a"]},
                ]
            },
            "?: { a: String, b?: String }",
        ),
        ({"oneOf": [_object(a=_STRING), _object(a=_INTEGER)]}, "?: { a?: { long?: Long, string?: String } }"),
        ({"oneOf": [_object(a=_STRING), {"type": "object"}]}, "?: { keys: Set<String>, json: String }"),
        ({"anyOf": [_STRING, {}]}, f"?: {_ANY}"),
        ({"anyOf": [_STRING, False]}, "?: String"),
    ],
)
def test_variants_of_one_kind_are_one_type_and_others_are_tagged(schema: Any, expected: str) -> None:
    """Variants of one kind are joined into its type; several kinds make a record with one tag for each."""
    assert _type_of(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object"}, "?: { keys: Set<String>, json: String }"),
        ({"type": "object", "properties": {}}, "?: { keys: Set<String>, json: String }"),
        ({"type": "object", "additionalProperties": _STRING}, "?: { keys: Set<String>, json: String }"),
        ({"type": "object", "additionalProperties": False}, "?: {}"),
        ({"type": "array"}, "?: Set<String>"),
        ({"type": "array", "items": {}}, "?: Set<String>"),
        ({"type": "array", "items": {"type": ["string", "integer"]}}, "?: Set<String>"),
        ({"type": "array", "items": [_INTEGER, _INTEGER]}, "?: Set<String>"),
        ({"type": "array", "prefixItems": [_INTEGER], "items": _INTEGER}, "?: Set<String>"),
        ({"type": "array", "items": False}, "?: Set<String>"),
        ({"type": "array", "items": {"type": "object"}}, "?: Set<{ keys: Set<String>, json: String }>"),
        ({"type": "array", "items": {"type": ["integer", "null"]}}, "?: Set<Long>"),
        (True, f"?: {_ANY}"),
        ({}, f"?: {_ANY}"),
        ({"description": "anything"}, f"?: {_ANY}"),
        ({"additionalProperties": False}, f"?: {_ANY}"),
        ({"type": "null"}, f"?: {_ANY}"),
        ({"type": "file"}, f"?: {_ANY}"),
        ({"$ref": "https://example.org/schema.json"}, f"?: {_ANY}"),
        ({"$ref": "#anchor"}, f"?: {_ANY}"),
    ],
)
def test_what_is_not_declared_has_a_type_too(schema: Any, expected: str) -> None:
    """Free-form objects, arrays of anything and untyped properties each have one documented form."""
    assert _type_of(schema) == expected


def test_a_property_that_nobody_may_send_is_undeclared() -> None:
    """`false`, and combinations that nothing satisfies, leave a property out of the record."""
    assert from_json_schema(_object(x=False, y=_STRING)).cedar_type() == "{ y?: String }"
    assert from_json_schema(_object(x={"allOf": [_STRING, _INTEGER]})).cedar_type() == "{}"


def test_references_are_followed() -> None:
    """Local references lead anywhere in the document, are decoded, and are bound by what stands beside them."""
    document = {
        "$defs": {"a/b": _STRING, "c": {"$ref": "#/$defs/a~1b"}, "d": {"anyOf": [_STRING, {"type": "null"}]}},
        "definitions": {"e": [_INTEGER]},
    }
    assert _type_of({"$ref": "#/$defs/a~1b"}, document) == "?: String"
    assert _type_of({"$ref": "#/%24defs/c", "description": "text"}, document) == "?: String"
    assert _type_of({"$ref": "#/definitions/e/0"}, document) == "?: Long"
    assert _type_of({"$ref": "#/$defs/d"}, document, required=True) == "?: String"
    assert _type_of({"$ref": "#/$defs/d", "type": "string"}, document, required=True) == ": String"


def test_recursion_ends_in_the_untyped_form() -> None:
    """A schema that contains itself is typed once, and untyped where it comes again."""
    node = _object(
        name=_STRING, next={"$ref": "#/$defs/node"}, all={"type": "array", "items": {"$ref": "#/$defs/node"}}
    )
    expected = f"?: {{ name?: String, next?: {_ANY}, all?: Set<String> }}"
    assert _type_of({"$ref": "#/$defs/node"}, {"$defs": {"node": node}}) == expected
    assert _type_of({"$ref": "#"}) == f"?: {_ANY}"
    loop = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert _type_of({"$ref": "#/$defs/a"}, loop) == f"?: {_ANY}"


def test_all_of_is_merged() -> None:
    """`allOf` adds properties and requirements, and narrows kinds."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": ["string", "integer"]}},
        "allOf": [{"properties": {"a": _STRING, "b": _INTEGER}, "required": ["b"]}, {"required": ["a"]}],
    }
    assert from_json_schema(schema).cedar_type() == "{ a?: String, b: Long }"


def test_variants_at_the_root_are_joined_into_one_record() -> None:
    """Arguments are one record: alternatives add optional properties, and mere requirements add nothing."""
    schema = {
        **_object(a=_STRING),
        "required": ["a"],
        "oneOf": [_object(b=_STRING), _object(c=_INTEGER)],
        "anyOf": [{"required": ["b"]}, {"required": ["c"]}],
    }
    assert from_json_schema(schema).cedar_type() == "{ a: String, b?: String, c?: Long }"


@pytest.mark.parametrize("schema", [{}, True, {"type": "object"}, {"type": ["object", "null"]}, {"properties": {}}])
def test_a_root_without_properties_declares_nothing(schema: Any) -> None:
    """Arguments of which nothing is known are an empty record."""
    assert from_json_schema(schema).cedar_type() == "{}"


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        (None, ""),
        ([], ""),
        ("object", ""),
        (False, ""),
        (_STRING, ""),
        ({"type": "object", "allOf": [_STRING]}, ""),
        ({"type": 5}, "/type"),
        ({"type": ["object", {"type": "string"}]}, "/type"),
        ({"properties": []}, "/properties"),
        (_object(x=5), "/properties/x"),
        (_object(x=None), "/properties/x"),
        (_object(**{"a/b": {"items": "string"}}), "/properties/a~1b/items"),
        ({"type": "object", "required": "x"}, "/required"),
        ({"type": "object", "required": [1]}, "/required"),
        (_object(x={"enum": "a"}), "/properties/x/enum"),
        (_object(x={"anyOf": {}}), "/properties/x/anyOf"),
        (_object(x={"oneOf": [_STRING, 3]}), "/properties/x/oneOf/1"),
        (_object(x={"allOf": [None]}), "/properties/x/allOf/0"),
        (_object(x={"$ref": 5}), "/properties/x/$ref"),
        (_object(x={"$ref": "#/$defs/nothing"}), "/properties/x/$ref"),
        (_object(x={"$ref": "#/properties/x/type/0"}, y=_STRING), "/properties/x/$ref"),
        ({**_object(x={"$ref": "#/$defs/a"}), "$defs": {"a": {"type": 1}}}, "/$defs/a/type"),
        (_object(__entity=_STRING), "/properties/__entity"),
        (_object(x=_object(__extn=_STRING)), "/properties/x/properties/__extn"),
        (_object(__expr=False), "/properties/__expr"),
        (_object(**{"\ud800": _STRING}), "/properties/\ud800"),
        (_object(**{"n" * 1001: _STRING}), "/properties/" + "n" * 1000),
    ],
)
def test_a_malformed_schema_is_refused_where_it_is_wrong(schema: Any, pointer: str) -> None:
    """What is no JSON Schema, or cannot be carried in Cedar's JSON, is refused with its pointer."""
    with pytest.raises(ToolSchemaError) as caught:
        from_json_schema(schema)
    assert caught.value.pointer == pointer


def test_required_of_old_drafts_is_ignored() -> None:
    """`"required": true` inside a property, as old drafts had it, makes nothing required and nothing wrong."""
    assert _type_of({"type": "string", "required": True}) == "?: String"


@pytest.mark.parametrize("key", ["allOf", "anyOf", "not-a-keyword"])
def test_schemas_nested_without_end_are_refused_or_ignored(key: str) -> None:
    """Thousands of nested combinations are refused, not followed."""
    schema: Any = _STRING
    for _ in range(5_000):
        schema = {key: [schema]}
    if key == "not-a-keyword":
        assert _type_of(schema) == f"?: {_ANY}"
    else:
        with pytest.raises(ToolSchemaError, match="nest deeper"):
            from_json_schema(_object(x=schema))


def test_properties_nested_without_end_become_untyped() -> None:
    """Below sixteen levels of properties and items everything is untyped, so types stay small."""
    schema: Any = _STRING
    for _ in range(5_000):
        schema = _object(x={"type": "array", "items": schema})
    text = from_json_schema(schema).cedar_type()
    assert text == "{ x?: Set<" * 8 + f"{{ x?: {_ANY} }}" + "> }" * 8


def test_references_that_multiply_are_refused() -> None:
    """A few definitions that each refer twice to the next would make a type without end; they are refused."""
    definitions: dict[str, Any] = {"0": _STRING}
    for level in range(1, 40):
        reference = {"$ref": f"#/$defs/{level - 1}"}
        definitions[str(level)] = {"anyOf": [reference, reference]}
    with pytest.raises(ToolSchemaError, match="too large, or refers to itself too often"):
        from_json_schema({**_object(x={"$ref": "#/$defs/30"}), "$defs": definitions})


@pytest.mark.parametrize(
    "schema",
    [
        _object(**{f"p{index}": _STRING for index in range(20_000)}),
        _object(x={"enum": ["a"] * 50_000}),
        _object(x={"anyOf": [_STRING] * 20_000}),
        _object(x={"type": ["string"] * 50_000}),
    ],
    ids=["properties", "enum", "anyOf", "type"],
)
def test_a_huge_schema_is_refused(schema: Any) -> None:
    """The work on one schema is bounded."""
    with pytest.raises(ToolSchemaError, match="too large"):
        from_json_schema(schema)


_KEYWORDS = ["type", "properties", "items", "anyOf", "oneOf", "allOf", "enum", "const", "$ref", "required", "nullable"]
_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "object", "array", "#", "#/x", "#/properties/a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_KEYWORDS, "a", "__extn", "if", "é", "\n"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JUNK)
@settings(deadline=None, max_examples=300)
def test_any_value_is_a_schema_that_cedar_takes_or_is_refused(schema: Any) -> None:
    """Whatever JSON stands in place of a schema, the answer is a type that Cedar parses, or a ToolSchemaError."""
    try:
        text = from_json_schema(schema).cedar_type()
    except ToolSchemaError:
        return
    cedarpy.Schema.from_str(f"type T = {text};")
