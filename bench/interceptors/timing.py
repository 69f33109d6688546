"""How long calls take, one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def timed(
    call: Callable[[], T], problem_of: Callable[[T], str], count: int, pause_seconds: float = 0
) -> dict[str, Any]:
    """`p50` and `p99` of `count` calls in µs, and a `problem` if an answer has one. The check is not in the times."""
    times: list[int] = []
    problem = ""
    for _ in range(count):
        started = time.perf_counter_ns()
        answer = call()
        times.append(time.perf_counter_ns() - started)
        problem = problem_of(answer) or problem
        if pause_seconds:
            time.sleep(pause_seconds)
    return {**percentiles(times), "problem": problem}


def percentiles(times_ns: Sequence[int]) -> dict[str, float]:
    """Median and 99th percentile in µs."""
    cuts = statistics.quantiles(times_ns, n=100, method="inclusive")
    return {"p50": cuts[49] / 1000, "p99": cuts[98] / 1000}
