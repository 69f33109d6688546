"""Signals of the running service, one after another, for the thread that waits for them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType

_STOP = (signal.SIGTERM, signal.SIGINT)
_RELOAD = signal.SIGHUP


class Signals:
    """Before `begin`, a signal to stop ends the program by SystemExit: nobody was promised anything yet.

    After it, the first one is for `wait`. A second one ends the process at once, whatever it is doing, as it was asked
    for twice. The exit status is 128 and the signal's number then, as in a shell. SIGHUP is always for `wait`.
    """

    def __init__(self) -> None:
        self._arrived: SimpleQueue[signal.Signals] = SimpleQueue()
        self._begun = False
        self._stopping = False

    def begin(self) -> None:
        """From now on the service has something to finish before it stops."""
        self._begun = True

    @property
    def stopping(self) -> bool:
        """Whether a signal to stop has arrived."""
        return self._stopping

    def wait(self, seconds: float | None = None) -> signal.Signals | None:
        """The next signal, as soon as there is one; None if there is none in that time."""
        try:
            return self._arrived.get(timeout=seconds)
        except Empty:
            return None

    def take(self, number: int) -> None:
        """A signal arrived; called in a thread of its own, for every signal in turn."""
        arrived = signal.Signals(number)
        if arrived in _STOP:
            if self._stopping:
                os._exit(128 + arrived)
            self._stopping = True
        self._arrived.put(arrived)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """A signal arrived; called in the main thread when it comes around to it."""
        if number in _STOP and not self._begun:
            raise SystemExit(128 + number)


@contextmanager
def received() -> Iterator[Signals]:
    """SIGTERM, SIGINT and SIGHUP of this process, until the context ends. For the main thread.

    The interpreter runs handlers between two steps of the main thread, so a signal that arrives just before that thread
    begins to wait would go unnoticed for as long as it waits. What the interpreter writes to the wakeup descriptor is
    written at once, whatever the threads do.
    """
    signals = Signals()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    listener = threading.Thread(target=_listen, args=(reading, signals), name="signals", daemon=True)
    listener.start()
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, signals.interrupt) for number in (*_STOP, _RELOAD)}
    try:
        yield signals
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous)
        os.close(writing)
        listener.join()
        os.close(reading)


def _listen(descriptor: int, signals: Signals) -> None:
    while numbers := os.read(descriptor, 64):
        for number in numbers:
            if number in (*_STOP, _RELOAD):
                signals.take(number)
