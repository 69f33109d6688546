"""What the tests of the examples share: a place for compiled modules, services, an MCP server that obeys."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import Files
from tests.examples import fake_server
from tests.grpc.service import Service, serving

Serve = Callable[..., Service]


@pytest.fixture(scope="session")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled modules, kept from test to test."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(scope="module")
def serve(_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts services in this process: of a bundle on disk, or of files."""
    with ExitStack() as stack:

        def start(bundle: Path | None = None, files: Files | None = None, **sections: Mapping[str, Any]) -> Service:
            directory = tmp_path_factory.mktemp("service")
            settings: dict[str, Mapping[str, Any]] = {
                "bundle": {"source": str(bundle or directory / "bundle"), "watch": False},
                "interceptors": {"cache_dir": str(_compiled)},
                **sections,
            }
            return stack.enter_context(serving(directory, files or {}, **settings))

        yield start


class FakeServer:
    """An MCP server that obeys: what it lists, what it answers, and which calls it got."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.command = (sys.executable, fake_server.__file__)
        self.reset()

    def reset(self, *tools: dict[str, Any]) -> None:
        """As new: it lists these tools, answers `done`, and got no calls."""
        self._file(fake_server.ENDLESS).unlink(missing_ok=True)
        self._file(fake_server.CALLS).unlink(missing_ok=True)
        self.lists(list(tools))
        self.answers("done")

    def lists(self, *pages: list[dict[str, Any]]) -> None:
        """From now on it lists these tools."""
        self._file(fake_server.PAGES).write_text(json.dumps(pages))

    def answers(self, text: str, **members: Any) -> None:
        """From now on it answers calls with this text, and with these further members of a result."""
        block = {"type": "text", "text": text}
        self.answers_with({"content": [block], "resultType": "complete", **members})

    def answers_with(self, result: object) -> None:
        """From now on it answers calls so."""
        self._file(fake_server.ANSWER).write_text(json.dumps(result))

    def refuses_calls(self) -> None:
        """From now on its answer to calls is an error of the protocol."""
        self._file(fake_server.ANSWER).unlink()

    def lists_without_end(self) -> None:
        """From now on there is always another page."""
        self._file(fake_server.ENDLESS).touch()

    def calls(self) -> list[dict[str, Any]]:
        """The calls that it got since this was asked last."""
        file = self._file(fake_server.CALLS)
        if not file.exists():
            return []
        lines = file.read_text().splitlines()
        file.unlink()
        return [json.loads(line) for line in lines]

    def _file(self, name: Path) -> Path:
        return self.directory / name


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeServer:
    """An MCP server that obeys; not started yet."""
    return FakeServer(tmp_path_factory.mktemp("fake"))
