"""`pdp init`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def contents(directory: Path) -> dict[str, bytes]:
    """The files below a directory by their relative paths."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["bundle", "a bundle's $HOME", "-bundle"])
def test_the_next_commands_work_as_printed(
    pdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A starter bundle checks without a warning, allows and denies, by the commands as a shell takes them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    printed = pdp("init", "--", name)
    assert printed.status == 0
    commands = [line.strip() for line in printed.out.splitlines() if line.startswith("  pdp ")]
    results = [
        subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        for command in commands
        if " serve " not in command
    ]
    assert [result.returncode for result in results] == [0, 0, 1]
    assert [result.stderr for result in results] == ["", "", ""]
    assert "0 errors, 0 warnings" in results[0].stdout
    assert results[1].stdout.startswith("ALLOW\n")
    assert results[2].stdout.startswith("DENY NO_MATCHING_POLICY: ")
    assert [command for command in commands if " serve " in command] == [commands[-1]]


def test_the_last_command_serves(serve: Run, bundle: Path) -> None:
    """The starter bundle serves."""
    assert serve("--bundle", bundle).announced["bundle"] == str(bundle)


def test_json_lists_what_was_written(pdp: Run, tmp_path: Path) -> None:
    """With `--json` the files and the commands are in one object, and the files are there."""
    document = pdp("init", tmp_path / "new" / "bundle", "--json").document
    assert document["files"] == sorted(contents(tmp_path / "new" / "bundle"))
    assert [command.split()[1] for command in document["next"]] == ["check", "authorize", "authorize", "serve"]


def test_the_bundle_shows_what_there_is(pdp: Run, bundle: Path) -> None:
    """The starter has a group of tools, a condition on an argument, a forbid with a message, and a shadow policy."""
    ask = ("authorize", "--bundle", bundle, "--subject", 'Agent::"support-bot"', "--json", "--tool")
    small = pdp(*ask, "helpdesk/issue_refund", "--arguments", '{"ticket_id": "T-1", "amount_cents": 500}')
    assert small.document["decision"] == "DECISION_ALLOW"
    assert small.document["shadow"]["would_be_decision"] == "DECISION_DENY"
    deleting = (*ask, "helpdesk/delete_ticket", "--arguments", '{"ticket_id": "T-1"}')
    denied = pdp(*deleting)
    assert denied.document["denial"]["message"] == "this tool destroys data; ask a person to approve the call"
    assert pdp(*deleting, "--context", '{"approved_by": "team-lead"}').status == 0


def test_a_directory_in_use_is_left_alone(pdp: Run, tmp_path: Path) -> None:
    """A directory that holds anything, hidden files too, is refused and not touched."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / ".keep").write_text("")
    outcome = pdp("init", tmp_path / "used")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"error: `{tmp_path / 'used'}` is not empty; name a new directory\n"
    assert contents(tmp_path / "used") == {".keep": b""}


def test_an_empty_directory_is_fine(pdp: Run, tmp_path: Path) -> None:
    """A directory that is there and empty is used."""
    (tmp_path / "empty").mkdir()
    assert pdp("init", tmp_path / "empty").status == 0


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_way_is_a_failure(pdp: Run, tmp_path: Path, below: str) -> None:
    """Where a directory cannot be made the status is 2, and the file that is there stays."""
    (tmp_path / "file").write_text("mine")
    outcome = pdp("init", tmp_path / "file" / below)
    assert outcome.status == 2
    assert "cannot be written" in outcome.err
    assert (tmp_path / "file").read_text() == "mine"
