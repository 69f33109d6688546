"""Where decision lines go. Calls hand lines over without waiting; one thread writes them out in batches."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import RawIOBase
from typing import Protocol

from pdp.errors import UnavailableError

#: Lines of several calls are written together; a line waits at most this long.
_FLUSH_SECONDS = 0.02
_RETRY_SECONDS = 0.5
#: How long a stream that takes nothing (a pipe that nobody reads) can hold up the end of the service.
_CLOSE_SECONDS = 5.0


#: A line without its end, or what makes it: putting a line together can wait for the writing thread.
Line = str | Callable[[], str]


#: Seconds that a caller still waits; None if it would wait for ever. A function, because it is seldom asked.
Remaining = Callable[[], float | None]


class LogUnavailableError(UnavailableError):
    """A record cannot be kept, and no decision is to go out without its record."""


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """How a sink is."""

    #: Why lines do not get to their medium at the moment; None if they do.
    failing: str | None = None
    #: What was taken and is not with the medium yet.
    lag_records: int = 0
    lag_bytes: int = 0
    #: Lines lost since the start.
    dropped: int = 0
    #: When the first line that is not with the medium yet was made, as Unix time; None if there is none.
    oldest_unix_ns: int | None = None
    #: Whether there is no room for further lines.
    full: bool = False


class DecisionSink(Protocol):
    """Takes lines, without their line ends."""

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """Take one line; does not wait for the medium.

        A sink of bounded room may wait for it for as long as `remaining` says, and raise LogUnavailableError.
        """

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """Take lines that belong together, in their order, each as `write` does."""

    def status(self) -> SinkStatus:
        """How it is now."""

    def close(self) -> None:
        """Write out what is held and take no more."""


class NullSink:
    """Keeps nothing: the operator asked for no decision log."""

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """Forget the line."""

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """Do not even ask for them."""

    def status(self) -> SinkStatus:
        """Nothing goes wrong."""
        return SinkStatus()

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
        self._cause = ""
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def status(self) -> SinkStatus:
        """How it is now; what is held is not counted in bytes."""
        return SinkStatus(
            self._cause if self.failing else None,
            lag_records=len(self._held) + self._pending_lines,
            dropped=self.dropped,
            full=self.failing and len(self._held) + self._pending_lines >= self._capacity,
        )

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """Hold the line for the writing thread."""
        if len(self._held) + self._pending_lines >= self._capacity:
            self.dropped += 1
            return
        self._held.append(line)

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """Hold the lines for the writing thread."""
        for line in lines:
            self.write(line, remaining)

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
            self._cause = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
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
