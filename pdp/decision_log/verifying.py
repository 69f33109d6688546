"""Whether a log is what was written. Pure: lines go in, findings come out."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pdp.decision_log.absent import Absent
from pdp.decision_log.chain import Link, beginning, follows, stated
from pdp.decision_log.marks import MARK_BEGINS, STUB_BEGIN, key_name, vouches
from pdp.decision_log.refusals import Refusals


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: in which file and line (from 1; 0 for none in particular), with whose record.

    `kind` is for programs: `changed`, `missing`, `out_of_order`, `repeated`, `torn`, `no_record`, `bad_signature`,
    `unsigned`, `unknown_key`, `wrong_checkpoint`.
    """

    kind: str
    message: str
    file: str = ""
    line: int = 0
    writer: str = ""
    seq: int = 0


@dataclass(slots=True)
class Writer:
    """What was found of one writer."""

    id: str
    first_seq: int
    head: Link
    records: int = 0
    #: Records that were lost when they were made, as the log itself says.
    lost: int = 0
    gaps: int = 0
    #: Records that the sink did not take, and that a stub stands for.
    refused: int = 0
    checkpoints: int = 0
    #: The last record that a good checkpoint vouches for, and when that was made.
    vouched_seq: int = 0
    vouched_time: str = ""
    closed: bool = False
    absent: Absent = field(default_factory=Absent)
    #: The hash of each record that a checkpoint may still name, in order.
    recent: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    #: Where each stub stands, and the hash in it; and the head before the last line, if that was one.
    stubs: dict[int, tuple[str, int, str]] = field(default_factory=dict)
    before_stub: Link | None = None

    @property
    def not_vouched(self) -> int:
        """How many records came after what a signed checkpoint vouches for; the checkpoint itself is none of them."""
        return max(0, self.head.seq - self.vouched_seq - (1 if self.vouched_time else 0))


#: A checkpoint names a record that is at most so many before it: what came while it was made.
_RECENT = 10_000
#: What the writer can count to.
_MOST_LOST = 2**64 - 1


class Verification:
    """Reads the lines of a log in their order. `keys` are those that may sign; without any, signatures are not checked.

    With `partial` a writer's first records need not be there: they were rotated away. Nothing can tell that from their
    removal; what comes first then is taken as it is.
    """

    def __init__(self, keys: Sequence[Ed25519PublicKey] = (), *, partial: bool = False) -> None:
        self._keys = {key_name(key): key for key in keys}
        self._partial = partial
        self.writers: dict[str, Writer] = {}
        self.findings: list[Finding] = []
        self._refusals = Refusals()

    def feed(self, file: str, number: int, line: bytes) -> None:
        """The next line, with its line end if it has one."""
        link = stated(line[:-1]) if line.endswith(b"\n") else None
        if link is None:
            kind = "no_record" if line.endswith(b"\n") else "torn"
            message = "is no record of a chain" if kind == "no_record" else "has no end"
            self.findings.append(Finding(kind, message, file, number))
            return
        self._take(file, number, line[:-1], link)

    def finish(self) -> list[Finding]:
        """Everything that is wrong, once all lines were fed."""
        for writer in self.writers.values():
            self.findings += self._doubtful(writer)
            for gap in writer.absent.ranges():
                first, last = gap[0], gap[-1]
                text = f"record {first} is missing" if first == last else f"records {first} to {last} are missing"
                text += self._refusals.remark(writer.id, gap)
                self.findings.append(Finding("missing", text, writer=writer.id, seq=gap[0]))
            if self._keys and not writer.vouched_time:
                self.findings.append(Finding("unsigned", "no checkpoint vouches for any record", writer=writer.id))
        return self.findings

    def _doubtful(self, writer: Writer) -> Iterator[Finding]:
        """Records that have stubs, and that nothing to be believed says to be refused."""
        for seq, (file, line, digest) in writer.stubs.items():
            doubt = self._refusals.doubt(writer.id, seq, digest, self._is_vouched)
            if doubt:
                yield Finding("missing", f"record {seq} is missing: {doubt}", file, line, writer.id, seq)

    def _is_vouched(self, place: tuple[str, int]) -> bool:
        """Whoever can write the log could have put a gap at the end of a chain, to explain what they removed."""
        return not self._keys or place[1] <= self.writers[place[0]].vouched_seq

    def _take(self, file: str, number: int, line: bytes, link: Link) -> None:
        writer = self.writers.get(link.writer)
        if writer is None:
            writer = self.writers[link.writer] = self._begun(line, link)
        head = writer.head
        place: dict[str, Any] = {"file": file, "line": number, "writer": link.writer, "seq": link.seq}
        is_stub = line.startswith(STUB_BEGIN)
        if link == head and not is_stub and _was_taken_after_all(writer, line):
            self._look_into(writer, line, place)
            return
        if link.seq <= head.seq:
            self.findings.append(_passed(writer, link.seq, place))
            return
        if link.seq > head.seq + 1:
            writer.absent.jump(range(head.seq + 1, link.seq))
        # Whether a stub has the record's hash shows in the next record.
        elif not is_stub and not follows(head, line) and not (self._partial and not head.hash):
            self.findings.append(Finding("changed", "does not follow from the record before it", **place))
        # What it says of itself is what the next one was made from, if it is this line that was changed.
        writer.head = link
        _remember(writer.recent, link)
        writer.before_stub = head if is_stub else None
        if is_stub:
            writer.refused += 1
            writer.stubs[link.seq] = (file, number, link.hash.hex())
            return
        writer.records += 1
        self._look_into(writer, line, place)

    def _begun(self, line: bytes, link: Link) -> Writer:
        first = link.seq if self._partial else 1
        head = beginning(link.writer) if first == 1 else Link(link.writer, first - 1, b"")
        return Writer(link.writer, first, head)

    def _look_into(self, writer: Writer, line: bytes, place: dict[str, Any]) -> None:
        is_mark = line.startswith(MARK_BEGINS)
        writer.closed = False
        try:
            record = json.loads(line) if is_mark else {}
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self.findings.append(Finding("changed", "is not JSON", **place))
        elif record.get("kind") == "gap":
            lost = record.get("lost")
            if type(lost) is not int or not 0 < lost <= _MOST_LOST:
                self.findings.append(Finding("changed", "is a gap that does not say how much was lost", **place))
            elif self._refusals.tell(record, (writer.id, place["seq"])):
                writer.gaps += 1
                writer.lost += lost
        elif record.get("kind") == "checkpoint":
            writer.checkpoints += 1
            finding = self._checkpoint(writer, record, place)
            if finding is not None:
                self.findings.append(finding)

    def _checkpoint(self, writer: Writer, record: Mapping[str, Any], place: dict[str, Any]) -> Finding | None:
        seq, digest, moment = record.get("head_seq"), record.get("head"), record.get("time")
        closing = record.get("closing") is True
        if type(seq) is not int or not isinstance(digest, str) or not isinstance(moment, str):
            return Finding("wrong_checkpoint", "is a checkpoint that says nothing", **place)
        known = writer.recent.get(seq)
        if known is None or known.hex() != digest:
            if known is None and self._partial and seq < writer.first_seq:
                return None
            return Finding("wrong_checkpoint", f"vouches for another record {seq} than the one that is here", **place)
        if not self._keys:
            return None
        key = self._keys.get(str(record.get("key")))
        if "signature" not in record:
            return Finding("unsigned", "is a checkpoint without a signature", **place)
        if key is None:
            return Finding("unknown_key", f"is signed with another key, `{record.get('key')}`", **place)
        head = Link(writer.id, seq, known)
        if not vouches(key, str(record["signature"]), head, moment, closing=closing):
            return Finding("bad_signature", "is a checkpoint whose signature is wrong", **place)
        writer.vouched_seq, writer.vouched_time = seq, moment
        writer.closed = closing and seq == place["seq"] - 1
        return None


def _remember(recent: OrderedDict[int, bytes], link: Link) -> None:
    recent[link.seq] = link.hash
    while next(iter(recent)) <= link.seq - _RECENT:
        recent.popitem(last=False)


def _was_taken_after_all(writer: Writer, line: bytes) -> bool:
    """Whether this is the record that the stub just before it stands for; the stub is forgotten then."""
    if writer.before_stub is None or not follows(writer.before_stub, line):
        return False
    del writer.stubs[writer.head.seq]
    writer.before_stub = None
    writer.refused -= 1
    writer.records += 1
    return True


def _passed(writer: Writer, seq: int, place: dict[str, Any]) -> Finding:
    """A record with a number that the chain has passed already."""
    if writer.absent.came(seq):
        return Finding("out_of_order", "stands after later records", **place)
    return Finding("repeated", "is there twice", **place)
