"""Signals of the running service, one after another, for the thread that waits for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

_STOP = (signal.SIGTERM, signal.SIGINT)
_RELOAD = signal.SIGHUP


class Signals:
    """Before `begin`, a signal to stop ends the program on the spot by SystemExit: nobody was promised anything.

    After it, the first one is for `wait`, and any further one ends the process at once, as it was asked for twice. The
    exit status is 128 and the signal's number then, as in a shell. SIGHUP is always for `wait`.
    """

    def __init__(self) -> None:
        # Safe to use in a signal handler, and waiting for it lets handlers run.
        self._arrived: SimpleQueue[signal.Signals] = SimpleQueue()
        self._begun = False
        self._stopping = False

    def begin(self) -> None:
        """From now on the service has something to finish before it stops."""
        self._begun = True

    def wait(self) -> signal.Signals:
        """The next signal, as soon as there is one."""
        return self._arrived.get()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal arrived; called by Python in the main thread."""
        arrived = signal.Signals(number)
        if arrived in _STOP:
            if self._stopping:
                os._exit(128 + arrived)
            if not self._begun:
                raise SystemExit(128 + arrived)
            self._stopping = True
        self._arrived.put(arrived)


@contextmanager
def received() -> Iterator[Signals]:
    """SIGTERM, SIGINT and SIGHUP of this process, until the context ends."""
    signals = Signals()
    before = {number: signal.signal(number, signals.handle) for number in (*_STOP, _RELOAD)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
