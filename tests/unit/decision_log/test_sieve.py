"""Records that a medium will never take keep no others from it, and are never lost without a word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log import sieve
from pdp.decision_log.backlog import Batch
from pdp.decision_log.chain import beginning, linked, stated
from pdp.decision_log.exporting import ExportError, RefusedError, RejectedError
from pdp.decision_log.marks import STUB_BEGIN, Refused
from pdp.decision_log.sieve import Sieve

WRITER = "a" * 32


def batch(count: int) -> Batch:
    """So many records."""
    head, lines = beginning(WRITER), []
    for number in range(1, count + 1):
        head, line = linked(head, f'{{"kind":"authorize","n":{number}}}')
        lines.append(line)
    return Batch(WRITER, 1, b"".join(lines))


class Medium:
    """Takes a batch, or raises what `judge` says about it."""

    def __init__(self, judge: Callable[[list[bytes]], ExportError | None]) -> None:
        self.judge = judge
        self.lines: list[bytes] = []
        self.attempts = 0

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        self.attempts += 1
        error = self.judge(batch.lines)
        if error is None or isinstance(error, RejectedError):
            self.lines += batch.lines
        if error is not None:
            raise error

    def sync(self) -> None:
        """As in `Exporter`."""

    def close(self) -> None:
        """As in `Exporter`."""


def bad(numbers: set[int]) -> Callable[[list[bytes]], ExportError | None]:
    """Refuses whatever has one of these records in it."""

    def judge(lines: list[bytes]) -> ExportError | None:
        found = {int(match[1]) for line in lines if (match := re.search(rb'"n":(\d+)', line))}
        return RefusedError("no") if found & numbers else None

    return judge


@given(st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(1, count)))))
def test_only_those_records_are_lost(case: tuple[int, set[int]]) -> None:
    """Whichever records a medium refuses, it gets each other one once and in order, and stubs in their places."""
    count, refused = case
    medium = Medium(bad(refused))
    told: list[tuple[Refused, int]] = []
    Sieve(medium, lambda which, lost, marks: told.append((which, lost))).export(batch(count))
    places = [stated(line) for line in medium.lines]
    assert places == [stated(line) for line in batch(count).lines]
    assert {
        place.seq for place, line in zip(places, medium.lines, strict=True) if place and STUB_BEGIN in line
    } == refused
    assert sorted(which.first_seq for which, _ in told) == sorted(refused)
    assert all(lost == 1 and which.first_seq == which.last_seq and which.hash for which, lost in told)


def test_a_medium_that_refuses_everything_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses the stub too, so it is not about the record: that is a failure, and not asked again at once."""
    medium = Medium(lambda lines: RefusedError("who are you?"))
    told: list[Refused] = []
    sifting = Sieve(medium, lambda which, lost, marks: told.append(which))
    for _ in range(2):
        with pytest.raises(ExportError, match="every record is refused: who are you"):
            sifting.export(batch(8))
    assert medium.attempts == 5  # 8, 4, 2, 1 and the stub; the second time is too early to ask
    monkeypatch.setattr(sieve, "monotonic", lambda: 1e12)
    medium.judge = bad(set())
    sifting.export(batch(8))
    assert medium.lines == batch(8).lines
    assert told == []


def test_a_record_that_is_taken_the_second_time_is_not_lost() -> None:
    """A medium that refused for a moment, and takes the record after the stub, has refused nothing."""
    answers = iter([RefusedError("no"), None, None])
    medium = Medium(lambda lines: next(answers))
    told: list[Refused] = []
    Sieve(medium, lambda which, lost, marks: told.append(which)).export(batch(1))
    assert medium.lines[1:] == batch(1).lines
    assert told == []


def test_a_failure_on_the_way_repeats_nothing() -> None:
    """Where the medium dies between two halves, the first is not sent again."""
    failing = True

    def judge(lines: list[bytes]) -> ExportError | None:
        if failing and b'"n":8}' not in lines[-1] and b'"n":7,' in lines[0]:
            return ExportError("away")
        return bad({5})(lines)

    medium = Medium(judge)
    told: list[Refused] = []
    sifting = Sieve(medium, lambda which, lost, marks: told.append(which))
    with pytest.raises(ExportError, match="away"):
        sifting.export(batch(8))
    failing = False
    sifting.export(batch(8))
    assert [json.loads(line)["seq"] for line in medium.lines] == list(range(1, 9))
    assert [which.first_seq for which in told] == [5]


@pytest.mark.parametrize(("said", "counted"), [(1, 1), (3, 3), (2**62, 3)])
def test_what_is_taken_in_part_is_told_and_not_sent_again(said: int, counted: int) -> None:
    """A medium that rejects some of a batch, has the batch; no more are counted than there were."""
    medium = Medium(lambda lines: RejectedError(said, "old"))
    told: list[tuple[Refused, int]] = []
    Sieve(medium, lambda which, lost, marks: told.append((which, lost))).export(batch(3))
    assert medium.attempts == 1
    assert told == [(Refused(WRITER, 1, 3, b"", "old"), counted)]
