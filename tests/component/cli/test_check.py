"""`pdp check`."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_good_bundle_passes(pdp: Run, bundle: Path) -> None:
    """A bundle that loads ends with 0 and says what it holds and which revision it is."""
    outcome = pdp("check", bundle)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"ok: `{bundle}` has 5 policies, 1 shadow policy, ")
    assert "1 server, 6 tools; 0 errors, 0 warnings; revision " in outcome.out


def test_every_problem_has_its_place(pdp: Run, broken: Path) -> None:
    """All problems of all files are listed with file, line and column, then counted; the status is 1."""
    outcome = pdp("check", broken)
    assert (outcome.status, outcome.err) == (1, "")
    lines = outcome.out.splitlines()
    assert any(line.startswith("entities/wrong.json:2:3: error: ") for line in lines)
    assert any(line.startswith("policies/wrong.cedar:1:1: error: ") for line in lines)
    assert lines[-1] == f"failed: `{broken}` has {len(lines) - 1} errors, 0 warnings"


def test_json_says_the_same(pdp: Run, broken: Path, bundle: Path) -> None:
    """With `--json` the answer is one object with the same problems and the same verdict."""
    bad, good = pdp("check", broken, "--json"), pdp("check", bundle, "--json")
    assert (bad.status, good.status) == (1, 0)
    assert bad.document["ok"] is False
    assert bad.document["errors"] == len(bad.document["problems"])
    assert {"entities/wrong.json", "policies/wrong.cedar"} == {each["path"] for each in bad.document["problems"]}
    assert good.document["ok"] is True
    assert good.document["counts"]["tools"] == 6
    assert len(good.document["revision"]) == 64


def test_warnings_do_not_fail(pdp: Run, bundle: Path) -> None:
    """A warning is listed and leaves the bundle good."""
    (bundle / "polices").mkdir()
    outcome = pdp("check", bundle)
    assert outcome.status == 0
    assert outcome.out.startswith("polices: warning: ")
    assert "0 errors, 1 warning;" in outcome.out


def test_an_archive_is_a_bundle_too(pdp: Run, bundle: Path, tmp_path: Path) -> None:
    """A `.tar.gz` of a bundle has the revision of its directory."""
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as archive:
        archive.add(bundle, ".")
    revisions = {pdp("check", path, "--json").document["revision"] for path in (bundle, tmp_path / "bundle.tar.gz")}
    assert len(revisions) == 1


@pytest.mark.parametrize("path", ["nowhere", ""])
def test_no_bundle_is_a_failure(pdp: Run, path: str) -> None:
    """A path where nothing is is wrong usage, not a finding; in JSON too."""
    outcome = pdp("check", path)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"error: there is no bundle at `{path}`\n"
    assert pdp("check", path, "--json").document == {"error": {"message": f"there is no bundle at `{path}`"}}


def test_hostile_bundles_do_not_reach_the_terminal(pdp: Run, bundle: Path) -> None:
    """Control characters that a bundle's author put into names and values come out as escapes."""
    text = '@id("a\\u{1b}[2J\\u{202e}") permit (principal, action, resource);\n'
    (bundle / "policies" / "hostile.cedar").write_text(text * 2)
    (bundle / "entities" / "hostile.json").write_text(json.dumps([{"uid": {"type": "Nope", "id": "\x1b]0;x\x07"}}]))
    outcome = pdp("check", bundle)
    assert outcome.status == 1
    assert r"\x1b[2J\u202e" in outcome.out
    assert all(line.isprintable() for line in outcome.out.splitlines())
    assert pdp("check", bundle, "--json").out.isascii()


def test_limits_come_from_the_configuration(pdp: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that the service would refuse for its size is refused here too."""
    monkeypatch.setenv("PDP_BUNDLE__MAX_FILES", "3")
    outcome = pdp("check", bundle)
    assert outcome.status == 1
    assert "a bundle may hold 3" in outcome.out
