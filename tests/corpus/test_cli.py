"""The corpus at the command line: questions to policies alone with `pdp authorize`, in this process.

The command line asks for a decision and writes no decision log, so of a case it shows the answer or the error.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.command_line import check_command, command
from tests.corpus.conftest import BundlePath
from tests.corpus.corpus import Case


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PDP_CONFIG", "PDP_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_answer(case: Case, bundle_path: BundlePath, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the answer or the error of the case, and its exit status says which it is."""
    check_command(command(case, bundle_path(case.bundle), tmp_path), case, capsys)
