"""A mounted ConfigMap or Secret, and how the kubelet changes it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


class Mount:
    """A directory whose files are links through `..data` to a directory that is replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._generation = 0

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write the files to a new directory, and let `..data` be that one, in one step."""
        self._generation += 1
        content = self._directory / f"..2026_01_01_{self._generation}"
        content.mkdir()
        for name, text in files.items():
            (content / name).touch(0o600)
            (content / name).write_bytes(text)
        data, new = self._directory / "..data", self._directory / "..data_tmp"
        former = data.readlink() if data.is_symlink() else None
        new.symlink_to(content.name)
        new.replace(data)
        for name in files:
            link = self._directory / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        if former is not None:
            shutil.rmtree(self._directory / former)
