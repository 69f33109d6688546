"""The lock files, and the check that keeps them clean."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON_LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "tools/requirements.lock",
    "examples/gateway/requirements.lock",
    "clients/python/requirements.lock",
)
NPM_LOCK = "tools/buf/package-lock.json"
OTHER_NPM_LOCK = "bench/peers/package-lock.json"
CLIENT_NPM_LOCKS = tuple(
    path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "clients").glob("*/package-lock.json"))
)
GUEST_LOCKS = tuple(
    path.relative_to(ROOT).as_posix()
    for name in ("requirements.lock", "package-lock.json")
    for path in sorted((ROOT / "interceptors_wasm" / "sdk").glob(f"*/{name}"))
)

ELSEWHERE = "https://somewhere.invalid"
#: Options that are no `--hash`. Some of pip's say where else packages come from, so a lock may have none at all.
OPTIONS = ("somewhere", "hashes", "hash-of", "pre")


def check_locks(project: Path) -> subprocess.CompletedProcess[str]:
    command = [str(project / "tools" / "check-locks")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the lock files and of their check that a test may spoil."""
    for name in (*PYTHON_LOCKS, NPM_LOCK, OTHER_NPM_LOCK, *CLIENT_NPM_LOCKS, *GUEST_LOCKS, "tools/check-locks"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def pins(lock: str) -> dict[str, str]:
    """The pinned versions of a lock file by package."""
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    return dict(line.split()[0].split("==") for line in lines if "==" in line and line[0].isalpha())


def test_locks_are_clean(project: Path) -> None:
    """Every pin has a hash, and no lock file names an address."""
    result = check_locks(project)
    assert result.returncode == 0, result.stderr


def test_toolchains_are_locked() -> None:
    """There are lock files of the toolchains of interceptors, in both forms."""
    assert {lock.rpartition("/")[2] for lock in GUEST_LOCKS} == {"requirements.lock", "package-lock.json"}


@pytest.mark.parametrize("lock", [*PYTHON_LOCKS, *(lock for lock in GUEST_LOCKS if lock.endswith("requirements.lock"))])
@pytest.mark.parametrize(
    "line",
    [
        *(f"--{option} {place}" for option in OPTIONS for place in (ELSEWHERE, "wheels")),
        *(f"--{option}={ELSEWHERE}" for option in OPTIONS),
        *(f"-{letter} wheels" for letter in "if"),
        "-i //somewhere.invalid",
        "unpinned",
        "loose>=1",
        "unhashed==1.0",
        f"pinned==1.0 --{OPTIONS[0]} wheels",
        f"direct @ {ELSEWHERE}/direct.whl",
        "local @ file:///srv/wheels/local.whl",
        "-e git+ssh://somewhere.invalid/direct",
    ],
)
def test_spoiled_python_lock_is_found(project: Path, lock: str, line: str) -> None:
    """An address, a requirement without a pin, or a pin without a hash in a lock file is found."""
    with (project / lock).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    assert check_locks(project).returncode == 1


def test_spoiled_npm_lock_is_found(project: Path) -> None:
    """An address in npm's lock file is found."""
    path = project / NPM_LOCK
    spoiled = path.read_text("utf-8").replace('"integrity"', f'"resolved": "{ELSEWHERE}/buf.tgz",\n "integrity"', 1)
    path.write_text(spoiled, "utf-8")
    assert check_locks(project).returncode == 1


def test_missing_lock_is_found(project: Path) -> None:
    """A lock file that is gone is found."""
    (project / "requirements.lock").unlink()
    assert check_locks(project).returncode == 1


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock", "examples/gateway/requirements.lock"])
def test_development_runs_what_is_shipped(lock: str) -> None:
    """The tests run on exactly the versions that users install."""
    development = pins("requirements-dev.lock")
    locked = pins(lock)
    assert locked
    assert {name: development.get(name) for name in locked} == locked


def test_locks_hold_every_dependency() -> None:
    """Every dependency of pyproject.toml is pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names <= pins("requirements.lock").keys()


def test_stubs_are_generated_at_the_floor() -> None:
    """The stubs are generated with the oldest gRPC and protobuf that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    tools = pins("tools/requirements.lock")
    for package in ("grpcio", "protobuf"):
        [floor] = [entry for entry in project["dependencies"] if entry.startswith(f"{package}>=")]
        lowest = floor.removeprefix(f"{package}>=").split(",")[0]
        assert tools[package].startswith(lowest)
