"""The thread that brings records from the spool to the medium, and does for the callers what would make them wait."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pdp.decision_log.backlog import Backlog, Batch
from pdp.decision_log.exporting import Exporter
from pdp.decision_log.marks import Refused, checkpoint_line
from pdp.decision_log.sieve import Sieve
from pdp.decision_log.slot import Slot, abandoned
from pdp.decision_log.spool import Spool
from pdp.errors import PdpError

_STEP_SECONDS = 0.05
_RETRY_SECONDS = 0.5
_SYNC_SECONDS = 1.0
_ADOPT_SECONDS = 5.0
_TELL_SECONDS = 10.0
_TIME = re.compile(rb'"time":"([0-9T:.-]{26})Z"')


#: Makes the exporter of a slot; may raise OSError.
OpenExporter = Callable[[int], Exporter]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """How often the chain is vouched for, in seconds, and with which key."""

    every_seconds: float
    key: Ed25519PrivateKey | None


class Drain:
    """Delivers what was found in the slot first, then what comes, and now and then what others left behind.

    `on_error` hears of failures, now and then while they last, and may itself fail.
    """

    def __init__(
        self,
        spool: Spool,
        slot: Slot,
        root: Path,
        open_exporter: OpenExporter,
        exporter: Exporter,
        checkpoints: Checkpoints,
        on_error: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._slot = slot
        self._root = root
        self._open_exporter = open_exporter
        self._exporter = Sieve(exporter, self._refused)
        self._checkpoints = checkpoints
        self._on_error = on_error
        self._closing = threading.Event()
        self._old: Iterator[Batch] | None = spool.backlog.batches()
        #: Up to where the backlog was delivered before. Not further: a number with damage may be any.
        self._old_delivered_seq = spool.delivered_seq
        self._batch: Batch | None = None
        #: Why the medium took nothing the last time; empty if it did.
        self.failing = ""
        self._told_at: dict[str, float] = {}
        self._synced_at = self._vouched_at = time.monotonic()
        self._adopted_at = -math.inf
        self._first_seq = self._vouched_seq = spool.head.seq
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def oldest_unix_ns(self) -> int | None:
        """When the oldest record that is not delivered was made; None also where damage made that no time."""
        batch = self._batch
        match = _TIME.search(batch.data) if batch is not None else None
        try:
            return int(datetime.fromisoformat(f"{match[1].decode()}+00:00").timestamp() * 1e9) if match else None
        except ValueError:
            return None

    @property
    def held_bytes(self) -> int:
        """The size of the batch that the medium is to take next."""
        batch = self._batch
        return len(batch.data) if batch is not None else 0

    def stop(self, seconds: float) -> bool:
        """Deliver what there is, for so long at most; whether the thread has ended."""
        self._closing.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.wait(_RETRY_SECONDS if self.failing else _STEP_SECONDS):
            self._attempt(self._step)
        self._attempt(self._finish)
        self._attempt(self._exporter.close)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the log writer: whatever happens, its thread goes on
            self._tell("the thread that writes it failed", f"{type(error).__name__}: {error}")

    def _step(self) -> None:
        now = time.monotonic()
        self._spool.prepare()
        if now - self._vouched_at >= self._checkpoints.every_seconds:
            self._vouch(closing=False)
        if now - self._synced_at >= _SYNC_SECONDS:
            self._synced_at = now
            self._sync()
        self._spool.populate()
        self._deliver()
        if now - self._adopted_at >= _ADOPT_SECONDS and not self.failing:
            self._adopted_at = now
            self._adopt()
        self._watch()

    def _finish(self) -> None:
        self._vouch(closing=True)
        self._deliver()
        self._sync()

    def _vouch(self, *, closing: bool) -> None:
        self._vouched_at = time.monotonic()
        head = self._spool.head
        if self._checkpoints.key is None:
            return  # whoever can write the log could write that too
        if head.seq == (self._first_seq if closing else self._vouched_seq):
            return
        line = checkpoint_line(time.time_ns(), head, self._checkpoints.key, closing=closing)
        if self._spool.offer(line):
            # Nothing new has come since if this is the chain's end.
            self._vouched_seq = head.seq + 1

    def _sync(self) -> None:
        try:
            self._spool.sync()
            self._exporter.sync()
        except OSError as error:
            self._tell("it cannot be made durable", _cause(error))

    def _deliver(self) -> None:
        """Deliver what there is. What comes meanwhile waits for the next time: many small batches would take from the
        callers what few large ones do not.
        """
        latest = self._spool.head.seq
        while self._batch is not None or self._next():
            batch = self._batch
            assert batch is not None
            if not self._exported(self._exporter, batch):
                return
            self._spool.delivered(batch.last_seq)
            self._batch = None
            self._spool.prepare()
            if self._old is None and batch.last_seq >= latest and not self._spool.has_finished():
                return

    def _next(self) -> bool:
        """Take the next batch to be delivered, if there is one."""
        if self._old is not None:
            for found in self._old:
                self._batch = found.after(self._old_delivered_seq)
                if self._batch is not None:
                    return True
            self._old = None
            self._tell_damage(self._spool.backlog)
            self._exporter.sync()
            self._spool.backlog_delivered()
        self._batch = self._spool.next_batch()
        while self._batch is None and self._spool.has_finished():
            self._exporter.sync()
            self._spool.remove_finished()
            self._batch = self._spool.next_batch()
        return self._batch is not None

    def _exported(self, exporter: Exporter, batch: Batch) -> bool:
        try:
            exporter.export(batch)
        except Exception as error:  # noqa: BLE001 - the log writer: an exporter's library may raise anything
            self.failing = _cause(error)
            self._tell("it cannot be written", self.failing)
            return False
        self.failing = ""
        return True

    def _adopt(self) -> None:
        """Deliver what processes left behind that do not come back."""
        for slot in abandoned(self._root, self._slot.number):
            try:
                self._deliver_slot(slot)
            except (OSError, PdpError) as error:
                self._tell("what another process left cannot be written", _cause(error))
            finally:
                slot.close()

    def _deliver_slot(self, slot: Slot) -> None:
        backlog = Backlog(slot)
        state = slot.state()
        if backlog.head is None or backlog.head.seq <= state.delivered:
            return
        with contextlib.closing(Sieve(self._open_exporter(slot.number), self._refused)) as exporter:
            for found in backlog.batches():
                batch = found.after(state.delivered)
                if batch is None:
                    continue
                if self._closing.is_set() or not self._exported(exporter, batch):
                    return
                slot.keep(state._replace(delivered=batch.last_seq))
            exporter.sync()
        self._tell_damage(backlog)
        backlog.remove(keep_last=True)

    def _refused(self, refused: Refused, count: int, only_marks: bool) -> None:
        since_ns = self.oldest_unix_ns or time.time_ns()
        # To tell at once that a gap was refused would make another one, and so on for ever.
        self._spool.lose_refused(None if only_marks else refused, count, since_ns)
        numbers = f"{refused.first_seq} to {refused.last_seq}" if refused.last_seq > refused.first_seq else None
        which = f"{count} of the records {numbers}" if numbers else f"the record {refused.first_seq}"
        self._tell("its sink refuses what it will never take", f"{which} of {refused.writer}: {refused.cause}")

    def _tell_damage(self, backlog: Backlog) -> None:
        if backlog.damaged_bytes:
            self._tell("the spool is damaged", f"{backlog.damaged_bytes} bytes of it make no sense")

    def _watch(self) -> None:
        if self._spool.dropped > self._dropped:
            self._dropped = self._spool.dropped
            self._tell("records are dropped", f"{self._dropped} since the start")

    def _tell(self, what: str, cause: str) -> None:
        now = time.monotonic()
        if now - self._told_at.get(what, -_TELL_SECONDS) < _TELL_SECONDS:
            return
        self._told_at[what] = now
        with contextlib.suppress(Exception):
            self._on_error(f"{what}: {cause}")


def _cause(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
