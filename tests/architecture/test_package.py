"""What is shipped."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pdp

ROOT = Path(__file__).resolve().parents[2]
HATCHLING = Path(sys.executable).with_name("hatchling")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built offline."""
    target = tmp_path_factory.mktemp("wheel")
    command = [str(HATCHLING), "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [path] = target.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_has_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """The wheel has every file of `pdp` and no test, tool or example."""
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {path for path in (ROOT / "pdp").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert shipped == {path.relative_to(ROOT).as_posix() for path in sources}
    assert {"pdp/py.typed", "pdp/_gen/pdp/v1/decision_service_pb2_grpc.py"} <= shipped


def test_wheel_has_its_metadata(wheel: zipfile.ZipFile) -> None:
    """The wheel has the version of the code, the licence's text, and the command `pdp`."""
    folder = f"pdp-{pdp.__version__}.dist-info"
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert f"\nVersion: {pdp.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert b"pdp = pdp.cli:main" in wheel.read(f"{folder}/entry_points.txt")
