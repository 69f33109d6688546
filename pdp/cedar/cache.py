"""What is kept to be quicker, and never more of it than was set."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Texts that are shared, and the longest of them, in characters.
_MOST_TEXTS = 65_536
_LONGEST_TEXT = 64
_texts: dict[str, str] = {}


def shared_text(text: str) -> str:
    """An equal text, the same object for all that asked lately, if it is short.

    To compare an object with itself nothing of it has to be fetched. Python's own `intern` would keep some texts for
    good, and anybody may have made them up.
    """
    if len(text) > _LONGEST_TEXT:
        return text
    if len(_texts) >= _MOST_TEXTS:
        _texts.clear()
    return _texts.setdefault(text, text)


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
    threads without a lock: each step is one atomic dictionary operation, and a lost race costs a repeated computation
    or makes a heavy entry count as 1.
    `size` 0 keeps nothing. Values are never None.
    """

    __slots__ = ("_counts", "_half", "_old", "_old_weights", "_weight", "_weights", "_young")

    def __init__(self, size: int, counts: CacheCounts | None = None) -> None:
        self._counts = counts or CacheCounts()
        self._half = (size + 1) // 2
        # Values stand here bare: an object between would be one more fetch from memory for each hit.
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0
        #: What entries weigh that do not weigh 1.
        self._weights: dict[K, int] = {}
        self._old_weights: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value under `key`, or None."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is None:
                self._counts.misses += 1
                return None
            self.put(key, value, self._old_weights.get(key, 1))
        self._counts.hits += 1
        return value

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep `value` under `key`."""
        if not self._half:
            return
        if self._weight >= self._half:
            self._old, self._young, self._weight = self._young, {}, 0
            self._old_weights, self._weights = self._weights, {}
        self._young[key] = value
        self._weight += weight
        if weight != 1:
            self._weights[key] = weight
