"""Which cores this process may use, and keeping to one of them."""

from __future__ import annotations

import os
from pathlib import Path

_TASKS = Path("/proc/self/task")

#: Those that this process was given when it began. Empty where the system does not tell.
USABLE: tuple[int, ...] = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def core_of(worker: int, workers: int) -> int | None:
    """The core for one of `workers`, numbered from 0 on; None unless there is exactly one for each of them.

    With fewer workers than cores, several services on one machine would all choose the same ones.
    """
    return USABLE[worker] if 1 < workers == len(USABLE) else None


def keep_to(core: int) -> None:
    """Run all threads of this process on one core; those that they start inherit it. Raises OSError."""
    for task in _TASKS.iterdir():
        try:
            os.sched_setaffinity(int(task.name), {core})
        except ProcessLookupError:
            # A thread that has ended since.
            continue
