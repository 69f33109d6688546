"""Writes edits into a bundle where it lies, so that a reader sees it as it was or as it is to be.

In a directory new files come first, then `bundle.toml` takes the place of the old one in one step, then files that
nothing names any more go. An archive is written anew and takes the place of the old one in one step.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from pdp.bundle.archive import ArchiveReader, BundleReader, write_archive
from pdp.bundle.edits import Edits, apply
from pdp.bundle.manifest import PATH as MANIFEST
from pdp.bundle.source import Source, make_source, source_file
from pdp.errors import FailedPreconditionError
from pdp.private_directory import sync


class BundleWriteError(FailedPreconditionError):
    """The bundle could not be changed; it is as it was, but for files that nothing names."""


class BundleWriter(Protocol):
    """Changes one bundle."""

    def write(self, source: Source, edits: Edits) -> None:
        """Make the edits, which were made for `source`. Raises BundleWriteError."""


def open_writer(path: Path, reader: BundleReader) -> BundleWriter:
    """The writer for what `reader` reads at `path`."""
    return ArchiveWriter(path) if isinstance(reader, ArchiveReader) else DirectoryWriter(path)


class DirectoryWriter:
    """Changes a bundle that is a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, source: Source, edits: Edits) -> None:
        """Make the edits; `bundle.toml` last of what is written, and only if it is still that of `source`."""
        try:
            for path, content in edits.items():
                if content is not None and path != MANIFEST:
                    self._write(path, content)
            manifest = edits.get(MANIFEST)
            if manifest is not None:
                self._require_unchanged(source)
                self._write(MANIFEST, manifest)
            for path, content in edits.items():
                if content is None:
                    # Left over, it would only be a file that nothing names.
                    with contextlib.suppress(OSError):
                        (self._root / path).unlink()
        except OSError as error:
            raise BundleWriteError(f"the bundle cannot be written: {_cause(error)}") from error

    def _require_unchanged(self, source: Source) -> None:
        path = self._root / MANIFEST
        known = source.files.get(MANIFEST)
        if path.is_symlink():
            # Such as a mounted ConfigMap: what it leads to is somebody else's to change.
            raise BundleWriteError(f"`{MANIFEST}` is a link, so this bundle is changed where it comes from")
        found = path.read_bytes() if path.exists() else None
        if found != (known.content if known else None):
            raise BundleWriteError(f"`{MANIFEST}` was changed meanwhile; try again")

    def _write(self, path: str, content: bytes) -> None:
        target = self._root / path
        target.parent.mkdir(exist_ok=True)
        with _replacing(target) as file:
            file.write(content)


class ArchiveWriter:
    """Changes a bundle that is an archive."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, source: Source, edits: Edits) -> None:
        """Write the whole archive anew."""
        files = [source_file(path, content) for path, content in apply(source, edits).items()]
        try:
            if self._path.is_symlink():
                raise BundleWriteError("the bundle is a link, so it is changed where it comes from")
            with _replacing(self._path) as file:
                write_archive(make_source(source.origin, files, ()), file)
        except OSError as error:
            raise BundleWriteError(f"the bundle cannot be written: {_cause(error)}") from error


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `target`, with its mode, when all of it is on the disk."""
    handle, name = tempfile.mkstemp(prefix=".unfinished-", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), _mode_for(target))
            os.fsync(file.fileno())
        temporary.replace(target)
        sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _mode_for(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o644


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
