"""How long it takes until a module that never ends is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.interceptors.guests import Guests, caller, load_module
from bench.interceptors.subjects import PASSING
from bench.interceptors.wat import wat_module
from pdp.sandbox.chain import Chain

DEADLINE_MS = 50
_SIZE = 1024
#: What the other limit may not stop.
_LIMITS: dict[str, dict[str, int]] = {
    "deadline": {"timeout_ms": DEADLINE_MS, "fuel": 2**62},
    "fuel": {"timeout_ms": 10_000},
}


def stopped(guests: Guests, command: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of each of `count` calls that the limit `by` has to end, beside `busy` threads that run Python."""
    interceptor = load_module(guests.sandbox, wat_module("loop"), "request", _LIMITS[command["by"]])
    call = caller(Chain([interceptor], {}), "request", PASSING.payload(_SIZE))
    times: list[float] = []
    problem = ""
    with _busy_threads(command["busy"]):
        for _ in range(command["count"]):
            started = time.perf_counter()
            [outcome] = call().outcomes
            times.append((time.perf_counter() - started) * 1000)
            if outcome.error_class is None or outcome.error_class.value != command["by"]:
                problem = f"a call ends as `{outcome.verdict}`, {outcome.error_class}, and not by `{command['by']}`"
    return {"times": times, "problem": problem}


@contextmanager
def _busy_threads(count: int) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=_work, args=(stop,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _work(stop: threading.Event) -> None:
    while not stop.is_set():
        sum(range(1_000))
