"""Files that hold a secret: nobody else may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pdp.errors import ConfigError


def others_can_read(status: os.stat_result) -> bool:
    """Whether others than this user can read or change a file.

    Somebody else's file may be readable for its group: an orchestrator hands over secrets as root's, and the group is
    how they can be read at all.
    """
    return bool(stat.S_IMODE(status.st_mode) & (0o077 if status.st_uid == os.geteuid() else 0o037))


def read_secret(path: Path, most_bytes: int) -> bytes:
    """What is in the file, up to so much. Raises OSError, or ConfigError where others can read it."""
    with path.open("rb") as file:
        require_secret(path, os.fstat(file.fileno()))
        return file.read(most_bytes)


def require_secret(path: Path, status: os.stat_result) -> None:
    """Raise ConfigError where others can read the file."""
    if others_can_read(status):
        raise ConfigError([f"`{path}` holds a secret that others can read; `chmod 600` it, or make a new one"])
