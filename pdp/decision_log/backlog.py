"""What a dead process left in a slot of the spool, and records on their way to the medium."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pdp.decision_log.chain import Link
from pdp.decision_log.segment import Line, read_segment, segments_in
from pdp.decision_log.slot import Slot

#: A batch for the medium is about so large, or one record.
BATCH_BYTES = 256 * 1024


@dataclass(frozen=True)
class Batch:
    """Records of one writer whose numbers follow one another, each a line with its end."""

    writer: str
    first_seq: int
    data: bytes

    @property
    def lines(self) -> list[bytes]:
        """The records, without their line ends."""
        # A record with damage may hold a carriage return, which ends no line.
        return self.data.split(b"\n")[:-1]

    @cached_property
    def last_seq(self) -> int:
        """The number of the last one."""
        return self.first_seq + self.data.count(b"\n") - 1

    def after(self, seq: int) -> Batch | None:
        """What comes after the record of this number, if anything does."""
        if seq < self.first_seq:
            return self
        lines = self.lines[seq - self.first_seq + 1 :]
        return Batch(self.writer, seq + 1, _joined(lines)) if lines else None

    def halves(self) -> tuple[Batch, ...]:
        """It in two parts; none for a single record."""
        lines = self.lines
        middle = len(lines) // 2
        if not middle:
            return ()
        first, second = _joined(lines[:middle]), _joined(lines[middle:])
        return Batch(self.writer, self.first_seq, first), Batch(self.writer, self.first_seq + middle, second)


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


class Backlog:
    """The segments that were there, and where the chain stands after them. Raises OSError.

    Its records are read from disk when they are asked for.
    """

    def __init__(self, slot: Slot) -> None:
        self._paths = [path for _, path in segments_in(slot.directory)]
        self.last_number = max((number for number, _ in segments_in(slot.directory)), default=-1)
        self.head = self._trimmed()
        self.bytes = sum(path.lstat().st_size for path in self._paths)
        #: What made no sense in what has been read so far.
        self.damaged_bytes = 0

    def _trimmed(self) -> Link | None:
        """Give back the room that the newest segments reserved and did not use; where the chain stands."""
        header = None
        while self._paths:
            path = self._paths[-1]
            contents = read_segment(path)
            if contents.lines or len(self._paths) == 1:
                # A torn line is of a call that was never answered.
                os.truncate(path, contents.used - contents.torn_bytes)
                return contents.lines[-1].link if contents.lines else header or contents.header
            header = header or contents.header
            if contents.used and contents.header is None:
                return header  # nothing is thrown away that is not understood
            self._paths.pop().unlink()
        return header

    def batches(self) -> Iterator[Batch]:
        """Its records, in order."""
        for path in self._paths:
            contents = read_segment(path)
            self.damaged_bytes += contents.damaged_bytes + contents.torn_bytes
            yield from _batches(contents.lines)

    def remove(self, *, keep_last: bool) -> None:
        """All of it is delivered. The newest segment is kept where nothing else says where the chain stands."""
        for path in self._paths[: -1 if keep_last else None]:
            path.unlink(missing_ok=True)
        self._paths = []
        self.bytes = 0


def _batches(lines: list[Line]) -> Iterator[Batch]:
    """Lines whose numbers follow one another go together."""
    writer, first, next_seq, data = "", 0, 0, bytearray()
    for link, line in lines:
        if data and ((writer, next_seq) != link[:2] or len(data) >= BATCH_BYTES):
            yield Batch(writer, first, bytes(data))
            data.clear()
        if not data:
            writer, first = link.writer, link.seq
        data += line
        next_seq = link.seq + 1
    if data:
        yield Batch(writer, first, bytes(data))
