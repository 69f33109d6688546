"""Directories that only this user writes to: what they hold is taken for what this program wrote."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pdp.errors import PdpError

_SYSTEM_DIRECTORY = Path("/var/lib/pdp")


class UntrustedDirectoryError(PdpError):
    """Others may have written into a directory."""


def state_directory(environ: Mapping[str, str]) -> Path:
    """Where this program keeps what outlives it.

    That is `$PDP_STATE_DIR`, `$XDG_STATE_HOME/pdp`, `$HOME/.local/state/pdp`, the first that is set, or else
    `/var/lib/pdp`.
    """
    if state := environ.get("PDP_STATE_DIR"):
        return Path(state).absolute()
    if (xdg := environ.get("XDG_STATE_HOME", "")).startswith("/"):  # the standard ignores relative ones
        return Path(xdg, "pdp")
    if home := environ.get("HOME"):
        return Path(home, ".local", "state", "pdp")
    return _SYSTEM_DIRECTORY


def prepare(directory: Path) -> None:
    """Make the directory, or make sure that it is this user's alone.

    Raises OSError, or UntrustedDirectoryError with what is wrong, as the rest of a sentence that begins with its name.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise UntrustedDirectoryError(str(why_untrusted(status)))
    if status.st_mode & 0o077:
        directory.chmod(0o700)


def why_untrusted(status: os.stat_result) -> str | None:
    """Why others may have written into this directory, or None."""
    if not stat.S_ISDIR(status.st_mode):
        return "is not a directory"
    if status.st_uid != os.geteuid():
        return f"belongs to the user {status.st_uid} and not to {os.geteuid()}"
    if status.st_mode & 0o022:
        return "can be written by others"
    return None


def sync(directory: Path) -> None:
    """Make what happened to the names in a directory survive a loss of power."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
