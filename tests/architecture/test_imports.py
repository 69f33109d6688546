"""The direction of imports, as pyproject.toml declares it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint_imports(project: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the package and its contracts that a test may spoil."""
    shutil.copytree(ROOT / "pdp", tmp_path / "pdp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_are_kept() -> None:
    """Imports go down the declared layers, and the decision core imports nothing that is not pure."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "import pdp.cedar", "imports go down"),
        ("cedar/spoiled.py", "import grpc", "the decision core knows no transport"),
        ("cedar/spoiled.py", "from google.protobuf import message", "the decision core knows no transport"),
        ("cedar/spoiled.py", "import wasmtime", "the decision core knows no transport"),
        ("cedar/spoiled.py", "import structlog", "the decision core knows no transport"),
        ("cedar/spoiled.py", "import pathlib", "the decision core reads no file"),
        ("cedar/spoiled.py", "import time", "the decision core reads no file"),
        ("spoiled.py", "", "imports go down"),
    ],
)
def test_contracts_can_break(project: Path, module: str, line: str, contract: str) -> None:
    """An import against the contracts, or a module that no layer names, is found."""
    path = project / "pdp" / module
    path.write_text((path.read_text("utf-8") if path.exists() else "") + f"\n{line}\n", "utf-8")
    result = lint_imports(project)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [found for found in result.stdout.splitlines() if found.endswith("BROKEN")]
    assert [found for found in broken if found.startswith(contract)], result.stdout
