"""Instances made ahead of the calls that use them up, for modules that take long to start."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Generic, TypeVar

from pdp.sandbox.model import GuestFailureError

T = TypeVar("T")


class WarmInstances(Generic[T]):
    """Keeps up to `size` instances ready. Each is taken once; what takes its place is made on another thread.

    `make` may raise GuestFailureError: then there is one less, until the next time. What is left when this object
    goes is given to `drop`.
    """

    def __init__(self, size: int, make: Callable[[], T], drop: Callable[[T], None]) -> None:
        self._size = size
        self._make = make
        self._ready: deque[T] = deque()
        self._is_awaited = False
        weakref.finalize(self, _drop_all, self._ready, drop)

    def take(self) -> T | None:
        """One that is ready, or None. Whoever takes it frees it, and says `replenish` when its call is answered."""
        try:
            return self._ready.popleft()
        except IndexError:
            return None

    def replenish(self) -> None:
        """Let what was taken be replaced. Made during a call, it would take the core from that call."""
        # The filler is asked once at a time, so that no work piles up where a module starts slowly, or fails to.
        if len(self._ready) < self._size and not self._is_awaited:
            self._is_awaited = True
            _filler().submit(_fill, weakref.ref(self))

    def fill(self) -> None:
        """Make what is missing, now."""
        self._is_awaited = False
        while len(self._ready) < self._size:
            try:
                self._ready.append(self._make())
            except GuestFailureError:
                return


def _fill(reference: weakref.ref[WarmInstances[T]]) -> None:
    warm = reference()
    if warm is not None:
        warm.fill()


def _drop_all(ready: deque[T], drop: Callable[[T], None]) -> None:
    while ready:
        drop(ready.popleft())


@cache
def _filler() -> ThreadPoolExecutor:
    """The one thread that fills: calls that are being answered come first."""
    return ThreadPoolExecutor(1, thread_name_prefix="warm")
