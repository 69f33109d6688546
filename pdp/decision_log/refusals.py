"""Which records of a log its sink did not take, for those who verify it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, NamedTuple


class Told(NamedTuple):
    """What a gap says: `lost` records from `first_seq` to `last_seq` were refused. `by` is the gap's own place."""

    lost: int
    first_seq: int
    last_seq: int
    hash: str
    by: tuple[str, int]


class _Spans:
    """What is told of one writer's records. Asking costs the same however much that is: a hostile log tells much."""

    def __init__(self, told: list[Told]) -> None:
        self._sorted = sorted(told, key=lambda each: each.first_seq)
        #: Of those up to each place the one that goes furthest.
        self._furthest = list(accumulate(self._sorted, _further))

    def touching(self, numbers: range) -> Told | None:
        """Something that is told of any of these records."""
        place = bisect_right(self._sorted, numbers[-1], key=lambda each: each.first_seq)
        told = self._furthest[place - 1] if place else None
        return told if told is not None and told.last_seq >= numbers[0] else None


def _further(one: Told, other: Told) -> Told:
    return one if one.last_seq >= other.last_seq else other


#: Whether what is in the log at this place (writer, number) is to be believed.
Believed = Callable[[tuple[str, int]], bool]


class Refusals:
    """What gaps say about refused records."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, int, int], Told] = {}
        #: What is told of each writer's records; made when it is first asked for.
        self._of_writers: dict[str, _Spans] | None = None

    def tell(self, gap: Mapping[str, Any], by: tuple[str, int]) -> bool:
        """Take what a gap says; whether it says something new. One that a killed process wrote comes again."""
        refused = gap.get("refused")
        if not isinstance(refused, dict):
            return True
        writer, first, last = refused.get("writer"), refused.get("first_seq"), refused.get("last_seq")
        count, digest = gap.get("lost"), refused.get("hash", "")
        if not isinstance(writer, str) or type(first) is not int or type(last) is not int or type(count) is not int:
            return True
        key = (writer, first, last)
        if key in self._told:
            return False
        self._told[key] = Told(count, first, last, str(digest), by)
        self._of_writers = None
        return True

    def doubt(self, writer: str, seq: int, digest: str, believed: Believed) -> str:
        """Why a record that has a stub with this hash is not known to be refused; empty if it is."""
        told = self._told.get((writer, seq, seq))
        if told is None:
            return "a line in its place says that it was refused, and no gap in the chain does"
        if told.hash != digest:
            return "a line in its place gives it another hash than the gap that says it was refused"
        if not believed(told.by):
            return "it was refused by the sink, as a gap says that is not vouched for yet"
        return ""

    def remark(self, writer: str, missing: range) -> str:
        """What gaps say about some of these records; empty for nothing."""
        if self._of_writers is None:
            self._of_writers = self._spans()
        spans = self._of_writers.get(writer)
        told = spans.touching(missing) if spans is not None else None
        if told is None:
            return ""
        first, last = told.first_seq, told.last_seq
        which = f"record {first}" if first == last else f"{told.lost} of the records {first} to {last}"
        return f"; the log says that its sink did not take {which}"

    def _spans(self) -> dict[str, _Spans]:
        found: dict[str, list[Told]] = {}
        for (writer, _, _), told in self._told.items():
            found.setdefault(writer, []).append(told)
        return {writer: _Spans(each) for writer, each in found.items()}
