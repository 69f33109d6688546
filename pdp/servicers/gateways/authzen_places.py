"""Who goes when every place is taken and another peer comes. Pure.

A peer that is waited for (it is silent, sends a head byte by byte, does not take its answer) must not keep others from
being heard: the one that is waited for for longest goes. What it sends in between makes it no younger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: One in so many places is for strangers, however many callers are known: these would keep all others out.
_STRANGERS_SHARE: Final = 4


class Place:
    """One peer's place, from `Places.take`. Not to be shared between threads."""

    def __init__(self, places: Places, close: Callable[[], None]) -> None:
        self._places = places
        #: Ends the connection, whatever state it is in.
        self.close = close
        self.known = False

    def admit(self) -> None:
        """Its peer has asked something that it may ask, and is waited for to say the rest."""
        self.known = True
        self._places.rise(self)
        self._places.wait(self)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While this goes on it is not the peer that is waited for, and the place is kept."""
        self._places.rise(self)
        try:
            yield
        finally:
            self._places.wait(self)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else has it by now."""
        return not self._places.holds(self)

    def leave(self) -> None:
        """Give it back; a second time is nothing."""
        self._places.leave(self)


class Places:
    """At most `most` places."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._strangers_share = max(1, most // _STRANGERS_SHARE)
        self._held: set[Place] = set()
        #: Those whose peers are waited for, in the order in which they were last answered, or came.
        self._strangers: dict[Place, None] = {}
        self._known: dict[Place, None] = {}

    def take(self, close: Callable[[], None]) -> Place | None:
        """A place for a peer that comes; None while all of them are being answered."""
        if len(self._held) >= self._most and not self._make_room():
            return None
        place = Place(self, close)
        self._held.add(place)
        self.wait(place)
        return place

    def rise(self, place: Place) -> None:
        """It is not the peer that is waited for."""
        self._strangers.pop(place, None)
        self._known.pop(place, None)

    def wait(self, place: Place) -> None:
        """From now on the peer is waited for."""
        if place in self._held:
            (self._known if place.known else self._strangers)[place] = None

    def leave(self, place: Place) -> None:
        """It is free again."""
        self.rise(place)
        self._held.discard(place)

    def holds(self, place: Place) -> bool:
        """Whether it is one of these."""
        return place in self._held

    def _make_room(self) -> bool:
        few = len(self._strangers) < self._strangers_share
        first, second = (self._known, self._strangers) if few else (self._strangers, self._known)
        oldest = next(iter(first or second), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.close()
        return True
