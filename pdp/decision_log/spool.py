"""What stands between a decision and the medium of its log: a chain of records on disk, of bounded size.

A record is in the kernel when `write` returns, so whatever becomes of this process, a call that was answered is in the
log. A loss of power can take what was not synced yet; the draining thread syncs every second.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pdp.decision_log.backlog import BATCH_BYTES, Backlog, Batch
from pdp.decision_log.chain import all_linked, beginning, linked
from pdp.decision_log.marks import Refused, gap_line
from pdp.decision_log.segment import Segment, room_for, segment_path
from pdp.decision_log.sinks import LogUnavailableError, Remaining
from pdp.decision_log.slot import MOST_LOST, Slot, State
from pdp.private_directory import sync

WhenFull = Literal["block", "drop", "deny"]

_MAX_SEGMENT_BYTES = 4 * 1024 * 1024
#: What a record gets at its end, or the record of a gap has in all, is less than this.
_MARK_BYTES = 512
_LEAST_POPULATED = 64 * 1024
#: A call without a deadline waits this long for room.
_MAX_BLOCK_SECONDS = 30.0


class Spool:
    """The writing side, for every thread that decides, and the reading side, for the thread that delivers.

    Raises OSError if the slot cannot be used, or the disk has no room for a single segment.
    """

    def __init__(self, slot: Slot, limit_bytes: int, when_full: WhenFull) -> None:
        self._slot = slot
        self._limit = limit_bytes
        self._when_full = when_full
        self._segment_bytes = min(_MAX_SEGMENT_BYTES, limit_bytes // 4)
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._segments: deque[Segment] = deque()
        self._next: Segment | None = None
        self._closed = False
        self.backlog = Backlog(slot)
        self._number = self._synced_number = self.backlog.last_number
        self._held_bytes = self.backlog.bytes
        self._state = slot.state()
        self.head = self.backlog.head or beginning(secrets.token_hex(16))
        if self.head.seq < self._state.delivered:
            # It belongs to another chain, or to nothing at all.
            self._state = self._state._replace(delivered=0)
        #: Why there is no room at the moment; empty if there is.
        self.refused = ""
        #: Records lost since this process began.
        self.dropped = 0
        self._disk_failed = False
        # The first segment is made whatever waits already, so that a service with a dead sink starts.
        segment = Segment(self._path_of_next(), self._segment_bytes)
        self._held_bytes += segment.size
        segment.start(self.head)
        self._segments.append(segment)
        #: The segment of the last time, and how much it held then.
        self._populated_for = segment, segment.used
        self._offset = self._segments[0].begin
        self._read_seq = self.head.seq

    # --- for those who decide ---

    def write(self, record: str, remaining: Remaining | None = None) -> None:
        """Take a record, without a line end. Raises LogUnavailableError where it cannot be kept and has to be."""
        with self._lock:
            kept = self._append(record) or self._kept_without_room(record, _until(remaining))
        if not kept:
            raise LogUnavailableError("the decision log takes no records at the moment")

    def write_all(self, records: Sequence[str], remaining: Remaining | None = None) -> None:
        """Take records in their order, each as `write` does."""
        with self._lock:
            if self._append_together(records):
                return
        for record in records:
            self.write(record, remaining)

    def write_each(self, records: Sequence[tuple[str, Remaining | None]]) -> list[bool]:
        """Take records of different calls in their order; whether each was kept, or need not be."""
        with self._lock:
            if self._append_together([record for record, _ in records]):
                return [True] * len(records)
            # All wait from now on, and not each for those before it.
            ends = [_until(remaining) for _, remaining in records]
            return [
                self._append(record) or self._kept_without_room(record, end)
                for (record, _), end in zip(records, ends, strict=True)
            ]

    def offer(self, record: str) -> bool:
        """Take a record if there is room for it at once."""
        with self._lock:
            return self._append(record)

    def _kept_without_room(self, record: str, end: float) -> bool:
        """Whether the record was kept by `end` after all, or need not be."""
        if self._when_full == "drop" and not self._closed:
            self._lose()
            return True
        return self._when_full == "block" and self._appended_by(record, end)

    def _appended_by(self, record: str, end: float) -> bool:
        while not self._closed and self._room.wait(end - time.monotonic()):
            if self._append(record):
                return True
        return False

    def _append(self, record: str) -> bool:
        if self._state.lost and not (self._has_room_after_gap(record) and self._append_gap()):
            return False
        return self._append_line(record)

    def _has_room_after_gap(self, record: str) -> bool:
        """A gap is told when it is over, and not wherever the end of a segment is too small for anything else."""
        needed = len(record) + 2 * _MARK_BYTES
        return self._segments[-1].fits(needed) or self._roll(needed)

    def _append_line(self, record: str) -> bool:
        if self._closed:
            return False
        head, data = linked(self.head, record)
        if not self._segments[-1].append(data) and not (self._roll(len(data)) and self._segments[-1].append(data)):
            return False
        self.head = head
        return True

    def _append_together(self, records: Sequence[str]) -> bool:
        """Take all of the records, if that is as simple as it mostly is, or none."""
        if self._closed or self._state.lost:
            return False
        head, data = all_linked(self.head, records)
        if not self._segments[-1].append(data):
            return False
        self.head = head
        return True

    def _append_gap(self) -> bool:
        state = self._state
        if not self._append_line(gap_line(time.time_ns(), state.lost, state.lost_since_ns)):
            return False
        self._keep(state._replace(lost=0, lost_since_ns=0))
        return True

    def _lose(self, count: int = 1) -> None:
        self.dropped += count
        state = self._state
        lost = min(state.lost + count, MOST_LOST)
        self._keep(state._replace(lost=lost, lost_since_ns=state.lost_since_ns or time.time_ns()))

    def _keep(self, state: State) -> None:
        self._state = state
        self._slot.keep(state)

    # --- room ---

    def _roll(self, line_bytes: int) -> bool:
        """Go on in a new segment, which holds a line of so many bytes."""
        segment = self._next
        if segment is not None and segment.fits(room_for(line_bytes)):
            self._next = None
        elif self._disk_failed:
            return False  # `prepare` tries again: not every call has to
        else:
            segment = self._made(max(self._segment_bytes, room_for(line_bytes)))
        if segment is None:
            return False
        segment.start(self.head)
        self._segments.append(segment)
        if self._next is not None:
            # Too small for this line. It has the lower number, and its lines will come later.
            self._next.move(self._path_of_next())
        return True

    def _made(self, size: int) -> Segment | None:
        if self._held_bytes + size > self._limit:
            self.refused = f"{self._held_bytes} of {self._limit} bytes are in use"
            return None
        try:
            segment = Segment(self._path_of_next(), size)
        except OSError as error:
            self._disk_failed = True
            self.refused = (error.strerror or str(error)).lower()
            return None
        self._disk_failed = False
        self.refused = ""
        self._held_bytes += size
        return segment

    def _path_of_next(self) -> Path:
        self._number += 1
        return segment_path(self._slot.directory, self._number)

    # --- for the thread that delivers ---

    def prepare(self) -> None:
        """Make the next segment ahead of need, and let those who wait for room look again."""
        with self._lock:
            if self._next is None and not self._closed:
                self._next = self._made(self._segment_bytes)
            if self._next is not None:
                # A record that was too large says nothing about the others.
                self.refused = ""
                self._room.notify_all()

    def populate(self) -> None:
        """Have memory at hand for about as much as came since the last time."""
        segment, before = self._segments[-1], self._populated_for
        self._populated_for = segment, segment.used
        if segment is not before[0]:
            # How much came is not known: some of it went into another segment.
            segment.populate(_LEAST_POPULATED)
        elif segment.used > before[1]:
            segment.populate(max(_LEAST_POPULATED, 2 * (segment.used - before[1])))

    def backlog_delivered(self) -> None:
        """Everything that was found at the start is delivered."""
        held = self.backlog.bytes
        self.backlog.remove(keep_last=False)
        with self._lock:
            self._held_bytes -= held
            self._room.notify_all()

    def next_batch(self) -> Batch | None:
        """Records after the last batch, or None if the segment that is read has no more."""
        segment = self._segments[0]
        return self._read(segment) if self._offset < segment.used else None

    def has_finished(self) -> bool:
        """Whether a segment has been read through and is written no more."""
        with self._lock:
            return len(self._segments) > 1 and self._offset >= self._segments[0].used

    def remove_finished(self) -> None:
        """Everything in that segment is delivered: give its room back."""
        with self._lock:
            segment = self._segments.popleft()
            self._offset = self._segments[0].begin
            self._held_bytes -= segment.size
            self._room.notify_all()
        segment.close(keep=False)

    def _read(self, segment: Segment) -> Batch:
        data = segment.read(self._offset, BATCH_BYTES)
        while b"\n" not in data:
            data = segment.read(self._offset, 2 * len(data))
        data = data[: data.rindex(b"\n") + 1]
        batch = Batch(self.head.writer, self._read_seq + 1, data)
        self._offset += len(data)
        self._read_seq = batch.last_seq
        return batch

    def delivered(self, seq: int) -> None:
        """Everything up to this record is with the medium."""
        with self._lock:
            self._keep(self._state._replace(delivered=seq))

    def lose_refused(self, refused: Refused | None, count: int, since_ns: int) -> None:
        """So many records are lost because the medium will not have them: tell which in the chain.

        Where the spool is full or closed, and for None, only their number is told, before the next record.
        """
        with self._lock:
            if refused is not None and self._append(gap_line(time.time_ns(), count, since_ns, refused)):
                self.dropped += count
            else:
                self._lose(count)

    @property
    def delivered_seq(self) -> int:
        """The number of the last record that is with the medium."""
        return self._state.delivered

    @property
    def waiting_bytes(self) -> int:
        """How much is written and not yet read, about."""
        with self._lock:
            return self.backlog.bytes + sum(segment.used for segment in self._segments) - self._offset

    def sync(self) -> None:
        """Make what is written survive a loss of power. Raises OSError."""
        with self._lock:
            segments = list(self._segments)
        for segment in segments:
            segment.sync()
        if self._synced_number != self._number:
            number = self._number
            sync(self._slot.directory)
            self._synced_number = number

    def close(self) -> None:
        """Take no more, and leave what was not delivered to whoever claims the slot next."""
        with self._lock:
            self._closed = True
            self._room.notify_all()
            if self._next is not None:
                self._next.close(keep=False)
                self._next = None
            for segment in self._segments:
                segment.close(keep=True)
            self._slot.close()


def _until(remaining: Remaining | None) -> float:
    """Until when a call waits for room, as a time of `time.monotonic`."""
    seconds = remaining() if remaining is not None else None
    return time.monotonic() + min(_MAX_BLOCK_SECONDS if seconds is None else seconds, _MAX_BLOCK_SECONDS)
