"""The image, as far as it can be tried without a container engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pdp.cli import main
from pdp.cli.parser import build_parser
from pdp.config import load_config
from tests.bundles import PERMIT_ALL, manifest, tool, write_bundle
from tests.deploy.containerfile import Scratch, Stage, instructions, stages

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "container"
STEPS = instructions((FOLDER / "Containerfile").read_text("utf-8"))
BUILD, FINAL = stages(STEPS)
DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_the_base_is_whoever_builds_to_say() -> None:
    """Both stages stand on BASE, which has no default, so that no tag that moves decides what is shipped."""
    assert (STEPS[0].name, STEPS[0].text) == ("ARG", "BASE")
    assert [BUILD.base, FINAL.base] == ["${BASE}", "${BASE}"]
    assert [step.name for step in STEPS].count("ARG") == 1


def test_nothing_comes_from_elsewhere() -> None:
    """Nothing is fetched but packages whose hashes are known, and nothing but wheels is installed."""
    assert {step.name for step in STEPS}.isdisjoint({"ADD", "ONBUILD", "SHELL"})
    installing = [part for step in STEPS if step.name == "RUN" for part in step.text.split("&&") if " install " in part]
    packages = [part for part in installing if "bin/pip" in part]
    assert len(packages) == 3
    for part in packages:
        locked = "--require-hashes" in part and "--only-binary :all:" in part and ".lock" in part
        assert locked or "--no-index --no-deps dist/*.whl" in part, part


@pytest.mark.parametrize("name", ["Containerfile.dockerignore", "Containerfile.containerignore"])
def test_what_is_copied_is_there(name: str) -> None:
    """Everything that is copied exists and reaches the engine, and nothing else does."""
    rules = [line for line in (FOLDER / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {word for step in BUILD.instructions if step.name == "COPY" for word in step.words[:-1]}
    assert copied == sent
    for word in copied:
        assert (ROOT / word).exists()
        assert not any(fnmatch(word, rule) for rule in rules[1:] if not rule.startswith("!"))


def test_the_image_runs_as_nobody() -> None:
    """The final stage runs no command while it is made, ends as a user with a number, and owns no code."""
    names = [step.name for step in FINAL.instructions]
    assert "RUN" not in names
    user, _, group = FINAL.last("USER").text.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    copies = [step for step in FINAL.instructions if step.name == "COPY"]
    assert all(step.flags["from"] == BUILD.name for step in copies)
    owned = {step.words[-1] for step in copies if "chown" in step.flags}
    assert owned == {"/var/lib/pdp", "/run/pdp"}
    assert names.index("USER") > max(place for place, name in enumerate(names) if name == "COPY")


def test_its_commands_exist() -> None:
    """What it runs, and what it looks after itself with, are commands of this version, without a shell."""
    start = [*FINAL.last("ENTRYPOINT").words, *FINAL.last("CMD").words]
    health = FINAL.last("HEALTHCHECK").text.partition("CMD ")[2]
    for command in (start, json.loads(health)):
        assert command[0] == "pdp"
        build_parser().parse_args(command[1:])
    assert FINAL.last("STOPSIGNAL").text == "SIGTERM"


def test_its_configuration_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is a configuration, and listens where the health check asks."""
    environment = FINAL.environment
    config = load_config(FOLDER / "pdp.toml", {name: value for name, value in environment.items() if "PDP_" in name})
    assert environment["PDP_ADDRESS"] in config.server.listen
    assert main(["config", "--config", str(FOLDER / "pdp.toml")]) == 0


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Stands for an engine: writes down how it was called."""
    path = tmp_path / "engine"
    path.write_text('#!/bin/sh\npwd >"$0.calls"\nprintf "%s\\n" "$@" >>"$0.calls"\n')
    path.chmod(0o755)
    return path


def build(engine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ENGINE": str(engine)}
    return subprocess.run([FOLDER / "build", *arguments], env=environment, capture_output=True, text=True, check=False)


def test_the_script_builds_on_a_digest(engine: Path) -> None:
    """The script hands a base with a digest to the engine, at the top of the repository."""
    base = f"python:3.13-slim@{DIGEST}"
    assert build(engine, base, "pdp:1", "--quiet").returncode == 0
    place, *words = engine.with_name("engine.calls").read_text("utf-8").splitlines()
    assert Path(place) == ROOT
    assert words == [
        *("build", "--file", "deploy/container/Containerfile"),
        *("--build-arg", f"BASE={base}", "--tag", "pdp:1", "--quiet", "."),
    ]


@pytest.mark.parametrize(
    "base",
    ["python", "python:3.13-slim", "", f"@{DIGEST}", f"python@{DIGEST}0", "python@sha256:", f"python@{DIGEST}:1"],
)
def test_the_script_builds_on_no_tag(engine: Path, base: str) -> None:
    """Without a whole digest nothing is built."""
    result = build(engine, base, "pdp:1")
    assert result.returncode == 2
    assert not engine.with_name("engine.calls").exists()


def test_reading_a_containerfile() -> None:
    """Comments, continued lines, flags and both forms of a command are read as an engine reads them."""
    text = '# x\nARG A\nFROM a AS b\nRUN one \\\n# between\n  && two\nCOPY --from=b --chown=1:2 x y\nCMD ["p", "q r"]\n'
    steps = instructions(text)
    assert [step.name for step in steps] == ["ARG", "FROM", "RUN", "COPY", "CMD"]
    assert steps[2].text.split() == ["one", "&&", "two"]
    assert steps[3].flags == {"from": "b", "chown": "1:2"}
    assert steps[4].words == ["p", "q r"]
    [stage] = stages(steps)
    assert (stage.base, stage.name) == ("a", "b")


@pytest.mark.slow
@pytest.mark.process
def test_its_steps_make_a_service(tmp_path: Path) -> None:
    """The steps of the image, done in a directory, give a service without pip or tests, which writes only its state."""
    scratch = Scratch(tmp_path, ROOT, ("/build", "/opt/pdp"))
    scratch.build(BUILD)
    installed = tmp_path / "opt" / "pdp"
    [packages] = installed.glob("lib/python*/site-packages")
    names = {re.split(r"[-.]", path.name)[0].lower() for path in packages.iterdir()}
    assert "pdp" in names
    assert names.isdisjoint({"pip", "setuptools", "hatchling", "pytest", "mypy", "tests"})
    assert {path.name for path in (packages / "pdp").iterdir()} >= {"py.typed", "_gen"}
    before = contents(installed)
    state = tmp_path / "state"
    served(installed, FINAL, state, write_bundle(tmp_path / "bundle", BUNDLE))
    assert contents(installed) == before
    assert any(state.iterdir())


BUNDLE = {"policies/a.cedar": PERMIT_ALL, "tools/srv.json": manifest(tool("read"))}


def contents(directory: Path) -> set[str]:
    """The names of all files below a directory."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def served(installed: Path, stage: Stage, state: Path, bundle: Path) -> None:
    """Run what the stage runs, with the environment that it sets and nothing else, until it has answered."""
    environment = {"PATH": f"{installed / 'bin'}:/usr/bin:/bin", "PDP_STATE_DIR": str(state)}
    environment["PYTHONDONTWRITEBYTECODE"] = stage.environment["PYTHONDONTWRITEBYTECODE"]
    words = [*stage.last("ENTRYPOINT").words, *stage.last("CMD").words]
    command = [str(FOLDER / "pdp.toml") if word.startswith("/etc/") else word for word in words]
    command[0] = str(installed / "bin" / "pdp")
    address = f"unix:{state.with_name('pdp.sock')}"
    options = ["--bundle", str(bundle), "--listen", address, "--json"]
    with subprocess.Popen(
        [*command, *options], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        try:
            assert any(json.loads(line)["event"] == "serving" for line in process.stderr)
            ask = {**environment, "PDP_ADDRESS": address}
            health = json.loads(stage.last("HEALTHCHECK").text.partition("CMD ")[2])
            asked = subprocess.run([command[0], *health[1:]], env=ask, capture_output=True, text=True, check=False)
            assert asked.returncode == 0, asked.stderr
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()
    assert process.returncode == 0
