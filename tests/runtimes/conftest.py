"""What the tests of the integrations share: a bundle, a service that may be stopped, a client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pdp_client import Client

from tests import modules
from tests.bundles import Files, manifest, tool
from tests.grpc.service import Service, serving

ROOT = Path(__file__).resolve().parents[2]
REDACT = ROOT / "examples/gateway/bundle/interceptors/redact_secrets.wasm"
#: What a GitHub token looks like.
SECRET = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"

POLICIES = """
@id("coders") permit (principal == Agent::"coder", action, resource);
@id("no-erasing") forbid (principal, action == Action::"notes/erase", resource);
@id("no-dot-dot") @message("paths with `..` are not allowed")
forbid (principal, action, resource) when { context.input has path && context.input.path like "*..*" };
"""

READ = tool("read", {"path": {"type": "string"}}, description="Reads a note.")
ERASE = tool("erase", {"path": {"type": "string"}}, description="Erases a note.")

Serve = Callable[..., Service]


def bundle(*tools: Mapping[str, Any], **more: str | bytes) -> Files:
    """A bundle that lets the coder call all tools of the server `notes` but `erase`."""
    return {"policies/a.cedar": POLICIES, "tools/notes.json": manifest(*(tools or (READ, ERASE))), **more}


def intercepting(files: Files, name: str, content: bytes, phase: str, tools: str = "notes/*") -> Files:
    """The bundle with an interceptor that may transform."""
    binding = modules.binding(name, phases=(phase,), may_transform=True, tools=[tools])
    return {
        **files,
        "bundle.toml": binding,
        f"interceptors/{name}.wasm": content,
    }


def with_arguments(files: Files, **arguments: Any) -> Files:
    """The bundle with an interceptor that gives every call these arguments."""
    answer = modules.transform(arguments=arguments)
    return intercepting(files, "rewrite", modules.answering(request=answer), "request")


def with_result(files: Files, result: Any) -> Files:
    """The bundle with an interceptor that puts this in place of every result."""
    answer = modules.transform(result=result)
    return intercepting(files, "replace", modules.answering(None, response=answer), "response")


def with_redaction(files: Files) -> Files:
    """The bundle with the interceptor that takes secrets out of results."""
    return intercepting(files, "redact", REDACT.read_bytes(), "response")


def with_denied_results(files: Files) -> Files:
    """The bundle with an interceptor that lets no result pass."""
    answer = modules.deny("this result stays here")
    return intercepting(files, "withhold", modules.answering(None, response=answer), "response")


@pytest.fixture(scope="session")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled modules, kept from test to test."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
def serve(_compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts services of these files, and stops them after the test."""
    with ExitStack() as stack:

        def start(files: Files | None = None, **sections: Mapping[str, Any]) -> Service:
            directory = tmp_path_factory.mktemp("service")
            settings: dict[str, Mapping[str, Any]] = {"interceptors": {"cache_dir": str(_compiled)}, **sections}
            return stack.enter_context(serving(directory, files or bundle(), **settings))

        yield start


@pytest.fixture
def connect(serve: Serve) -> Iterator[Callable[..., Client]]:
    """Starts a service of these files, and gives a client of it."""
    with ExitStack() as stack:
        yield lambda files=None, **sections: stack.enter_context(Client(serve(files, **sections).address))


@pytest.fixture
def nowhere() -> Iterator[Client]:
    """A client of a service that is not there."""
    with Client("unix:/nonexistent/pdp.sock") as client:
        yield client


def listed(text: str) -> dict[str, Any]:
    """The tools of a manifest by name."""
    return {entry["name"]: entry for entry in json.loads(text)["tools"]}
