"""Calls leave nothing behind: the memory of the process stays level over many of them."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from pdp.sandbox.model import Runner
from tests.component.sandbox import guests

#: Far more than the noise of an allocator, and far less than a few bytes for each call would come to in pages.
_MOST_GROWTH = 12 << 20


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _require_level(runner: Runner, expected: str, calls: int) -> None:
    for _ in range(calls // 10):
        assert guests.outcome(runner)[0] == expected
    before = _resident_bytes()
    for _ in range(calls):
        assert guests.outcome(runner)[0] == expected
    assert _resident_bytes() - before < _MOST_GROWTH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("reply_up_to_the_end", 20_000),
        ("memory_touch_all", 40),
        ("random_and_time_work", 2_000),
        ("component_good", 2_000),
        ("trap_unreachable", 4_000),
        ("reply_zero", 4_000),
        ("exit_in_hook", 2_000),
        ("component_unreachable", 2_000),
        ("component_reply_is_error", 2_000),
        ("component_reply_of_2_mib", 60),
    ],
)
def test_memory_stays_level(name: str, calls: int) -> None:
    """Thousands of calls, good ones and failing ones, in both ways, leave the resident memory where it was."""
    guest = guests.hostile_guest(name)
    loaded = guests.load(guests.binary(guest), grants=guest.grants)
    for way, runner in guests.both_ways(loaded).items():
        # The classes are slower, and a fallback.
        _require_level(runner, guest.call, calls if way == "functions" or name.startswith("component") else calls // 8)


@pytest.mark.slow
def test_failing_starts_leave_nothing() -> None:
    """Instances that cannot be made are freed, with their errors."""
    for runner in guests.driven_runners(guests.driven(b"", result=0), limits=guests.LITTLE_MEMORY):
        _require_level(runner, "memory", 3_000)


@pytest.mark.slow
def test_loaded_modules_go_with_their_users() -> None:
    """Modules that are loaded and forgotten leave the resident memory level: linkers, functions and all."""
    content = guests.binary(guests.hostile_guest("random_and_time_work"))
    for _ in range(20):
        guests.load(content, grants=("random", "now_ms"))
    before = _resident_bytes()
    for _ in range(300):
        guests.load(content, grants=("random", "now_ms"))
    assert _resident_bytes() - before < _MOST_GROWTH
