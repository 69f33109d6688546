"""Which part of a spool directory is whose: each process that writes has a slot of its own, and holds its lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pdp.private_directory import prepare

_SLOT = re.compile(r"writer-(0|[1-9][0-9]{0,3})")
_MAX_SLOTS = 1_000
#: What is delivered (the number of a record), what was lost since when (Unix time in ns), and their checksum.
_STATE = struct.Struct("<QQQ")
_CHECKSUM = struct.Struct("<I")
_STATE_BYTES = _STATE.size + _CHECKSUM.size
#: No slot counts lost records further than this.
MOST_LOST = 2**64 - 1


class State(NamedTuple):
    """What a slot remembers beside its segments."""

    delivered: int = 0
    lost: int = 0
    lost_since_ns: int = 0


class Slot:
    """A slot whose lock this process holds until `close`. Keeps its state in memory that outlives the process."""

    def __init__(self, directory: Path, number: int, lock: int) -> None:
        self.directory = directory
        self.number = number
        self._lock = lock
        self._descriptor = os.open(directory / "state", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        # Written through the file and not the mapping: its room is there before anything depends on it.
        os.pwrite(self._descriptor, os.pread(self._descriptor, _STATE_BYTES, 0).ljust(_STATE_BYTES, b"\0"), 0)
        self._memory = mmap.mmap(self._descriptor, _STATE_BYTES)

    def state(self) -> State:
        """What was kept; a state that makes no sense is an empty one."""
        data = self._memory[: _STATE.size]
        if _CHECKSUM.unpack(self._memory[_STATE.size :])[0] != zlib.crc32(data):
            return State()
        return State(*_STATE.unpack(data))

    def keep(self, state: State) -> None:
        """Remember this instead."""
        data = _STATE.pack(*state)
        self._memory[:] = data + _CHECKSUM.pack(zlib.crc32(data))

    def close(self) -> None:
        """Leave the slot to others."""
        self._memory.close()
        os.close(self._descriptor)
        os.close(self._lock)


def claim(spool: Path) -> Slot:
    """The first slot that nobody holds, made if need be. Raises OSError or UntrustedDirectoryError."""
    prepare(spool)
    for number in range(_MAX_SLOTS):
        slot = _held(spool, number)
        if slot is not None:
            return slot
    raise OSError(errno.EUSERS, f"{_MAX_SLOTS} processes write to it already")


def abandoned(spool: Path, own: int) -> Iterator[Slot]:
    """The slots there that nobody holds now, and that the receiver holds from here on."""
    numbers = sorted(int(match[1]) for path in spool.iterdir() if (match := _SLOT.fullmatch(path.name)))
    for number in numbers:
        slot = _held(spool, number) if number != own else None
        if slot is not None:
            yield slot


def _held(spool: Path, number: int) -> Slot | None:
    directory = spool / f"writer-{number}"
    prepare(directory)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Slot(directory, number, lock)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(lock)
        raise
