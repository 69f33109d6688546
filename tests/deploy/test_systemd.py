"""The unit for systemd, as far as it can be tried without systemd as the first process."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pdp.cli import main
from pdp.config import load_config
from tests.bundles import PERMIT_ALL, Files, manifest, tool, write_bundle
from tests.deploy import confined
from tests.modules import answering, binding

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "pdp.service"
DROP_INS = sorted((FOLDER / "pdp.service.d.example").glob("*.conf"))
SETTINGS = confined.settings(UNIT)
VALUES = dict(SETTINGS)
PDP = Path(sys.executable).with_name("pdp")


@pytest.fixture
def _systemd() -> None:
    """systemd's tool that looks at units, and the library that loads filters."""
    for what in (shutil.which("systemd-analyze"), ctypes.util.find_library("seccomp")):
        if what is None:
            if os.environ.get("REQUIRE_SYSTEMD"):
                pytest.fail("systemd-analyze or libseccomp is missing")
            pytest.skip("systemd-analyze or libseccomp is not here")


def put(directory: Path, *, memory: str = "no", drop_ins: bool = False) -> Path:
    """The unit in a directory, as it is installed but with the command of this environment."""
    text = UNIT.read_text("utf-8").replace("/opt/pdp/bin/pdp", str(PDP))
    unit = directory / UNIT.name
    unit.write_text(text.replace("MemoryDenyWriteExecute=no", f"MemoryDenyWriteExecute={memory}"), "utf-8")
    if drop_ins:
        folder = directory / "pdp.service.d"
        folder.mkdir()
        for path in DROP_INS:
            shutil.copy(path, folder)
    return unit


@pytest.mark.usefixtures("_systemd")
@pytest.mark.parametrize("drop_ins", [False, True])
def test_the_unit_is_one(tmp_path: Path, drop_ins: bool) -> None:
    """systemd understands every line, with and without the drop-ins."""
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=one"]
    result = subprocess.run(
        [*command, str(put(tmp_path, drop_ins=drop_ins))], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.usefixtures("_systemd")
def test_mistakes_are_found(tmp_path: Path) -> None:
    """A setting that does not exist is found by what the test before this one trusts."""
    unit = put(tmp_path)
    unit.write_text(unit.read_text("utf-8").replace("NoNewPrivileges=", "NoNewPriviledges="), "utf-8")
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "NoNewPriviledges" in result.stderr


@pytest.mark.usefixtures("_systemd")
def test_the_unit_is_confined(tmp_path: Path) -> None:
    """systemd's own measure of exposure, 0 to 10, is at most 1.5, with the drop-ins too."""
    unit = put(tmp_path, drop_ins=True)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_there_is_time_to_stop() -> None:
    """systemd waits longer than calls in flight may go on, and starts it again after all but a wrong configuration."""
    config = load_config(FOLDER / "pdp.toml", {})
    assert int(VALUES["TimeoutStopSec"]) > config.server.drain_seconds
    assert VALUES["Restart"] == "always"
    assert VALUES["RestartPreventExitStatus"] == "2"


def test_a_killed_compiler_stops_nothing() -> None:
    """When the kernel ends the compiler of a module for want of memory, the service goes on."""
    assert VALUES["OOMPolicy"] == "continue"


def test_it_has_no_account() -> None:
    """Nobody has to make a user, and what is written is in the directories that systemd makes for it."""
    assert VALUES["DynamicUser"] == "yes"
    assert not {"User", "Group"} & VALUES.keys()
    config = load_config(FOLDER / "pdp.toml", {})
    assert config.decision_log.path is not None
    assert config.decision_log.path.is_relative_to(f"/var/log/{VALUES['LogsDirectory']}")
    assert ("Environment", f"PDP_STATE_DIR=%S/{VALUES['StateDirectory']}") in SETTINGS


def test_its_configurations_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is accepted, and so is every variable that a drop-in sets, in one configuration with it."""
    command = ["config", "--config", str(FOLDER / "pdp.toml")]
    assert main(command) == 0
    variables = {}
    for path in DROP_INS:
        loaded = {value.partition(":")[0] for name, value in confined.settings(path) if name == "LoadCredential"}
        for name, value in confined.settings(path):
            if name == "Environment":
                variable, _, text = value.partition("=")
                assert text.removeprefix("%d/") in loaded
                variables[variable] = text.replace("%d", "/run/credentials/pdp.service")
    assert variables
    for variable, text in variables.items():
        monkeypatch.setenv(variable, text)
    assert main(command) == 0


def ask(unit: Path, bundle: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """Run the chain of a bundle once, as the unit would let it."""
    command = [str(PDP), "intercept", "--bundle", str(bundle), "--subject", 'Agent::"a"', "--tool", "srv/read"]
    return subprocess.run(
        [sys.executable, confined.__file__, str(unit), *command],
        env={"PATH": os.environ["PATH"], "PDP_STATE_DIR": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with an interceptor that has yet to be compiled."""
    files: Files = {"policies/a.cedar": PERMIT_ALL, "tools/srv.json": manifest(tool("read"))}
    guarded: Files = {"bundle.toml": binding("pass", timeout_ms=10_000), "interceptors/pass.wasm": answering()}
    return write_bundle(tmp_path / "bundle", {**files, **guarded})


@pytest.mark.process
@pytest.mark.usefixtures("_systemd")
def test_its_system_calls_are_enough(tmp_path: Path, bundle: Path) -> None:
    """With the unit's system calls alone a module is compiled, in its process with limits, and run."""
    result = ask(put(tmp_path), bundle, tmp_path / "state")
    assert result.returncode == 0, result.stderr


@pytest.mark.process
@pytest.mark.usefixtures("_systemd")
def test_modules_need_executable_memory(tmp_path: Path, bundle: Path) -> None:
    """With MemoryDenyWriteExecute a bundle with a module is refused, which is why the unit does not have it."""
    assert VALUES["MemoryDenyWriteExecute"] == "no"
    result = ask(put(tmp_path, memory="yes"), bundle, tmp_path / "state")
    assert result.returncode == 2
    assert "memory executable" in result.stderr


@pytest.mark.process
@pytest.mark.usefixtures("_systemd")
def test_policies_need_no_executable_memory(tmp_path: Path) -> None:
    """With MemoryDenyWriteExecute a bundle without modules answers, as its drop-in says."""
    files = {"policies/a.cedar": PERMIT_ALL, "tools/srv.json": manifest(tool("read"))}
    plain = write_bundle(tmp_path / "bundle", files)
    assert ask(put(tmp_path, memory="yes"), plain, tmp_path / "state").returncode == 0


@pytest.mark.process
@pytest.mark.usefixtures("_systemd")
def test_other_system_calls_are_refused(tmp_path: Path) -> None:
    """The filter is in force: what every process may do, and the unit does not let it, fails."""
    attempt = [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))"]
    assert subprocess.run(attempt, check=False).returncode == 0
    command = [sys.executable, confined.__file__, str(put(tmp_path)), *attempt]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "PermissionError" in result.stderr
