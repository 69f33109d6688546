"""Numbers that a chain has jumped over. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator


class Absent:
    """Which of them have not come later. A line costs the same however many jumps there were before it."""

    def __init__(self) -> None:
        #: In order, none of them empty. They stay as they are: whoever makes a log may jump in every line of it.
        self._jumps: list[range] = []
        self._late: set[int] = set()

    def jump(self, numbers: range) -> None:
        """These were left out; they are larger than all that were left out before."""
        if numbers:
            self._jumps.append(numbers)

    def came(self, seq: int) -> bool:
        """Take a number that comes late; whether it was absent."""
        place = bisect_right(self._jumps, seq, key=lambda numbers: numbers.start)
        if not place or seq not in self._jumps[place - 1] or seq in self._late:
            return False
        self._late.add(seq)
        return True

    def ranges(self) -> Iterator[range]:
        """What is absent, in order."""
        late = iter(sorted(self._late))
        came = next(late, None)
        for numbers in self._jumps:
            start = numbers.start
            while came is not None and came in numbers:
                if start < came:
                    yield range(start, came)
                start = came + 1
                came = next(late, None)
            if start < numbers.stop:
                yield range(start, numbers.stop)
