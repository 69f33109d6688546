"""The command line as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pdp as package
from tests.component.cli.conftest import PDP, on_terminal

Run = Callable[..., Any]


@pytest.mark.parametrize("words", [[], ["authorize"], ["module"], ["module", "push"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    """`--help` answers without gRPC, protobuf, pydantic, Cedar, WebAssembly and the log's library."""
    code = (
        f"import sys; from pdp.cli import main; status = main([*{words}, '--help'])\n"
        "heavy = {'grpc', 'google.protobuf', 'pydantic', 'cedarpy', 'structlog', 'wasmtime', 'watchfiles'}\n"
        "sys.exit(status or ' '.join(sorted(heavy & sys.modules.keys())) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"usage: {' '.join(['pdp', *words])} " in result.stdout


def test_help_names_every_command(pdp: Run) -> None:
    """The help lists the commands, and that of a group those of the group."""
    out = pdp("--help").out
    for command in ("serve", "check", "init", "authorize", "intercept", "schema", "module", "status", "config"):
        assert f"\n    {command}" in out
    out = pdp("module", "--help").out
    for command in ("inspect", "push", "remove", "list"):
        assert f"\n    {command}" in out


def test_version(pdp: Run) -> None:
    """`--version` prints the version of the package."""
    assert pdp("--version").out == f"pdp {package.__version__}\n"


@pytest.mark.parametrize("group", [(), ("module",)])
def test_no_command_is_wrong_usage(pdp: Run, group: tuple[str, ...]) -> None:
    """Without a command the help goes to standard error and the status is 2, and so it is for a group of commands."""
    outcome = pdp(*group)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == pdp(*group, "--help").out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "`nonsense`"),
        (["module", "nonsense"], "`nonsense`"),
        (["module", "list", "--nonsense"], "`--nonsense`"),
        (["check"], "BUNDLE"),
        (["check", "--nonsense", "x"], "`--nonsense`"),
        (["check", "a", "b\x1b[2J"], r"`b\x1b[2J`"),
        (["serve", "--list", "127.0.0.1:0"], "`--list`"),
    ],
)
def test_wrong_usage(pdp: Run, arguments: list[str], complaint: str) -> None:
    """Wrong usage ends with 2 and names what is wrong, also where it is an option's beginning only."""
    outcome = pdp(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "\x1b" not in outcome.err


def test_a_reader_that_goes_away_is_no_traceback(bundle: Path) -> None:
    """A closed pipe ends the command with 2 and without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        result = subprocess.run(
            [PDP, "schema", str(bundle)], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr) == (2, "")


@pytest.mark.parametrize("command", ["schema", "check"])
def test_output_that_cannot_be_written_is_a_failure(bundle: Path, command: str) -> None:
    """An answer that could not be written does not look like success, however short it is."""
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [PDP, command, str(bundle)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 2
    assert result.stderr == "error: standard output cannot be written: no space left on device\n"


def test_closed_standard_output_is_a_failure(bundle: Path) -> None:
    """Without a standard output there is nowhere to answer to."""
    shell = ["sh", "-c", '"$0" check "$1" >&-', PDP, str(bundle)]
    result = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, "error: standard output is closed\n")


def test_a_bug_is_neither_yes_nor_no(pdp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody expected is told in full, escaped, and ends with 2."""

    def run(arguments: object) -> int:
        raise RuntimeError("made up \x1b[2J")

    command = types.ModuleType("pdp.cli.check")
    monkeypatch.setattr(command, "run", run, raising=False)
    monkeypatch.setitem(sys.modules, "pdp.cli.check", command)
    outcome = pdp("check", "x")
    assert outcome.status == 2
    assert r"RuntimeError: made up \x1b[2J" in outcome.err
    assert "\x1b" not in outcome.err


def test_color_is_for_terminals(bundle: Path, pdp: Run) -> None:
    """Colors appear on a terminal, but not if its user wants none, and not elsewhere."""
    command = (PDP, "check", str(bundle))
    assert b"\x1b[32mok\x1b[0m" in on_terminal(*command)
    assert b"\x1b" not in on_terminal(*command, NO_COLOR="1")
    assert b"\x1b" not in on_terminal(*command, TERM="dumb")
    assert "\x1b" not in pdp("check", bundle).out


def test_what_the_encoding_lacks_is_escaped(bundle: Path) -> None:
    """A terminal that knows only ASCII gets escapes instead of a failure."""
    (bundle / "bundle.toml").write_text('nämé = "x"\n', "utf-8")
    result = subprocess.run(
        [PDP, "check", str(bundle)], capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert result.returncode == 1
    assert b"bundle.toml:" in result.stdout
    assert result.stderr == b""
