"""The clock that ends calls."""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from collections.abc import Callable

import pytest
import wasmtime

from pdp.sandbox import ticker
from pdp.sandbox.engine import running_engine, settings_for
from pdp.sandbox.model import SandboxOptions
from pdp.sandbox.ticker import PosixClock, ThreadClock, Ticker, ticks
from tests.waiting import wait_until

_KINDS = [
    pytest.param(PosixClock, marks=pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timers of Linux")),
    ThreadClock,
]

LOOP = '(module (func (export "loop") (loop (br 0))) (func (export "nothing")))'


class Engine:
    """An engine, and a way to see how its epoch goes on."""

    def __init__(self) -> None:
        options = SandboxOptions(max_instances=100, max_memory_bytes=1 << 20)
        self.engine = running_engine(settings_for("core", options), options)
        self._module = wasmtime.Module(self.engine, LOOP)

    def waiting(self, ticks_left: int) -> Callable[[], bool]:
        """Tells whether so many ticks have passed since this call."""
        store = wasmtime.Store(self.engine)
        store.set_fuel(1_000_000)
        store.set_epoch_deadline(1_000_000)
        function = wasmtime.Instance(store, self._module, []).exports(store)["nothing"]
        assert isinstance(function, wasmtime.Func)
        store.set_epoch_deadline(ticks_left)

        def has_passed() -> bool:
            try:
                function(store)
            except wasmtime.Trap:
                return True
            return False

        return has_passed

    def run_until_interrupted(self) -> None:
        """Run a loop until the epoch ends it."""
        store = wasmtime.Store(self.engine)
        store.set_fuel(10**15)
        store.set_epoch_deadline(3)
        function = wasmtime.Instance(store, self._module, []).exports(store)["loop"]
        assert isinstance(function, wasmtime.Func)
        with pytest.raises(wasmtime.Trap, match="interrupt"):
            function(store)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """One engine for all; they are never freed."""
    return Engine()


@pytest.mark.parametrize("kind", _KINDS)
def test_clock_ticks_while_it_runs(engine: Engine, kind: type[PosixClock | ThreadClock]) -> None:
    """A clock that is started advances the epoch, and one that is stopped does not; it can be started again."""
    clock = kind(engine.engine)
    for _ in range(2):
        stopped = engine.waiting(1)
        assert not stopped()
        clock.set_running(True)
        wait_until(engine.waiting(5), "five ticks")
        clock.set_running(False)
        # The tick that was on its way when the clock was stopped may still come.
        wait_until(stopped, "the first tick")
        threading.Event().wait(3 * ticker.TICK_MS / 1_000)
        stopped = engine.waiting(1)
        threading.Event().wait(10 * ticker.TICK_MS / 1_000)
        assert not stopped()


@pytest.mark.parametrize("kind", _KINDS)
def test_clock_ends_a_loop(engine: Engine, kind: type[PosixClock | ThreadClock]) -> None:
    """A guest's loop ends by either clock."""
    clock = kind(engine.engine)
    clock.set_running(True)
    engine.run_until_interrupted()
    clock.set_running(False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timers of Linux")
def test_native_clock_needs_no_interpreter(engine: Engine) -> None:
    """The clock of the operating system ticks while the interpreter is not given away at all."""
    clock = PosixClock(engine.engine)
    keeping = ctypes.PyDLL(None)
    passed = engine.waiting(10)
    clock.set_running(True)
    # Eighty ticks long; a thread of the interpreter's would get one or two in before and after.
    keeping.usleep(80 * ticker.TICK_MS * 1_000)
    has_passed = passed()
    clock.set_running(False)
    assert has_passed


def test_ticker_runs_during_calls_only(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock starts with a call, goes on while there are any, and stands still some time after the last."""
    monkeypatch.setattr(ticker, "_IDLE_SECONDS", 0.05)
    states: list[bool] = []

    class Clock:
        def set_running(self, running: bool) -> None:
            states.append(running)

    monkeypatch.setattr(ticker, "_clock", lambda engine: Clock())
    watched = Ticker(engine.engine)
    assert states == []
    with watched:
        with watched:
            assert states == [True]
        threading.Event().wait(0.2)
        assert states == [True]
    wait_until(lambda: states == [True, False], "the clock stands still")
    with watched:
        assert states == [True, False, True]
    wait_until(lambda: states == [True, False, True, False], "the clock stands still again")


def test_ticker_counts_calls_that_fail(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that raises has ended like any other."""
    monkeypatch.setattr(ticker, "_IDLE_SECONDS", 0.05)
    watched = Ticker(engine.engine)
    with pytest.raises(RuntimeError), watched:
        raise RuntimeError
    wait_until(lambda: not watched._running, "the clock stands still")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="timers of Linux")
def test_native_clock_is_the_first_choice(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux has the native clock; where no timer can be had, a thread does."""
    assert isinstance(ticker._clock(engine.engine), PosixClock)
    monkeypatch.setattr(sys, "platform", "other")
    assert isinstance(ticker._clock(engine.engine), ThreadClock)


def test_engine_outlives_its_names() -> None:
    """An engine that nobody names any more is not freed: a timer may hold its address."""
    other = Engine()
    clock = ticker._clock(other.engine)
    clock.set_running(True)
    gone = weakref.ref(other.engine)
    del other
    wait_until(lambda: gone() is None, "the object is gone") if not isinstance(clock, ThreadClock) else None
    threading.Event().wait(5 * ticker.TICK_MS / 1_000)
    clock.set_running(False)


@pytest.mark.parametrize(
    ("milliseconds", "expected"), [(0.001, 2), (5, 2), (5.001, 3), (49.9, 11), (50, 11), (1_000, 201)]
)
def test_ticks_are_at_least_the_time(milliseconds: float, expected: int) -> None:
    """So many ticks never end before the time, whenever the first began, and at most two ticks after it."""
    assert ticks(milliseconds) == expected
    assert (ticks(milliseconds) - 1) * ticker.TICK_MS >= milliseconds
