"""Which tools are no longer the pinned ones, told to all workers as soon as one of them hears of it.

An agent's next call may be answered by another worker than the list that showed the change, so this must not wait for a
message to arrive: what is known stands in a file, and a number that all processes have mapped says which version of it.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pdp.errors import UnavailableError

_NUMBER_BYTES = 8


class SharedTools:
    """The digests of changed tools, by server and name, in a file beside a number that grows with each change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor = os.open(path.with_suffix(".version"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._descriptor, _NUMBER_BYTES)
        self._number = mmap.mmap(self._descriptor, _NUMBER_BYTES)
        with self._alone():
            if not self.version() and not path.exists():
                self._replace({})
            # A process that was killed may have written a change and not told it.
            self._tell()

    def version(self) -> int:
        """The number; another one than before means that there is something to read."""
        return int.from_bytes(self._number[:_NUMBER_BYTES], "little")

    def read(self) -> dict[tuple[str, str], str]:
        """What is known. Raises UnavailableError: without it nobody knows which tools must not be called."""
        try:
            listed = json.loads(self._path.read_bytes())
            return {(server, name): digest for server, name, digest in listed}
        except (OSError, ValueError, TypeError) as error:
            raise UnavailableError("which tools have changed cannot be read") from error

    def change(self, found: Mapping[tuple[str, str], str | None]) -> dict[tuple[str, str], str]:
        """Note digests, None for what is as pinned again; gives what is known then. Raises UnavailableError."""
        with self._alone():
            known = self.read()
            for key, digest in found.items():
                if digest is None:
                    known.pop(key, None)
                else:
                    known[key] = digest
            try:
                self._replace(known)
            except OSError as error:
                raise UnavailableError("which tools have changed cannot be written") from error
            self._tell()
        return known

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # The file's lock is between processes; all threads of this one hold it together.
        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _replace(self, known: Mapping[tuple[str, str], str]) -> None:
        new = self._path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps([[*key, digest] for key, digest in known.items()]))
        new.replace(self._path)

    def _tell(self) -> None:
        self._number[:_NUMBER_BYTES] = (self.version() + 1).to_bytes(_NUMBER_BYTES, "little")
