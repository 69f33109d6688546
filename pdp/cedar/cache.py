"""A bounded cache that costs one dictionary look-up on a hit."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps at least the `size / 2` most recently used entries and never more than `size`.

    Two generations stand in for an exact order of use: when the young one is full it becomes the old one, and what
    is read from the old one moves to the young one. Safe to share between threads without a lock: each step is one
    atomic dictionary operation, and a lost race costs a repeated computation. `size` 0 keeps nothing.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, size: int) -> None:
        self._half = (size + 1) // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value under `key`, or None. None is never a value."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep `value` under `key`."""
        if not self._half:
            return
        young = self._young
        if len(young) >= self._half:
            self._old, self._young = young, {}
            young = self._young
        young[key] = value
