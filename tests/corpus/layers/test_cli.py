"""The corpus at the command line: `pdp decide`, `pdp intercept` and `pdp tools`, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.command_line import check_command, command
from tests.corpus.conftest import BundlePath
from tests.corpus.corpus import Case


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled modules are kept from one command to the next."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, compiled: Path) -> None:
    for name in ("PDP_CONFIG", "PDP_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PDP_STATE_DIR", str(compiled))


def test_answer(case: Case, bundle_path: BundlePath, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the answer or the error of the case, and its exit status says which it is."""
    check_command(command(case, bundle_path(case.bundle), tmp_path), case, capsys)
