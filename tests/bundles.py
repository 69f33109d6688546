"""Bundles for tests: written to disk, or loaded from memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.source import Source, make_source, source_file
from pdp.cedar.options import AuthorizeOptions
from pdp.errors import BundleError

Files = Mapping[str, str | bytes]

PERMIT_ALL = "permit(principal, action, resource);"


def content(value: str | bytes) -> bytes:
    """A file's content as bytes."""
    return value if isinstance(value, bytes) else value.encode()


def write_bundle(root: Path, files: Files) -> Path:
    """Write the files below `root`, and give it back."""
    for path, value in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content(value))
    return root


def memory_source(files: Files, origin: str = "memory") -> Source:
    """The files as a source that was never on disk."""
    return make_source(origin, [source_file(path, content(value)) for path, value in files.items()], ())


def load(files: Files, options: AuthorizeOptions | None = None) -> Snapshot:
    """The snapshot of these files."""
    return Loader(options or AuthorizeOptions()).load(memory_source(files))


def problems_of(files: Files) -> list[str]:
    """Everything that is wrong with these files, one text each."""
    with pytest.raises(BundleError) as caught:
        load(files)
    return [str(problem) for problem in caught.value.problems]


def tool(name: str = "read", properties: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The definition of an MCP tool."""
    return {"name": name, "inputSchema": {"type": "object", "properties": properties or {}}, **more}


def manifest(*tools: Mapping[str, Any]) -> str:
    """A `tools/list` result."""
    return json.dumps({"tools": tools})


def entity(kind: str, name: str, *parents: tuple[str, str], **attributes: Any) -> dict[str, Any]:
    """An entity in Cedar's JSON form."""
    above = [{"type": parent[0], "id": parent[1]} for parent in parents]
    return {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": above}
