"""When to read keys again. No clock and no dice in here: times and random numbers are handed in."""

from __future__ import annotations

_LARGEST_DOUBLING = 20


class RefreshSchedule:
    """The time of the next attempt, `due`, in seconds of a clock that never goes back.

    After a success that is `every` seconds later, a little less by chance, so that many services do not ask as one.
    After failures it is `retry` seconds later, doubled with each of them up to `every`, up to half less by chance.
    """

    def __init__(self, every: float, retry: float) -> None:
        self._every = every
        self._retry = retry
        self._failures = 0
        self._last = float("-inf")
        self.due = float("-inf")

    def succeeded(self, now: float, chance: float) -> None:
        """An attempt at `now` read the keys. `chance` is from 0 to 1."""
        self._failures, self._last = 0, now
        self.due = now + self._every * (1 - chance / 10)

    def failed(self, now: float, chance: float) -> None:
        """An attempt at `now` did not."""
        delay = min(self._every, self._retry * 2 ** min(self._failures, _LARGEST_DOUBLING))
        self._failures, self._last = self._failures + 1, now
        self.due = now + delay * (1 - chance / 2)

    def hasten(self, now: float) -> bool:
        """Somebody wants keys that are not there: whether that makes the next attempt earlier.

        It comes at the earliest `retry` seconds after the last one, and after failures not before its time, so nobody
        can make this service ask faster than that.
        """
        earliest = max(now, self._last + self._retry)
        if self._failures or earliest >= self.due:
            return False
        self.due = earliest
        return True
