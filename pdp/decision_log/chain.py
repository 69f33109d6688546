"""Records that follow from one another. Pure: text goes in, text comes out.

Each record of a writer ends with who wrote it, its number, and a hash over the hash before it and its own text up to
there. Whoever changes, removes or moves a record has to write all later ones anew, and the signed ones cannot be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from pdp.decision_log.digests import sha256

#: How a record of a chain ends: the writer, the number, the hash.
_TRAILER = re.compile(rb',"writer":"([0-9a-f]{32})","seq":([1-9][0-9]{0,18}|0),"hash":"([0-9a-f]{64})"\}\Z')


class Link(NamedTuple):
    """Where a writer's chain stands: after the record `seq`, which has this hash. Records count from 1."""

    writer: str
    seq: int
    hash: bytes


def beginning(writer: str) -> Link:
    """Where the chain of a writer (32 hex digits) stands before its first record."""
    return Link(writer, 0, hashlib.sha256(writer.encode()).digest())


def linked(head: Link, record: str) -> tuple[Link, bytes]:
    """The record (a JSON object in ASCII, not an empty one) as the next line of the chain, with its line end."""
    writer, seq, before = head
    digest, line = _line(before, f'{record[:-1]},"writer":"{writer}","seq":{seq + 1}'.encode("ascii"))
    return Link(writer, seq + 1, digest), line


def all_linked(head: Link, records: Iterable[str]) -> tuple[Link, bytes]:
    """Records as the next lines of the chain, each as `linked` makes it, in one."""
    writer, seq, digest = head
    place, lines = f',"writer":"{writer}","seq":', []
    for record in records:
        seq += 1
        digest, line = _line(digest, f"{record[:-1]}{place}{seq}".encode("ascii"))
        lines.append(line)
    return Link(writer, seq, digest), b"".join(lines)


def _line(before: bytes, text: bytes) -> tuple[bytes, bytes]:
    """The hash of a record and all of it. `before` is the hash before it, `text` the record up to its own hash."""
    digest = sha256(before + text)
    return digest, b'%b,"hash":"%b"}\n' % (text, digest.hex().encode("ascii"))


def stated(line: bytes) -> Link | None:
    """What a line (without its line end) says of its place, or None if it is no line of a chain."""
    match = _TRAILER.search(line, max(0, len(line) - 256))
    if match is None:
        return None
    return Link(match[1].decode(), int(match[2]), bytes.fromhex(match[3].decode()))


def follows(head: Link, line: bytes) -> bool:
    """Whether this line (without its line end) is, byte for byte, what was written after `head`."""
    link = stated(line)
    if link is None or link[:2] != (head.writer, head.seq + 1):
        return False
    covered = line[: line.rindex(b',"hash":"')]
    return hashlib.sha256(head.hash + covered).digest() == link.hash
