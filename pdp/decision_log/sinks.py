"""Where decision lines go. Calls hand lines over without waiting; one thread writes them out in batches."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import deque
from collections.abc import Callable
from io import RawIOBase
from typing import Protocol

#: Lines of several calls are written together; a line waits at most this long.
_FLUSH_SECONDS = 0.02
_RETRY_SECONDS = 0.5
#: How long a stream that takes nothing (a pipe that nobody reads) can hold up the end of the service.
_CLOSE_SECONDS = 5.0


#: A line without its end, or what makes it: putting a line together can wait for the writing thread.
Line = str | Callable[[], str]


class DecisionSink(Protocol):
    """Takes lines, without their line ends."""

    def write(self, line: Line) -> None:
        """Take one line; does not wait for the medium."""

    def close(self) -> None:
        """Write out what is held and take no more."""


class NullSink:
    """Keeps nothing: the operator asked for no decision log."""

    def write(self, line: Line) -> None:
        """Forget the line."""

    def close(self) -> None:
        """Nothing is held."""


class StreamSink:
    """Writes lines to an unbuffered binary stream from a thread of its own.

    While the stream fails (a full disk, say) lines are held and tried again, up to `capacity`; beyond it new lines
    are dropped and counted in `dropped`. `on_error` hears of each failure, and may itself fail: it often writes to
    the same disk. `close` tries once more, closes the stream and returns.
    """

    def __init__(self, stream: RawIOBase, capacity: int, on_error: Callable[[Exception], None]) -> None:
        self._stream = stream
        self._capacity = capacity
        self._on_error = on_error
        self._held: deque[Line] = deque()
        #: Text on its way: what a failed write left over goes first, so no line is torn or written twice.
        self._pending = memoryview(b"")
        self._pending_lines = 0
        self._closing = threading.Event()
        self.dropped = 0
        self.failing = False
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def write(self, line: Line) -> None:
        """Hold the line for the writing thread."""
        if len(self._held) + self._pending_lines >= self._capacity:
            self.dropped += 1
            return
        self._held.append(line)

    def close(self) -> None:
        """Write out what is held and stop the thread. Call it when no more calls are served."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)
        if lost := len(self._held) + self._pending_lines:
            self._tell(OSError(f"{lost} lines are lost"))
        if not self._thread.is_alive():
            with contextlib.suppress(OSError):
                self._stream.close()

    def _run(self) -> None:
        while not self._closing.wait(_RETRY_SECONDS if self.failing else _FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            self._write_pending()
            count = len(self._held)
            if count:
                lines = [self._held.popleft() for _ in range(count)]
                self._pending_lines = count
                self._pending = memoryview("".join(f"{_text(line)}\n" for line in lines).encode())
                self._write_pending()
            self.failing = False
        except Exception as error:  # noqa: BLE001 - the log writer: whatever happens, its thread goes on
            self.failing = True
            self._tell(error)

    def _write_pending(self) -> None:
        while self._pending:
            written = self._stream.write(self._pending)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, "the stream takes nothing at the moment")
            self._pending = self._pending[written:]
        self._pending_lines = 0

    def _tell(self, error: Exception) -> None:
        with contextlib.suppress(Exception):
            self._on_error(error)


def _text(line: Line) -> str:
    return line if isinstance(line, str) else line()
