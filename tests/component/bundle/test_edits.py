"""Changing a bundle's interceptors where it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pdp.bundle.archive import open_source
from pdp.bundle.edits import Edits, apply, put_interceptor, remove_interceptor
from pdp.bundle.source import Source, SourceLimits
from pdp.bundle.writing import ArchiveWriter, BundleWriteError, DirectoryWriter
from pdp.errors import BundleError
from tests.bundles import Files, memory_source, write_bundle

MODULE = b"any bytes"
DIGEST = hashlib.sha256(MODULE).hexdigest()
PATH = f"interceptors/guard-{DIGEST[:12]}.wasm"
BINDING: dict[str, Any] = {"name": "guard", "phases": ["request"], "tools": ["*/*"], "config": {"a": [1, {"b": "x"}]}}

AUTHORS = """# The author's.
name = "mine"   # ours

[[interceptor]]   # the first
name = "first"
module = "interceptors/first.wasm"
phases = ["request"]

  [interceptor.config]
  keep = 1_000  # as it is

[context]
a = "Long"
"""


def read(root: Path) -> Source:
    """The bundle as it lies there."""
    return open_source(root, SourceLimits()).read()


def test_what_the_author_wrote_stays() -> None:
    """A new binding leaves every line of the author's as it was, and a removal gives the very text back."""
    source = memory_source({"bundle.toml": AUTHORS})
    after = apply(source, put_interceptor(source, BINDING, MODULE))
    text = after["bundle.toml"].decode()
    assert set(AUTHORS.splitlines()) <= set(text.splitlines())
    assert after[PATH] == MODULE
    removed = remove_interceptor(memory_source(after), "guard")
    assert removed is not None
    assert removed[PATH] is None
    assert apply(memory_source(after), removed) == {"bundle.toml": AUTHORS.encode()}


def test_a_bundle_without_a_manifest_gets_one() -> None:
    """The first binding of a bundle makes its `bundle.toml`; what is written is what was asked for, pinned."""
    source = memory_source({"policies/a.cedar": ""})
    written = put_interceptor(source, BINDING, MODULE)["bundle.toml"]
    assert written is not None
    assert f'sha256 = "{DIGEST}"' in written.decode()
    assert 'origin = "pushed"' in written.decode()


def test_a_replaced_module_goes_unless_it_is_used() -> None:
    """A pushed module that nothing names any more is removed; one that another binding uses stays."""
    source = memory_source({"bundle.toml": ""})
    first = memory_source(apply(source, put_interceptor(source, BINDING, MODULE)))
    assert put_interceptor(first, BINDING, b"other").get(PATH, b"") is None
    shared = memory_source(apply(first, {"bundle.toml": first.files["bundle.toml"].content + _other_binding()}))
    assert PATH not in put_interceptor(shared, BINDING, b"other")
    assert PATH not in (remove_interceptor(shared, "guard") or {})


def _other_binding() -> bytes:
    return f'[[interceptor]]\nname = "other"\nmodule = "{PATH}"\nphases = ["request"]\n'.encode()


def test_nobody_is_not_removed() -> None:
    """There is nothing to do for a name without a binding."""
    assert remove_interceptor(memory_source({"bundle.toml": AUTHORS}), "guard") is None


@pytest.mark.parametrize(
    "manifest", ["interceptor = 1", 'interceptor = [{name = "a"}]', "[interceptor]\na = 1", "nonsense", b"\xff"]
)
def test_a_manifest_that_cannot_be_edited_is_told(manifest: str | bytes) -> None:
    """A `bundle.toml` whose bindings are no tables of their own, or that is no TOML, is left alone."""
    with pytest.raises(BundleError, match="cannot be edited"):
        put_interceptor(memory_source({"bundle.toml": manifest}), BINDING, MODULE)


def _written(root: Path, files: Files) -> tuple[Source, Edits]:
    source = read(write_bundle(root, files))
    return source, put_interceptor(source, BINDING, MODULE)


def test_edits_are_written(tmp_path: Path) -> None:
    """What is on disk afterwards is what was to be, with the mode that the file had."""
    source, edits = _written(tmp_path, {"bundle.toml": AUTHORS})
    (tmp_path / "bundle.toml").chmod(0o640)
    DirectoryWriter(tmp_path).write(source, edits)
    assert {path: file.content for path, file in read(tmp_path).files.items()} == apply(source, edits)
    assert (tmp_path / "bundle.toml").stat().st_mode & 0o777 == 0o640
    assert not list(tmp_path.glob("**/.unfinished-*"))


def test_a_manifest_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """An edit that was made for another text is refused, and the text stays."""
    source, edits = _written(tmp_path, {"bundle.toml": AUTHORS})
    (tmp_path / "bundle.toml").write_text("name = 'another'")
    with pytest.raises(BundleWriteError, match="was changed meanwhile"):
        DirectoryWriter(tmp_path).write(source, edits)
    assert (tmp_path / "bundle.toml").read_text() == "name = 'another'"


def test_a_place_that_takes_no_file_is_told(tmp_path: Path) -> None:
    """Where nothing can be written, the error says so, for a directory and for an archive."""
    source, edits = _written(tmp_path / "bundle", {"bundle.toml": AUTHORS})
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleWriteError, match="cannot be written: not a directory"):
        DirectoryWriter(tmp_path / "file").write(source, edits)
    with pytest.raises(BundleWriteError, match="cannot be written: not a directory"):
        ArchiveWriter(tmp_path / "file/bundle.tar.gz").write(source, edits)


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    """A link to a bundle's file or archive is somebody else's to change."""
    source, edits = _written(tmp_path / "bundle", {"bundle.toml": AUTHORS})
    (tmp_path / "bundle/bundle.toml").rename(tmp_path / "elsewhere")
    (tmp_path / "bundle/bundle.toml").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "bundle.tar.gz").symlink_to(tmp_path / "elsewhere")
    for writer in (DirectoryWriter(tmp_path / "bundle"), ArchiveWriter(tmp_path / "bundle.tar.gz")):
        with pytest.raises(BundleWriteError, match="is a link"):
            writer.write(source, edits)
    assert (tmp_path / "elsewhere").read_text() == AUTHORS
