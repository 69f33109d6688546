"""Spools, with a medium that does what a test says."""

from __future__ import annotations

import errno
import re
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pdp.decision_log.backlog import Batch
from pdp.decision_log.chain import Link, beginning, follows, stated
from pdp.decision_log.draining import Checkpoints
from pdp.decision_log.sinks import LogUnavailableError, Remaining
from pdp.decision_log.spool import WhenFull
from pdp.decision_log.spool_sink import SpoolSink

MIB = 1 << 20
TIME = "2026-01-02T03:04:05.000000Z"


class Medium:
    """A medium that can be dead, or slow: it takes one batch for each permit."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.error: OSError | None = None
        self.gate: threading.Semaphore | None = None
        self.attempts = 0

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        self.attempts += 1
        if self.error is not None:
            raise self.error
        if self.gate is not None and not self.gate.acquire(timeout=0.05):
            raise OSError(errno.EAGAIN, "slow")
        self.lines += batch.lines

    def sync(self) -> None:
        """As in `Exporter`."""

    def close(self) -> None:
        """As in `Exporter`."""

    @property
    def records(self) -> list[bytes]:
        """The lines of decisions."""
        return [line for line in self.lines if line.startswith(b'{"kind":"authorize"')]


class World:
    """A spool directory, a medium, and sinks over them."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "spool"
        self.medium = Medium()
        self.problems: list[str] = []
        self._open: list[SpoolSink] = []

    def sink(self, when_full: WhenFull = "deny", limit: int = MIB) -> SpoolSink:
        """A sink that is closed at the end of the test."""
        checkpoints = Checkpoints(3_600, Ed25519PrivateKey.generate())
        sink = SpoolSink(self.root, limit, when_full, lambda slot: self.medium, checkpoints, self.problems.append)
        self._open.append(sink)
        return sink

    def close(self) -> None:
        """Close every sink."""
        while self._open:
            self._open.pop().close()

    def whole_chain(self) -> list[Link]:
        """The chain of what was delivered, which must be whole."""
        heads: dict[str, Link] = {}
        for line in self.medium.lines:
            link = stated(line)
            assert link is not None
            assert follows(heads.get(link.writer, beginning(link.writer)), line)
            heads[link.writer] = link
        return list(heads.values())

    @property
    def segments(self) -> list[Path]:
        """The files of the spool."""
        return sorted(self.root.rglob("*.segment"))


def record(number: int, filler: int = 1_000) -> str:
    """A decision's line."""
    return f'{{"kind":"authorize","time":"{TIME}","n":{number},"filler":"{"x" * filler}"}}'


def numbers(lines: list[bytes]) -> list[int]:
    """Which records these are."""
    return [int(match[1]) for line in lines if (match := re.search(rb'"n":(\d+),', line))]


def fill(sink: SpoolSink, filler: int = 1_000, remaining: Remaining | None = None) -> int:
    """Write until it takes no more; how many it took."""
    for number in range(1_000_000):
        try:
            sink.write(record(number, filler), remaining)
        except LogUnavailableError:
            return number
    raise AssertionError("it is never full")


def dead() -> OSError:
    """Why a medium takes nothing."""
    return OSError(errno.EIO, "Input/output error")
