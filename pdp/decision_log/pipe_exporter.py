"""Records to a stream that somebody reads: standard output, a FIFO."""

from __future__ import annotations

import fcntl
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from pdp.decision_log.backlog import Batch
from pdp.decision_log.exporting import ExportError

#: What a pipe that is ready takes without waiting (`PIPE_BUF`).
_ATOMIC_BYTES = 4_096
#: How long a reader may take before the stream counts as failing. The thread has other work too.
_PATIENCE_SECONDS = 0.5
_TURN_SECONDS = 0.002


class PipeExporter:
    """Writes to a stream, opened when it is first needed. Lines of processes that have `turns` in common stay whole.

    A batch that was taken in part is continued where it stopped. A stream cannot be asked what it has, so a process
    that is killed between writing a batch and noting it leaves the batch to be written again by the next one.
    """

    def __init__(self, open_stream: Callable[[], int], turns: Path) -> None:
        """`open_stream` gives a descriptor, which is this object's from then on, or raises OSError."""
        self._open_stream = open_stream
        self._descriptor = -1
        self._turns = os.open(turns, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._poll = select.poll()
        self._begun: tuple[str, int] = ("", 0)
        self._rest = memoryview(b"")

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        if not self._rest or self._begun != (batch.writer, batch.first_seq):
            self._begun = (batch.writer, batch.first_seq)
            self._rest = memoryview(batch.data)
        if self._descriptor < 0:
            self._descriptor = self._open_stream()
            self._poll.register(self._descriptor, select.POLLOUT)
        # A turn ends with a batch, which ends with a line.
        self._take_turn()
        while self._rest:
            if not self._poll.poll(_PATIENCE_SECONDS * 1000):
                raise ExportError("nobody reads it")
            written = os.write(self._descriptor, self._rest[:_ATOMIC_BYTES])
            self._rest = self._rest[written:]
        fcntl.flock(self._turns, fcntl.LOCK_UN)

    def _take_turn(self) -> None:
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(self._turns, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise ExportError("another process writes to it") from None
                time.sleep(_TURN_SECONDS)
            else:
                return

    def sync(self) -> None:
        """Nothing to be done: it is with whoever reads."""

    def close(self) -> None:
        """As in `Exporter`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        os.close(self._turns)
