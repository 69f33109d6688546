"""What it costs to verify a log that somebody made to be costly: counted in steps of the interpreter, never in time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log.absent import Absent
from pdp.decision_log.verifying import Verification

WRITER = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2


def line(seq: int, writer: str = WRITER, **record: Any) -> bytes:
    """A line that says that its place is this one; nothing follows from anything."""
    text = json.dumps({"kind": "authorize", **record}, separators=(",", ":"))[:-1]
    return f'{text},"writer":"{writer}","seq":{seq},"hash":"{seq:064x}"}}\n'.encode()


def stub(seq: int) -> bytes:
    """A line in the place of a record that was refused."""
    return line(seq, kind="refused")


def jumps(count: int) -> Iterator[bytes]:
    """Every second record is missing."""
    yield from (line(2 * number) for number in range(1, count + 1))


def jumps_and_returns(count: int) -> Iterator[bytes]:
    """Every second record is missing, and comes later, the last one first."""
    yield from jumps(count)
    yield from (line(2 * number - 1) for number in range(count, 0, -1))


def one_jump_and_returns(count: int) -> Iterator[bytes]:
    """What one jump left out comes later, every second record of it."""
    yield line(4 * count)
    yield from (line(2 * number) for number in range(1, count + 1))


def repeated(count: int) -> Iterator[bytes]:
    """Many jumps, and the last record again and again."""
    yield from jumps(count)
    yield from (line(2 * count) for _ in range(count))


def told_elsewhere(count: int) -> Iterator[bytes]:
    """Many jumps, and many gaps that say something about records that are not among those."""
    yield from jumps(count)
    for number in range(1, count + 1):
        refused = {"writer": WRITER, "first_seq": 10**9 + number, "last_seq": 10**9 + number, "hash": ""}
        yield line(number, OTHER, kind="gap", lost=1, refused=refused)


def told_of_others(count: int) -> Iterator[bytes]:
    """Many jumps, and many gaps that say something about other writers."""
    yield from jumps(count)
    for number in range(1, count + 1):
        refused = {"writer": f"{number:032x}", "first_seq": 1, "last_seq": 10**9, "hash": ""}
        yield line(number, OTHER, kind="gap", lost=1, refused=refused)


def many_writers(count: int) -> Iterator[bytes]:
    """Each record is another writer's, and not its first."""
    yield from (line(5, f"{number:032x}") for number in range(1, count + 1))


def stubs(count: int) -> Iterator[bytes]:
    """Stubs with jumps between them, of which nothing says anything."""
    yield from (stub(2 * number) for number in range(1, count + 1))


HOSTILE = [
    *(jumps, jumps_and_returns, one_jump_and_returns, repeated),
    *(told_elsewhere, told_of_others, many_writers, stubs),
]


def steps(work: Callable[[], object]) -> int:
    """How many lines of Python are run."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def verified(lines: list[bytes]) -> None:
    """Everything about these lines."""
    verification = Verification()
    for number, text in enumerate(lines, start=1):
        verification.feed("log", number, text)
    verification.finish()


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_twice_the_lines_are_twice_the_work(make: Callable[[int], Iterator[bytes]]) -> None:
    """However the numbers in a log jump, verifying a longer one costs each line as much as a shorter one's."""
    few, many = list(make(200)), list(make(800))
    verified(few)  # what happens once only is not counted
    assert steps(lambda: verified(many)) < 4.5 * steps(lambda: verified(few))


def test_what_checkpoints_may_name_is_bounded() -> None:
    """Of a log that jumps, as of any other, only the last so many records are kept for checkpoints to name."""
    verification = Verification()
    for number, text in enumerate(map(line, range(7_000, 7_000_000, 7_000)), start=1):
        verification.feed("log", number, text)
    assert len(verification.writers[WRITER].recent) <= 2


@given(st.lists(st.integers(1, 60)))
def test_what_is_absent(seqs: list[int]) -> None:
    """What was jumped over and did not come later is absent, each number once, in order."""
    absent, head, found = Absent(), 0, set()
    for seq in seqs:
        if seq > head:
            absent.jump(range(head + 1, seq))
            head = seq
        else:
            assert absent.came(seq) is (seq not in found)
        found.add(seq)
    ranges = list(absent.ranges())
    assert [seq for numbers in ranges for seq in numbers] == [seq for seq in range(1, head) if seq not in found]
    assert all(before.stop < after.start for before, after in pairwise(ranges))
