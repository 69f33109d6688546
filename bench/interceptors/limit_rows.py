"""How long a module that never ends goes on, on an idle process and on a busy one."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from bench.interceptors.modules import sandbox_process
from bench.interceptors.stopping import DEADLINE_MS
from bench.processes import BenchError, Service
from bench.report import Row, Section, Target
from bench.run_options import Run

_TARGET = Target("most", 2.0)
_CALLS = 5
_QUICK_CALLS = 2


class _Case(NamedTuple):
    """The limit, and how many threads run Python meanwhile."""

    by: str
    busy: int

    @property
    def name(self) -> str:
        """For the table."""
        limit = f"deadline of {DEADLINE_MS} ms" if self.by == "deadline" else "fuel, 50 million"
        return f"{limit}, {f'{self.busy} busy threads' if self.busy else 'idle process'}"


_CASES = (_Case("deadline", 0), _Case("deadline", 4), _Case("fuel", 0), _Case("fuel", 4))


def limit_rows(run: Run) -> list[Section]:
    """Milliseconds until an endless loop is stopped: the slowest of some, and the median."""
    count = _QUICK_CALLS if run.quick else _CALLS
    slowest: dict[_Case, list[float]] = {case: [] for case in _CASES}
    medians: dict[_Case, list[float]] = {case: [] for case in _CASES}
    with sandbox_process(run, "limits") as service:
        for case in _CASES:
            _ask(service, case, 1)
        for number in range(1, run.rounds + 1):
            run.say(f"interceptors: endless loops, round {number} of {run.rounds}")
            for case in _CASES if number % 2 else reversed(_CASES):
                times = _ask(service, case, count)["times"]
                slowest[case].append(max(times))
                medians[case].append(statistics.median(times))
    rows = [_row(case, count, slowest[case], statistics.median(medians[case])) for case in _CASES]
    notes = ["the process and its busy threads have one core; each call ended by the limit that it was to end by"]
    return [Section("interceptors: until an endless loop is stopped", rows, notes)]


def _ask(service: Service, case: _Case, count: int) -> dict[str, Any]:
    answer = service.ask(do="stop", by=case.by, busy=case.busy, count=count)
    if answer["problem"]:
        raise BenchError(f"{case.name}: {answer['problem']}")
    return answer


def _row(case: _Case, count: int, slowest: list[float], median: float) -> Row:
    name, detail = f"{case.name}: slowest of {count}", f"median {median:.1f} ms"
    if case.by == "fuel":
        return Row(name, "ms", slowest, detail=detail)
    deadline = [float(DEADLINE_MS)] * len(slowest)
    return Row(name, "ms", slowest, "its deadline", deadline, _TARGET if case.busy else None, detail)
