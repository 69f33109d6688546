"""Validating a policy against only the tools it can touch finds what the whole schema finds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cedarpy
import pytest

from pdp.bundle.manifest import Manifest
from pdp.bundle.schema_file import BundleSchema, build_schema
from pdp.bundle.validation import Validator
from pdp.cedar.policies import parse_policies
from pdp.cedar.tool_schema import Tool, parse_manifest

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"
WRITTEN = (
    QUICKSTART / "schema.cedarschema"
).read_text() + 'action "own" appliesTo { principal: [Agent], resource: [Server] };'

ACTIONS = [
    "action",
    'action == Action::"git/git_add"',
    'action == Action::"filesystem/write_file"',
    'action in [Action::"git/git_add", Action::"fetch/fetch"]',
    'action in Action::"git"',
    'action in Action::"destructive"',
    'action in Action::"call_tool"',
    'action == Action::"own"',
    'action == Action::"git/git_ad"',
    'action in [Action::"fetch/fetch", Action::"own"]',
    "action in []",
]
PRINCIPALS = [
    "principal",
    "principal is Agent",
    "principal is Role",
    'principal in Role::"reader"',
    "principal is Agnet",
]
CONDITIONS = [
    "true",
    'context.input.repo_path == "/srv"',
    'context.input has path && context.input.path like "/srv/*"',
    "context.input.files.isEmpty()",
    "context.input.absent == 1",
    "context.input.url == 3",
    'action == Action::"git/git_reset" && context.input.repo_path == "/srv"',
    'action in Action::"filesystem" || action in Action::"git"',
    'action in Action::"nothing"',
    'principal.workspace == "/srv" && principal.team == Team::"web"',
    "context has session_id",
]


def _tools() -> list[Tool]:
    files = sorted((QUICKSTART / "tools").glob("*.json"))
    return [tool for file in files for tool in parse_manifest(file.stem, json.loads(file.read_text()))[0]]


def _schema(tools: list[Tool]) -> BundleSchema:
    schema, problems = build_schema(WRITTEN, tools, Manifest())
    assert schema is not None, problems
    return schema


TOOLS = _tools()
SCHEMA = _schema(TOOLS)


@pytest.mark.parametrize("action", ACTIONS)
def test_small_schemas_find_the_same(action: str) -> None:
    """For every scope and condition, valid or not, the findings are those of the whole schema."""
    validator = Validator(SCHEMA, TOOLS)
    texts = [
        f"permit({principal}, {action}, resource) when {{ {condition} }};"
        for principal, condition in itertools.product(PRINCIPALS, CONDITIONS)
    ]
    parsed = parse_policies("a.cedar", "\n".join(texts))
    assert not parsed.problems
    found: dict[int, set[str]] = {}
    for number, message in validator.check([(policy, policy.text) for policy in parsed.policies]):
        found.setdefault(number, set()).add(message)
    for number, text in enumerate(texts):
        errors = cedarpy.validate_policies(text, SCHEMA.schema).errors
        assert found.get(number, set()) == {error.error.removeprefix("for policy `policy0`, ") for error in errors}, (
            text
        )


def test_policies_of_one_tool_do_not_meet_the_whole_schema() -> None:
    """A policy that names its tools is judged without the others; one for all actions is not."""
    validator = Validator(SCHEMA, TOOLS)
    one, group, every = parse_policies(
        "a.cedar",
        'permit(principal, action == Action::"git/git_add", resource) when { action in Action::"fetch" };'
        'permit(principal, action in Action::"fetch", resource); permit(principal, action, resource);',
    ).policies
    assert validator._tools_of(one) == frozenset({"git/git_add", "fetch/fetch"})
    assert validator._tools_of(group) == frozenset({"fetch/fetch"})
    assert validator._tools_of(every) is None
