"""A bounded cache that costs one dictionary look-up on a hit."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CacheCounts:
    """How often something was found in caches, and how often not. They outlive the caches that they are given to.

    Between threads a count may get lost, which costs nobody anything; none is ever taken back.
    """

    __slots__ = ("hits", "misses")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0


class BoundedCache(Generic[K, V]):
    """Keeps at least the most recently used half of `size` and little more than `size` in all.

    Entries weigh 1 unless `put` says otherwise. Two generations stand in for an exact order of use: when the young one
    is full it becomes the old one, and what is read from the old one moves to the young one. Safe to share between
    threads without a lock: each step is one atomic dictionary operation, and a lost race costs a repeated computation.
    `size` 0 keeps nothing. Values are never None.
    """

    __slots__ = ("_counts", "_half", "_old", "_weight", "_young")

    def __init__(self, size: int, counts: CacheCounts | None = None) -> None:
        self._counts = counts or CacheCounts()
        self._half = (size + 1) // 2
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value under `key`, or None."""
        entry = self._young.get(key)
        if entry is not None:
            self._counts.hits += 1
            return entry[0]
        entry = self._old.get(key)
        if entry is None:
            self._counts.misses += 1
            return None
        self._counts.hits += 1
        self.put(key, *entry)
        return entry[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep `value` under `key`."""
        if not self._half:
            return
        if self._weight >= self._half:
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[key] = (value, weight)
        self._weight += weight
