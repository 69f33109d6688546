"""Compiled code kept on disk, so that a restart does not compile again.

wasmtime takes compiled code at its word, so it must be this installation's own: every file begins with a MAC over its
name and content, under a key that lies beside the files. It finds what a disk or a stray hand changed, and code that
was copied from elsewhere; whoever can read the key is this user, and needs no forgery. Code of a file that fails is
compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Protocol

from pdp.private_directory import UntrustedDirectoryError, prepare

_KEY_NAME = "key"
_KEY_BYTES = 32
_MAC_BYTES = 32
_SUFFIX = ".cwasm"
#: Compiled code of the largest module is a few times its size.
_MAX_BYTES = 512 * 1024 * 1024
_MAX_FILES = 256


class ArtifactStore(Protocol):
    """Keeps compiled code by name; forgetting it is never an error."""

    def get(self, name: str) -> bytes | None:
        """The code kept under this name, if it is whole."""

    def put(self, name: str, code: bytes) -> None:
        """Keep code."""


class NoArtifacts:
    """Keeps nothing."""

    def get(self, name: str) -> bytes | None:
        """Nothing."""
        return None

    def put(self, name: str, code: bytes) -> None:
        """Nothing."""


class ArtifactDirectory:
    """Keeps compiled code in a directory of its own. Several processes may use it at once.

    A directory that cannot be used keeps nothing: it costs time, and nothing else.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, name: str) -> bytes | None:
        """The code kept under this name, if it is what was kept."""
        try:
            key = self._key()
            content = _read_own(self._directory / (name + _SUFFIX), _MAX_BYTES)
        except (OSError, UntrustedDirectoryError):
            return None
        mac, code = content[:_MAC_BYTES], content[_MAC_BYTES:]
        return code if hmac.compare_digest(mac, _mac(key, name, code)) else None

    def put(self, name: str, code: bytes) -> None:
        """Keep code; where there is no room or no right to, do without."""
        with contextlib.suppress(OSError, UntrustedDirectoryError):
            mac = _mac(self._key(), name, code)
            _write_whole(self._directory / (name + _SUFFIX), mac + code)
            self._remove_oldest()

    def _key(self) -> bytes:
        prepare(self._directory)
        path = self._directory / _KEY_NAME
        # A key that others could read is as good as none, and so is one that is not a file of this user's.
        with contextlib.suppress(OSError):
            key = _read_own(path, _KEY_BYTES)
            if len(key) == _KEY_BYTES:
                return key
        # Two processes may do this at once; the one that comes second overwrites, and the other's files fail and go.
        key = secrets.token_bytes(_KEY_BYTES)
        _write_whole(path, key)
        return key

    def _remove_oldest(self) -> None:
        files = sorted(self._directory.glob(f"*{_SUFFIX}"), key=lambda path: path.lstat().st_mtime_ns)
        for path in files[:-_MAX_FILES]:
            path.unlink(missing_ok=True)


def _mac(key: bytes, name: str, code: bytes) -> bytes:
    return hmac.digest(key, name.encode() + b"\0" + code, hashlib.sha256)


def _read_own(path: Path, limit: int) -> bytes:
    """What a file of this user holds. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
        if not own or status.st_size > limit:
            raise OSError("not a file that this program wrote")
        return file.read(limit)


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then move it there, so that its name never stands for half of it."""
    handle, temporary = tempfile.mkstemp(prefix=".unfinished-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
