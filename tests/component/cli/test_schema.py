"""`pdp schema`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cedarpy
import pytest

Run = Callable[..., Any]


def test_the_whole_schema(pdp: Run, bundle: Path) -> None:
    """A bundle's schema is Cedar's to read, and has the author's types and the tools' actions; in JSON too."""
    outcome = pdp("schema", bundle)
    assert (outcome.status, outcome.err) == (0, "")
    cedarpy.Schema.from_str(outcome.out)
    assert "entity Agent in [Role];" in outcome.out
    assert 'action "helpdesk/issue_refund" in [' in outcome.out
    document = pdp("schema", bundle, "--json").document
    assert document["schema"].rstrip() == outcome.out.rstrip()
    assert len(document["revision"]) == 64


def test_the_generated_part(pdp: Run, bundle: Path, tmp_path: Path) -> None:
    """From manifests alone, the schema has their tools, and what is missing is only who calls them."""
    (tmp_path / "other.json").write_text('{"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}')
    manifests = (bundle / "tools" / "helpdesk.json", tmp_path / "other.json")
    outcome = pdp("schema", "--manifest", *manifests, "--principal-type", "Robot", "--principal-type", "Acme::User")
    assert outcome.status == 0
    assert "Role" not in outcome.out
    schema = cedarpy.Schema.from_str(f"entity Robot; namespace Acme {{ entity User; }}\n{outcome.out}")
    assert '"other/t"' in str(schema)
    assert '"helpdesk/get_ticket"' in str(schema)
    assert pdp("schema", "--manifest", *manifests, "--json").document["schema"].startswith("entity Server;")


def test_wrong_manifests_have_places(pdp: Run, tmp_path: Path) -> None:
    """Every problem of every manifest is told with its place, and the status is 1."""
    (tmp_path / "one.json").write_text('{"tools": [\n  {"name": "t"}\n]}')
    (tmp_path / "two.json").write_text('{"tools": [}')
    outcome = pdp("schema", "--manifest", tmp_path / "one.json", tmp_path / "two.json")
    assert (outcome.status, outcome.out) == (1, "")
    assert f"{tmp_path}/one.json:2:3: error: `inputSchema` is missing" in outcome.err
    assert f"{tmp_path}/two.json:1:" in outcome.err
    problems = pdp("schema", "--json", "--manifest", tmp_path / "one.json").document["problems"]
    assert [(problem["line"], problem["severity"]) for problem in problems] == [(2, "error")]


def test_a_server_is_described_once(pdp: Run, bundle: Path, tmp_path: Path) -> None:
    """Two manifests of one name would declare the same tools twice."""
    manifest = bundle / "tools" / "helpdesk.json"
    (tmp_path / "helpdesk.json").write_bytes(manifest.read_bytes())
    outcome = pdp("schema", "--manifest", manifest, tmp_path / "helpdesk.json")
    assert outcome.status == 1
    assert "another file describes this server too" in outcome.err


def test_a_bundle_without_a_schema(pdp: Run, bundle: Path) -> None:
    """A bundle that has no schema has none to print: a finding, told on standard error."""
    (bundle / "schema.cedarschema").unlink()
    outcome = pdp("schema", bundle)
    assert (outcome.status, outcome.out) == (1, "")
    assert f"`{bundle}` has no `schema.cedarschema`" in outcome.err
    assert pdp("schema", bundle, "--json").document["schema"] is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "required"),
        (("x", "--manifest", "y"), "not allowed with"),
        (("--manifest", "nowhere.json"), "`nowhere.json` cannot be read: no such file or directory"),
        (("nowhere",), "there is no bundle at `nowhere`"),
        (("x", "--principal-type", "Agent"), "`--principal-type` belongs to `--manifest`"),
        (("--manifest", "x", "--principal-type", "a b"), "`a b` is not the name of an entity type"),
    ],
)
def test_wrong_usage(pdp: Run, arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2 and says what is wrong."""
    outcome = pdp("schema", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err


def test_a_broken_bundle(pdp: Run, broken: Path) -> None:
    """A bundle that does not load ends with 1 and its problems, each with its place."""
    outcome = pdp("schema", broken)
    assert (outcome.status, outcome.out) == (1, "")
    assert "entities/wrong.json:2:3: error: " in outcome.err
    assert json.loads(pdp("schema", broken, "--json").out)["problems"]
