"""One file of the spool: its room is reserved when it is made, and lines get into it by being copied into memory.

What is in the mapping is in the kernel: it outlives the process however that ends, without a system call for each line.
The rest of the file is zeros, and no line holds a zero byte, so the text ends where they begin.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from pdp.decision_log.chain import Link, stated

SUFFIX = ".segment"
#: A segment's first line says where the chain stood when it was begun.
_HEADER = '{{"kind":"segment","writer":"{0}","seq":{1},"hash":"{2}"}}\n'
_HEADER_LINE = re.compile(rb'\{"kind":"segment","writer":"[0-9a-f]{32}","seq":[0-9]{1,19},"hash":"[0-9a-f]{64}"\}\n')
_MAX_HEADER_BYTES = 256
_MANY_PAGES = 16 * 1024
#: `MADV_POPULATE_WRITE`, of Linux 5.14 and later.
_POPULATE_WRITE = 23


class Line(NamedTuple):
    """A line that was read back: what it says of its place, and its bytes with the line end."""

    link: Link
    data: bytes


class Contents(NamedTuple):
    """A segment as a dead process left it: its header, its whole lines, and how much else.

    `torn_bytes` are at its end, where the process was killed; `damaged_bytes` are elsewhere. `used` is the size without
    the zeros.
    """

    header: Link | None
    lines: list[Line]
    torn_bytes: int
    damaged_bytes: int
    used: int


class Segment:
    """A file of `size` bytes that is being written. Raises OSError where there is no room for it."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        try:
            _reserve(self._descriptor, size)
            self._memory = mmap.mmap(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise
        #: Where the records begin, and where they end.
        self.begin = self.used = 0
        self._synced = self._populated = 0

    def start(self, head: Link) -> None:
        """Begin it with where the chain stands."""
        self.append(_HEADER.format(head.writer, head.seq, head.hash.hex()).encode())
        self.begin = self.used

    def move(self, path: Path) -> None:
        """Give it another name, which nothing has yet. Raises OSError."""
        self.path = self.path.rename(path)

    def append(self, data: bytes) -> bool:
        """Copy lines into it, if they fit."""
        end = self.used + len(data)
        if end > self.size:
            return False
        if len(data) < _MANY_PAGES or not self._written(data):
            self._memory[self.used : end] = data
        self.used = end
        return True

    def _written(self, data: bytes) -> bool:
        """Whether the system copied it: for many pages at once that costs less than a fault for each."""
        try:
            return os.pwrite(self._descriptor, data, self.used) == len(data)
        except OSError:
            return False

    def populate(self, count: int) -> None:
        """Map the memory for the next `count` bytes, as far as the system can, so that no call has to wait for that."""
        begin = max(self.used, self._populated) // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(self.used + count, self.size)
        if begin < end:
            self._populated = end
            with contextlib.suppress(OSError):
                self._memory.madvise(_POPULATE_WRITE, begin, end - begin)

    def fits(self, count: int) -> bool:
        """Whether so many more bytes fit."""
        return self.used + count <= self.size

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes of what has been written, from `offset` on."""
        return os.pread(self._descriptor, min(count, self.used - offset), offset)

    def sync(self) -> None:
        """Make what has been written survive a loss of power."""
        used = self.used
        if used != self._synced:
            # Unlike `msync`, this lets other threads run meanwhile, and on Linux it writes the mapping's pages too.
            os.fdatasync(self._descriptor)
            self._synced = used
            # What is on disk is mapped for reading again.
            self._populated = 0

    def close(self, *, keep: bool) -> None:
        """Let go of the file. One that is kept shrinks to what is in it, any other is removed."""
        self._memory.close()
        try:
            if keep:
                os.ftruncate(self._descriptor, self.used)
            else:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)


def room_for(line_bytes: int) -> int:
    """The size of a segment that holds one line of so many bytes."""
    return line_bytes + _MAX_HEADER_BYTES


def segment_path(directory: Path, number: int) -> Path:
    """Where the segment of this number is."""
    return directory / f"{number:020d}{SUFFIX}"


def segments_in(directory: Path) -> list[tuple[int, Path]]:
    """The segments there, oldest first, with their numbers."""
    paths = [path for path in directory.iterdir() if path.name.endswith(SUFFIX)]
    names = [(path.name.removesuffix(SUFFIX), path) for path in paths]
    return sorted((int(name), path) for name, path in names if name.isascii() and name.isdigit())


def read_segment(path: Path) -> Contents:
    """What is in a segment that nobody writes. Raises OSError.

    A process that is killed while it copies leaves a line with zeros in it or without an end; so does a page that a
    loss of power took. Such lines, and any that do not say their place, are only counted. Whether a line is what was
    written is not asked here: that is for whoever verifies the log.
    """
    with os.fdopen(_opened(path), "rb") as file:
        text = file.read().rstrip(b"\0")
    found: list[Line] = []
    *whole, last = text.split(b"\n")
    torn, damaged = len(last), 0
    for number, line in enumerate(whole, start=1):
        link = stated(line) if b"\0" not in line else None
        if link is not None:
            found.append(Line(link, line + b"\n"))
        elif number == len(whole) and not last:
            torn = len(line) + 1
        else:
            damaged += len(line) + 1
    header = found.pop(0).link if found and _HEADER_LINE.fullmatch(found[0].data) else None
    return Contents(header, found, torn, damaged, len(text))


def _opened(path: Path) -> int:
    """A descriptor of a file to read: whatever else has its name is not waited for, nor followed. Raises OSError."""
    no_file = OSError(errno.EINVAL, f"`{path.name}` is no regular file")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        # A symbolic link; a socket, or a device without a driver.
        raise no_file if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV) else error from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise no_file
    return descriptor


def _reserve(descriptor: int, size: int) -> None:
    """Take the room now, so that a full disk is an error here and not a signal while a line is copied."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    rest = size
    while rest:
        written = os.pwrite(descriptor, bytes(min(rest, 1 << 20)), size - rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest -= written
