"""Calls that one thread answers right after another, and that are told their answers together.

Between two calls so much memory is needed for reading and sending messages that the code and the data of the last steps
are no longer in the processor's caches: keeping a record and sending an answer cost several times what they cost in a
row. So a thread that has more calls to answer takes these steps for several of them at once, first all records and then
all answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Held(NamedTuple):
    """A record that is not kept yet: its line or what makes it, and what tells how many seconds its caller waits."""

    line: str | Callable[[], str]
    remaining: Callable[[], float | None] | None


class Keeper(Protocol):
    """Where records are kept."""

    def keep_each(self, records: Sequence[Held]) -> Sequence[bool]:
        """Take records of different calls in their order; whether each may be answered for."""


class _Ready(NamedTuple):
    """A call that is answered and not told."""

    record: Held | None
    when_told: Callable[[], None] | None
    tell: Callable[[], None]
    again: Callable[[], None]

    def told(self) -> None:
        try:
            if self.when_told is not None:
                self.when_told()
        finally:
            # Its record is kept; whoever cannot count it must not have its caller wait for ever.
            self.tell()


class Turn:
    """What one thread has decided and told nobody. No answer goes out before its record is kept.

    `began` is for whoever decides how long it lasts.
    """

    def __init__(self) -> None:
        self.began = 0.0
        self._ready: list[_Ready] = []
        self._keeper: Keeper | None = None
        self._record: Held | None = None
        self._when_told: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._ready)

    def begin(self) -> None:
        """A call begins in this thread that may be told later; `end` ends what `begin` began."""
        _thread.turn = self

    def end(self) -> None:
        """The call is answered, or has failed: then its record, if it has one, is of no answer, and is not kept."""
        _thread.turn = None
        when_told, self._record, self._when_told = self._when_told, None, None
        if when_told is not None:
            when_told()

    def hold(self, keeper: Keeper, record: Held) -> bool:
        """Take the record of the call that is answered now, for `keeper`; False where it has to be kept at once."""
        if self._record is not None or (self._ready and self._keeper not in (None, keeper)):
            return False
        self._keeper, self._record = keeper, record
        return True

    def when_told(self, told: Callable[[], None]) -> None:
        """Have `told` called when the call that is answered now is told, or at its end if there is no answer."""
        self._when_told = told

    def put(self, tell: Callable[[], None], again: Callable[[], None]) -> None:
        """The call that is answered now is to be told by `tell`, or answered `again` where its record is not kept."""
        self._ready.append(_Ready(self._record, self._when_told, tell, again))
        self._record = self._when_told = None

    def settle(self) -> None:
        """Keep the records, then tell everybody. Raises the last of what was raised meanwhile, when all is done.

        A call that is being answered may ask for it before it has a record: the others do not wait for it then.
        """
        if not self._ready:
            return
        answering, _thread.turn = _thread.turn, None
        try:
            self._settle()
        finally:
            _thread.turn = answering

    def _settle(self) -> None:
        ready, self._ready = self._ready, []
        keeper, self._keeper = self._keeper, None
        failure: BaseException | None = None
        kept: Sequence[bool] = ()
        records = [call.record for call in ready if call.record is not None]
        if keeper is not None and records:
            try:
                kept = keeper.keep_each(records)
            except BaseException as error:  # noqa: BLE001 - these calls would wait for ever
                failure = error
        results = iter(kept)
        for call in ready:
            try:
                if call.record is None or next(results, False):
                    call.told()
                else:
                    call.again()
            except BaseException as error:  # noqa: BLE001 - as above
                failure = error
        if failure is not None:
            raise failure


class _Thread(threading.local):
    turn: Turn | None = None


_thread = _Thread()


def tell_others() -> None:
    """What follows may take long: whoever is answered in this thread's turn is told now."""
    if _thread.turn is not None:
        _thread.turn.settle()


def current() -> Turn | None:
    """The turn of the call that this thread answers now, if that may be told later."""
    return _thread.turn
