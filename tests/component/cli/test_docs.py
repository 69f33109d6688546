"""The generated pages of the reference."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "gen_docs.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the pages are made of, and of the pages."""
    for name in ("pdp", "docs/reference"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "gen_docs.py", tmp_path / "tools")
    return tmp_path


def test_pages_are_what_the_code_says() -> None:
    """The pages are those that `make gen` writes."""
    result = generate(ROOT, "--check")
    assert (result.returncode, result.stderr) == (0, "")


def test_every_command_has_its_section() -> None:
    """The page has a section for every command that does something, those of groups too, and a link to each."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    sections = re.findall(r"^## pdp (.+)$", page, re.MULTILINE)
    links = re.findall(r"^\| \[`(.+)`\]\(#pdp-(.+)\) \|", page, re.MULTILINE)
    assert {"serve", "intercept", "module inspect", "module push", "module remove", "module list"} <= set(sections)
    assert "module" not in sections
    assert links == [(name, name.replace(" ", "-")) for name in sections]


@pytest.mark.parametrize(
    ("path", "old", "new", "stale"),
    [
        ("pdp/config.py", "drain_seconds: _Seconds = 10.0", "drain_seconds: _Seconds = 11.0", "configuration.md"),
        ("pdp/cli/parser.py", '"--no-watch"', '"--unwatched"', "cli.md"),
        ("pdp/cli/parser_module.py", '"--memory-mib"', '"--mebibytes"', "cli.md"),
    ],
)
def test_a_difference_is_found(copy: Path, path: str, old: str, new: str, stale: str) -> None:
    """A change of an option or a default that the pages do not have fails the check until they are generated."""
    text = (copy / path).read_text("utf-8")
    assert text.count(old) == 1
    (copy / path).write_text(text.replace(old, new), "utf-8")
    result = generate(copy, "--check")
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(f": {stale}")
    assert generate(copy).returncode == 0
    assert generate(copy, "--check").returncode == 0


def test_a_key_without_a_comment_is_refused(copy: Path) -> None:
    """Every key of the configuration is explained where it is declared."""
    path = copy / "pdp" / "config.py"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if "File mode of unix sockets" not in line]
    assert len(kept) == len(lines) - 1
    path.write_text("".join(kept), "utf-8")
    result = generate(copy)
    assert (result.returncode, result.stderr.splitlines()[-1][:22]) == (1, "`server.socket_mode` i")
