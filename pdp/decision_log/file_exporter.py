"""Records into a file that is rotated by size."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from pdp.decision_log.backlog import Batch
from pdp.private_directory import sync

#: The last line of a file is looked for in as much of its end, and in all of it if need be.
_TAIL_BYTES = 64 * 1024
#: What was written and not noted is at most one batch; after a loss of power it can be all of a segment.
_REPEATED_BYTES = 16 * 1024 * 1024
_RECORD_BEGIN = b'{"kind":"'


class FileExporter:
    """Appends to `path`, and begins it anew before it would hold more than `max_bytes`.

    The file before is called `path` with a dot and a number of ten digits then, the next one; of these the newest
    `keep_files` are kept, or all if it is 0. What is no regular file is appended to and nothing else. A file that
    somebody else renamed is left to them. Raises OSError where it cannot be opened, or another process writes to it.
    """

    def __init__(self, path: Path, max_bytes: int, keep_files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep_files = keep_files
        self._descriptor = -1
        #: The end of the last whole batch, where one was written in part and the rest could not be taken back.
        self._torn_at: int | None = None
        #: Whether the end of the file may hold what comes: it was just opened.
        self._may_repeat = True
        self._regular = False
        self._open()

    def export(self, batch: Batch) -> None:
        """As in `Exporter`: what the end of the file has already is not written again."""
        self._reopen_if_gone()
        data = self._new_part(batch.data) if self._regular and self._may_repeat else batch.data
        if not data:
            return
        self._may_repeat = False
        size = os.fstat(self._descriptor).st_size
        if self._regular and size and size + len(data) > self._max_bytes:
            self._rotate()
        self._write(data)

    def _new_part(self, data: bytes) -> bytes:
        """What the end of the file does not have yet: a process was killed after it wrote and before it noted that."""
        path = self._path
        if not path.stat().st_size and (earlier := rotated(path)):
            path = earlier[-1]
        try:
            end = _end_of_file(path, _REPEATED_BYTES)
        except PermissionError:  # a file that may be written and not read
            return data
        begin = end.rfind(data[: data.index(b"\n") + 1])
        if begin < 0:
            return data
        there = end[begin:]
        return data[len(there) :] if data.startswith(there) else b"" if there.startswith(data) else data

    def sync(self) -> None:
        """As in `Exporter`."""
        if self._regular and self._descriptor >= 0:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """As in `Exporter`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except PermissionError:
            descriptor = os.open(self._path, flags & ~os.O_RDWR | os.O_WRONLY, 0o600)
        try:
            self._regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if self._regular:
                _lock(descriptor)
                end_last_line(self._path, descriptor, cut=True)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._may_repeat = True

    def _reopen_if_gone(self) -> None:
        if self._descriptor >= 0:
            mine = os.fstat(self._descriptor)
            with contextlib.suppress(FileNotFoundError):
                named = self._path.stat()
                if (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
                    return
            self.close()
        self._open()

    def _rotate(self) -> None:
        os.fdatasync(self._descriptor)
        earlier = rotated(self._path)
        number = int(earlier[-1].suffix[1:]) + 1 if earlier else 1
        self._path.rename(self._path.with_name(f"{self._path.name}.{number:010d}"))
        self.close()
        self._open()
        self._may_repeat = False
        sync(self._path.absolute().parent)
        if self._keep_files:
            for path in rotated(self._path)[: -self._keep_files]:
                path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        if self._torn_at is not None:
            # Never longer: others may have emptied it meanwhile (`copytruncate`).
            os.ftruncate(self._descriptor, min(self._torn_at, os.fstat(self._descriptor).st_size))
            self._torn_at = None
        end = os.fstat(self._descriptor).st_size
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._descriptor, rest)
                rest = rest[written:]
        except OSError:
            if self._regular and len(rest) < len(data):
                self._torn_at = end
                os.ftruncate(self._descriptor, end)
                self._torn_at = None
            raise


def path_of_writer(path: Path, slot: int) -> Path:
    """The file of a slot: `path` itself for the first, and for the others with their number before the suffix."""
    return path.with_name(f"{path.stem}.{slot}{path.suffix}") if slot else path


def rotated(path: Path) -> list[Path]:
    """The files that `path` was before, oldest first."""
    found = path.absolute().parent.glob(f"{_literal(path.name)}.{'[0-9]' * 10}")
    return sorted(found, key=lambda each: each.name)


def _literal(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(errno.EBUSY, "another process writes to it") from error


def end_last_line(path: Path, descriptor: int, *, cut: bool = False) -> None:
    """End what a process that was killed left unfinished, so that no line is joined to it.

    With `cut` a record that was written in part is cut off: all of it is still in the spool.
    """
    status = os.fstat(descriptor)
    # A file that may be written and not read is left as it is.
    with contextlib.suppress(PermissionError):
        torn = _torn(path) if stat.S_ISREG(status.st_mode) else b""
        if cut and torn and (torn.startswith(_RECORD_BEGIN) or _RECORD_BEGIN.startswith(torn)):
            os.ftruncate(descriptor, status.st_size - len(torn))
        elif torn:
            os.write(descriptor, b"\n")


def _torn(path: Path) -> bytes:
    """What follows a file's last line end."""
    count = _TAIL_BYTES
    end = _end_of_file(path, count)
    while b"\n" not in end and len(end) == count:
        count *= 4
        end = _end_of_file(path, count)
    return end[end.rfind(b"\n") + 1 :]


def _end_of_file(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - count))
        return file.read()
