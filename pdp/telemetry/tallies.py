"""Counting and timing that calls can afford: a lock, an addition, and nothing made anew.

A histogram of prometheus-client costs a call twice as much, and looks its labels up each time.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator

from pdp.telemetry.catalogue import BUCKETS, Family
from pdp.telemetry.readings import Figures, Reading, series

#: Combinations of labels of one metric. Names come from bundles, and a bundle may have any number of them over time.
_MOST_SERIES = 1_000
_MAX_LABEL_LENGTH = 128
_OTHER = "other"


class Counts:
    """A counter by the values of its labels. Safe to share between threads."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, count: int = 1) -> None:
        """Count one, or so many."""
        with self._lock:
            known = self._counts.get(labels)
            if known is None:
                labels = _bounded(labels, len(self._counts))
                known = self._counts.get(labels, 0)
            self._counts[labels] = known + count

    def reading(self) -> Reading:
        """All of them at this moment. What has no labels is there from the beginning."""
        with self._lock:
            counts = dict(self._counts)
        if not counts and not self._family.labels:
            counts[()] = 0
        return Reading(self._family.name, {series(self._family, labels): float(n) for labels, n in counts.items()})


class _Times:
    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Timings:
    """A histogram by the values of its labels. Safe to share between threads."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._lock = threading.Lock()
        self._times: dict[tuple[str, ...], _Times] = {}

    def add(self, nanoseconds: int, *labels: str) -> None:
        """Note one duration."""
        seconds = nanoseconds * 1e-9
        bucket = bisect_left(BUCKETS, seconds)
        with self._lock:
            times = self._times.get(labels)
            if times is None:
                times = self._times.setdefault(_bounded(labels, len(self._times)), _Times())
            times.buckets[bucket] += 1
            times.seconds += seconds

    def reading(self) -> Reading:
        """All of them at this moment."""
        figures: Figures = {}
        with self._lock:
            for labels, times in self._times.items():
                figures.update(self._figures(labels, times))
        return Reading(self._family.name, figures)

    def _figures(self, labels: tuple[str, ...], times: _Times) -> Iterator[tuple[tuple[str, tuple[str, ...]], float]]:
        name, count = self._family.name, 0
        for bound, number in zip((*map(repr, BUCKETS), "+Inf"), times.buckets, strict=True):
            count += number
            yield (f"{name}_bucket", (*labels, bound)), float(count)
        yield (f"{name}_count", labels), float(count)
        yield (f"{name}_sum", labels), times.seconds


def _bounded(labels: tuple[str, ...], known: int) -> tuple[str, ...]:
    """The labels of a new series, as long as there may be more of them and they are no longer than names are."""
    if known >= _MOST_SERIES:
        return (_OTHER,) * len(labels)
    return tuple(label[:_MAX_LABEL_LENGTH] for label in labels)
