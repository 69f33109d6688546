"""The examples of the guide for policy authors say what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cedarpy
import pytest

from pdp.cedar.tool_schema import Tool, parse_manifest, schema_text
from pdp.errors import InvalidArgumentsError

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "tool-arguments.md"

_BLOCK = re.compile(r"^```(?P<kind>[a-z]+ [a-z]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def _examples() -> list[list[tuple[str, str]]]:
    """The guide's blocks, kind and text, in groups that each begin with an input schema."""
    groups: list[list[tuple[str, str]]] = []
    for block in _BLOCK.finditer(GUIDE.read_text("utf-8")):
        if block["kind"] == "json schema":
            groups.append([])
        groups[-1].append((block["kind"], block["text"].strip()))
    return groups


def _tool(example: list[tuple[str, str]]) -> Tool:
    tools, problems = parse_manifest("s", {"tools": [{"name": "t", "inputSchema": json.loads(example[0][1])}]})
    assert problems == []
    return tools[0]


def _holds(condition: str, tool: Tool, call: str, schema: cedarpy.Schema | None) -> bool:
    converted = tool.input.convert(call.encode())
    request = {
        "principal": {"type": "Agent", "id": "a"},
        "action": {"type": "Action", "id": tool.action_id},
        "resource": {"type": "Server", "id": "s"},
        "context": {"input": converted.value, "undeclared": converted.undeclared},
    }
    policy = f"permit (principal, action, resource) when {{ {condition} }};"
    result = cedarpy.is_authorized(request, policy, [], schema)
    assert result.diagnostics.errors == []
    return result.decision is cedarpy.Decision.Allow


def test_the_guide_has_examples_of_every_kind() -> None:
    """The blocks are found: a change of their format does not quietly leave the guide unchecked."""
    kinds = [kind for example in _examples() for kind, _ in example]
    assert kinds.count("json schema") >= 7
    assert set(kinds) == {
        "json schema",
        "cedarschema type",
        "json call",
        "cedar holds",
        "cedar policy",
        "json refused",
        "text message",
    }
    assert GUIDE.read_text("utf-8").count("```") == 2 * len(kinds)


@pytest.mark.parametrize("example", _examples(), ids=lambda example: str(example[1][1][:40]))
def test_an_example_is_true(example: list[tuple[str, str]]) -> None:
    """Types are as shown, conditions hold and are valid with and without a schema, refused calls are refused so."""
    tool, call, refused = _tool(example), "", ""
    generated = schema_text([tool], principal_types=["Agent"], declare_server=True)
    schema = cedarpy.Schema.from_str("entity Agent;\n" + generated)
    for kind, text in example:
        match kind:
            case "cedarschema type":
                assert tool.input.record_type.cedar_type() == text
            case "json call":
                call = text
            case "json refused":
                refused = text
            case "cedar policy":
                assert cedarpy.validate_policies(text, schema).validation_passed
            case "text message":
                with pytest.raises(InvalidArgumentsError) as caught:
                    tool.input.convert(refused.encode())
                assert str(caught.value) == text
            case "cedar holds":
                for condition in text.splitlines():
                    assert _holds(condition, tool, call, None), condition
                    assert _holds(condition, tool, call, schema), condition
                    policy = f'permit (principal, action == Action::"s/t", resource) when {{ {condition} }};'
                    assert cedarpy.validate_policies(policy, schema).validation_passed, condition
