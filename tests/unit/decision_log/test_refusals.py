"""A log whose sink refused records can be verified, and nobody can use that to remove others."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log.chain import Link, beginning, linked, stated
from pdp.decision_log.marks import Refused, checkpoint_line, gap_line, stub_line
from pdp.decision_log.verifying import Finding, Verification, Writer

WRITER, OTHER = "0123456789abcdef" * 2, "f" * 32
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def place(line: bytes) -> Link:
    """What a line says of its place."""
    found = stated(line[:-1])
    assert found is not None
    return found


def chain(*records: str, writer: str = WRITER) -> list[bytes]:
    """These records as a chain, with a signed checkpoint at its end."""
    head, lines = beginning(writer), []
    for record in records:
        head, line = linked(head, record)
        lines.append(line)
    return [*lines, linked(head, checkpoint_line(1, head, KEY, closing=False))[1]]


def record(number: int) -> str:
    """A record."""
    return f'{{"kind":"authorize","n":{number}}}'


def gap(line: bytes) -> str:
    """The gap that tells of this record."""
    writer, seq, digest = place(line)
    return gap_line(1, 1, 1, Refused(writer, seq, seq, digest, "too large"))


def refused_log() -> list[bytes]:
    """Five records, of which the third was refused, the gap, and a checkpoint."""
    records = [record(number) for number in range(1, 6)]
    lines = chain(*records, gap(chain(*records)[2]))
    lines[2] = stub_line(1, place(lines[2]), "too large")
    return lines


def verified(lines: list[bytes], *, key: bool = True, partial: bool = False) -> tuple[list[Finding], dict[str, Writer]]:
    """What is wrong, and the writers."""
    verification = Verification([KEY.public_key()] if key else [], partial=partial)
    for number, line in enumerate(lines, start=1):
        verification.feed("log", number, line)
    return verification.finish(), verification.writers


def test_a_refused_record_is_counted_and_nothing_is_wrong() -> None:
    """With the stub, and the gap that the checkpoint vouches for, the log is whole, and says what it does not have."""
    for key in (True, False):
        for partial in (True, False):
            found, writers = verified(refused_log(), key=key, partial=partial)
            assert found == []
            writer = writers[WRITER]
            assert (writer.refused, writer.lost, writer.gaps, writer.records, writer.head.seq) == (1, 1, 1, 6, 7)


def test_a_gap_that_is_told_twice_counts_once() -> None:
    """A process that was killed after it told of a refused record tells it again."""
    line = chain(record(1))[0]
    lines = chain(record(1), gap(line), gap(line))
    lines[0] = stub_line(1, place(line), "no")
    found, writers = verified(lines)
    assert found == []
    assert writers[WRITER].lost == 1


def test_another_process_may_tell_it() -> None:
    """Who delivers what a dead process left tells in its own chain what was refused of that."""
    left = chain(record(1), record(2))
    told = chain(gap(left[1]), writer=OTHER)
    left[1] = stub_line(1, place(left[1]), "no")
    assert verified(left + told)[0] == []
    assert verified(told + left)[0] == []


def test_a_checkpoint_may_name_a_refused_record() -> None:
    """The hash in the stub is what the checkpoint signed."""
    lines = chain(record(1))
    lines[0] = stub_line(1, place(lines[0]), "no")
    assert [finding.kind for finding in verified(lines)[0]] == ["missing"]  # for want of a gap, and nothing else


def test_a_stub_without_a_gap_hides_nothing() -> None:
    """Whoever replaces a record by a stub has removed it: it is missing."""
    lines = chain(*map(record, range(1, 6)))
    lines[2] = stub_line(1, place(lines[2]), "too large")
    [finding] = verified(lines)[0]
    assert (finding.kind, finding.seq, finding.line) == ("missing", 3, 3)
    assert "no gap in the chain" in finding.message


def test_a_gap_that_nothing_vouches_for_hides_nothing() -> None:
    """Whoever removes a record, and tells of a refusal at the end of the chain or in a chain of their own, is found."""
    lines = chain(*map(record, range(1, 6)))
    forged = gap(lines[2])
    end = linked(place(lines[-1]), forged)[1]
    own = linked(beginning(OTHER), forged)[1]
    lines[2] = stub_line(1, place(lines[2]), "too large")
    for more in (end, own):
        findings = verified([*lines, more])[0]
        assert "missing" in [finding.kind for finding in findings]


def test_a_stub_with_another_hash_is_found() -> None:
    """What comes after a stub follows from its hash, and the gap has it too."""
    lines = refused_log()
    lines[2] = stub_line(1, place(lines[2])._replace(hash=bytes(32)), "too large")
    assert {finding.kind for finding in verified(lines)[0]} == {"missing", "changed"}


def test_what_follows_a_stub_cannot_be_changed() -> None:
    """A stub is no place behind which a record can be made anew."""
    lines = refused_log()
    lines[3] = lines[3].replace(b'"n":4', b'"n":9')
    assert [finding.kind for finding in verified(lines)[0]] == ["changed"]


def test_a_record_that_came_after_its_stub_is_there() -> None:
    """A sink that took the record after all has both, and nothing is missing."""
    lines = chain(record(1), record(2))
    lines.insert(1, stub_line(1, place(lines[1]), "no"))
    found, writers = verified(lines)
    assert found == []
    assert (writers[WRITER].refused, writers[WRITER].records) == (0, 3)


def test_records_that_a_sink_does_not_name_are_missing() -> None:
    """Where a sink says how many it did not take and not which, what is missing is named, with what the log says."""
    lines = chain(*map(record, range(1, 6)), gap_line(1, 1, 1, Refused(WRITER, 2, 5, b"", "too old")))
    del lines[2]
    [finding] = verified(lines)[0]
    assert finding.kind == "missing"
    assert finding.message == ("record 3 is missing; the log says that its sink did not take 1 of the records 2 to 5")


@pytest.mark.parametrize(
    "refused", ["null", "[]", '{"writer":1}', '{"writer":"a","first_seq":"1","last_seq":2}', '{"writer":[],"hash":{}}']
)
def test_a_gap_may_say_anything(refused: str) -> None:
    """What a gap says of refusals in no known form is nothing."""
    assert verified(chain(f'{{"kind":"gap","lost":1,"refused":{refused}}}'))[0] == []


@given(st.lists(st.sampled_from(refused_log()), max_size=12))
def test_any_lines_are_read(lines: list[bytes]) -> None:
    """Lines of such a log in any order and number are findings, never failures; only a beginning of it is none."""
    found, _ = verified(lines)
    assert found or lines in ([], refused_log())
