"""Every tool of every recorded server loads beside a schema and is decided."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.source import make_source, source_file
from pdp.cedar.model import Authorization, DenialCode, EntityUid, ToolQuery
from pdp.cedar.options import AuthorizeOptions
from tests.corpus.argument_maker import ArgumentMaker
from tests.corpus.corpus import ROOT

#: Manifests that may lie beside the repository; most checkouts have none.
_BESIDE = ROOT.parent / "shared" / "data" / "github-mcp-server.tools.json"
MANIFESTS = [*sorted((ROOT / "examples" / "manifests").glob("*.json")), _BESIDE]

SCHEMA = b"entity Agent;\n"
PERMIT_ALL = b'@id("all") permit (principal, action in Action::"call_tool", resource);\n'
AGENT = EntityUid("Agent", "a")


@pytest.fixture(params=MANIFESTS, ids=[path.stem for path in MANIFESTS])
def manifest(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    if not path.exists():
        pytest.skip(f"there is no `{path.name}` beside the repository")
    return path


@cache
def load(manifest: Path) -> Snapshot:
    files = {
        "schema.cedarschema": SCHEMA,
        "policies/all.cedar": PERMIT_ALL,
        f"tools/{manifest.name}": manifest.read_bytes(),
    }
    source = make_source("memory", [source_file(path, content) for path, content in files.items()], [])
    return Loader(AuthorizeOptions()).load(source)


def tools(manifest: Path) -> dict[str, ArgumentMaker]:
    """The tools of the file by name, as the file has them."""
    listed = json.loads(manifest.read_text("utf-8"))["tools"]
    return {tool["name"]: ArgumentMaker(tool["inputSchema"]) for tool in listed}


def ask(manifest: Path, tool: str, arguments: dict[str, Any]) -> Authorization:
    query = ToolQuery(AGENT, manifest.stem, tool, json.dumps(arguments).encode())
    return load(manifest).authorizer.authorize(query)


def refused(manifest: Path, calls: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The calls that the policy which permits everything did not allow, each with the reason."""
    found = {}
    for tool, arguments in calls.items():
        answer = ask(manifest, tool, arguments)
        if not answer.allowed or [policy.policy_id for policy in answer.determining] != ["all"]:
            found[tool] = f"{answer} for {arguments}"
    return found


def test_every_tool_loads(manifest: Path) -> None:
    """The bundle loads without a warning, with exactly the tools of the file."""
    snapshot = load(manifest)
    assert snapshot.warnings == ()
    assert set(snapshot.authorizer.model.tools) == {(manifest.stem, name) for name in tools(manifest)}


def test_least_arguments_are_allowed(manifest: Path) -> None:
    """With nothing but its required arguments, each tool is allowed by a policy that permits everything."""
    assert refused(manifest, {name: maker.least() for name, maker in tools(manifest).items()}) == {}


def test_all_arguments_are_allowed(manifest: Path) -> None:
    """With every argument that it declares, each tool is allowed too."""
    assert refused(manifest, {name: maker.full() for name, maker in tools(manifest).items()}) == {}


def test_wrong_types_are_the_agents_mistake(manifest: Path) -> None:
    """A declared argument with a value of another type is INVALID_ARGUMENTS, and the message names it."""
    accepted = []
    for tool, maker in tools(manifest).items():
        for name, value in maker.wrong().items():
            denial = ask(manifest, tool, {**maker.least(), name: value}).denial
            path = "/" + name.replace("~", "~0").replace("/", "~1")
            if (
                denial is None
                or denial.code is not DenialCode.INVALID_ARGUMENTS
                or not denial.message.startswith(f"{path}: must be ")
            ):
                accepted.append((tool, name, value, denial))
    assert accepted == []


def test_an_unknown_tool_beside_them_is_denied(manifest: Path) -> None:
    """A name close to a tool's, or the tool on another server, is UNKNOWN_TOOL, though everything is permitted."""
    for name, maker in tools(manifest).items():
        answer = ask(manifest, f"{name}-x", maker.least())
        assert answer.denial is not None
        assert answer.denial.code is DenialCode.UNKNOWN_TOOL
        elsewhere = ToolQuery(AGENT, f"{manifest.stem}-x", name, json.dumps(maker.least()).encode())
        denial = load(manifest).authorizer.authorize(elsewhere).denial
        assert denial is not None
        assert denial.code is DenialCode.UNKNOWN_TOOL


def test_wrong_types_are_tried() -> None:
    """The manifests hold thousands of arguments with a type to get wrong, so the test above looks at something."""
    present = [path for path in MANIFESTS if path.exists()]
    assert sum(len(maker.wrong()) for path in present for maker in tools(path).values()) > 3_000
