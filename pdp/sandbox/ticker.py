"""Ends what runs too long: advances the epoch of the engines, by a clock that needs no interpreter.

A Python thread that ticks starves while other threads are busy: a deadline of 10 ms was seen to fire after 360 ms. So a
POSIX timer calls `wasmtime_engine_increment_epoch` itself, on a thread that the C library makes. It runs only while
there are calls, since waking an idle process two hundred times a second would cost it two per cent of a core.
"""

from __future__ import annotations

import atexit
import ctypes
import sys
import threading
import time
from typing import Protocol

from wasmtime import Engine
from wasmtime import _ffi as ffi

TICK_MS = 5

#: After this long without a call the clock stands still.
_IDLE_SECONDS = 1.0

_CLOCK_MONOTONIC = 1
_SIGEV_THREAD = 2


class _Clock(Protocol):
    """Ticks, or does not."""

    def set_running(self, running: bool) -> None:
        """Start or stop."""


class _SigEvent(ctypes.Structure):
    """`struct sigevent` of glibc and musl on 64-bit Linux; the padding makes it 64 bytes long."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _TimerSpec(ctypes.Structure):
    """`struct itimerspec`: interval and first expiry, each in seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class PosixClock:
    """A timer of the operating system that advances one engine's epoch. Raises OSError where there is none."""

    def __init__(self, engine: Engine) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("timers that start threads are only known to work on Linux")
        self._libc = ctypes.CDLL(None, use_errno=True)
        event = _SigEvent(
            value=ctypes.cast(engine.ptr(), ctypes.c_void_p),
            notify=_SIGEV_THREAD,
            function=ctypes.cast(ffi.dll.wasmtime_engine_increment_epoch, ctypes.c_void_p),
        )
        self._timer = ctypes.c_void_p()
        if self._libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)) != 0:
            raise OSError(ctypes.get_errno(), "no timer can be made")
        # Stopped, and not deleted: another thread may still set it.
        atexit.register(self.set_running, False)

    def set_running(self, running: bool) -> None:
        """Start or stop."""
        ns = TICK_MS * 1_000_000 if running else 0
        spec = _TimerSpec(0, ns, 0, ns)
        if self._libc.timer_settime(self._timer, 0, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "the timer cannot be set")


class ThreadClock:
    """A Python thread that advances one engine's epoch: late on a busy process, but for every platform."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running = threading.Event()
        threading.Thread(target=self._run, name="epoch", daemon=True).start()

    def set_running(self, running: bool) -> None:
        """Start or stop."""
        if running:
            self._running.set()
        else:
            self._running.clear()

    def _run(self) -> None:
        while True:
            self._running.wait()
            time.sleep(TICK_MS / 1000)
            self._engine.increment_epoch()


class Ticker:
    """Keeps an engine's epoch advancing while calls are in progress, and for a moment longer."""

    def __init__(self, engine: Engine) -> None:
        self._clock = _clock(engine)
        self._lock = threading.Lock()
        self._calls = 0
        self._last_call = 0.0
        self._wanted = threading.Event()
        self._running = False
        threading.Thread(target=self._stop_when_idle, name="ticker", daemon=True).start()

    def __enter__(self) -> None:
        """A call begins."""
        with self._lock:
            self._calls += 1
            if not self._running:
                self._clock.set_running(True)
                self._running = True
                self._wanted.set()

    def __exit__(self, *exception: object) -> None:
        """A call has ended."""
        with self._lock:
            self._calls -= 1
            self._last_call = time.monotonic()

    def _stop_when_idle(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(_IDLE_SECONDS)
            with self._lock:
                if not self._calls and time.monotonic() - self._last_call >= _IDLE_SECONDS:
                    self._clock.set_running(False)
                    self._running = False
                    self._wanted.clear()


def ticks(milliseconds: float) -> int:
    """How many ticks are at least this long, and at most one tick longer: the one that has begun counts for nothing."""
    return int(-(-milliseconds // TICK_MS)) + 1


def _clock(engine: Engine) -> _Clock:
    try:
        return PosixClock(engine)
    except OSError:
        return ThreadClock(engine)
