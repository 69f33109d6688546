"""Whatever is done to a log is found."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log.chain import Link, beginning, follows, linked, stated
from pdp.decision_log.marks import checkpoint_line, gap_line
from pdp.decision_log.verifying import Finding, Verification

WRITER = "0123456789abcdef" * 2
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def log(count: int, writer: str = WRITER, key: Ed25519PrivateKey | None = KEY) -> list[bytes]:
    """A log of so many records, and a checkpoint after every fourth and at the end."""
    head, lines = beginning(writer), []
    for number in range(1, count + 1):
        head, line = linked(head, f'{{"kind":"authorize","time":"2026-01-01T00:00:00.{number:06d}Z","n":{number}}}')
        lines.append(line)
        if number % 4 == 0 or number == count:
            closing = number == count
            head, line = linked(head, checkpoint_line(number * 1_000, head, key, closing=closing))
            lines.append(line)
    return lines


LOG = log(9)


def findings(lines: list[bytes], *, partial: bool = False, key: Ed25519PrivateKey | None = KEY) -> list[Finding]:
    """What is wrong with these lines."""
    verification = Verification([key.public_key()] if key else [], partial=partial)
    for number, line in enumerate(lines, start=1):
        verification.feed("log", number, line)
    return verification.finish()


def test_a_log_as_it_was_written() -> None:
    """Nothing is wrong with it, with and without a key, and the last checkpoint vouches for all of it."""
    assert findings(LOG) == []
    assert findings(LOG, key=None) == []
    verification = Verification([KEY.public_key()])
    for number, line in enumerate(LOG, start=1):
        verification.feed("log", number, line)
    [writer] = verification.writers.values()
    assert (writer.records, writer.checkpoints, writer.not_vouched, writer.closed) == (12, 3, 0, True)


def test_every_flipped_bit_is_found() -> None:
    """There is no bit in a log whose flipping is not found, neither with a key nor without."""
    for key in (KEY, None):
        for number, line in enumerate(LOG):
            for place in range(len(line)):
                for bit in (1, 4, 32, 128):
                    changed = bytearray(line)
                    changed[place] ^= bit
                    text = b"".join([*LOG[:number], bytes(changed), *LOG[number + 1 :]])
                    assert findings(text.splitlines(keepends=True), key=key), (number, place, bit)


def test_a_changed_record_is_named() -> None:
    """The finding names file, line, writer and number of the record, and nothing else is found."""
    changed = [*LOG[:5], LOG[5].replace(b'"n":5', b'"n":6'), *LOG[6:]]
    [finding] = findings(changed)
    assert finding == Finding("changed", finding.message, "log", 6, WRITER, 6)


@given(st.data())
def test_removed_records_are_found(data: st.DataObject) -> None:
    """Whichever lines are removed, but for some at the end, is found as exactly those that are missing."""
    gone = data.draw(st.sets(st.integers(0, len(LOG) - 2), min_size=1))
    left = [line for number, line in enumerate(LOG) if number not in gone]
    found = findings(left)
    missing = {seq - 1 for each in found if each.kind == "missing" for seq in _numbers(each)}
    assert missing == gone


def _numbers(finding: Finding) -> range:
    words = [int(word) for word in finding.message.split() if word.isdigit()]
    return range(words[0], words[-1] + 1)


@given(st.permutations(range(len(LOG))))
def test_reordered_records_are_found(order: list[int]) -> None:
    """Any order but the one they were written in is found."""
    assert bool(findings([LOG[number] for number in order])) is (order != sorted(order))


@given(st.integers(0, len(LOG) - 1), st.integers(0, len(LOG)))
def test_repeated_records_are_found(which: int, place: int) -> None:
    """A record that is there twice is found wherever it is put."""
    assert findings([*LOG[:place], LOG[which], *LOG[place:]])


def test_what_is_cut_off_at_the_end_is_not_vouched_for() -> None:
    """Nothing can find it; but what is left is not vouched for, or the time of the last checkpoint is old."""
    for count in range(1, len(LOG)):
        verification = Verification([KEY.public_key()])
        for number, line in enumerate(LOG[:count], start=1):
            verification.feed("log", number, line)
        kinds = {finding.kind for finding in verification.finish()}
        [writer] = verification.writers.values()
        assert not writer.closed
        assert kinds == (set() if count >= 5 else {"unsigned"})
        assert writer.not_vouched == (count if count < 5 else count - 5 if count < 10 else count - 10)


def test_a_chain_made_anew_does_not_get_past_the_key() -> None:
    """Who can write the files and has no key cannot change a record that a checkpoint vouches for."""
    for forged in (log(9, key=OTHER_KEY), log(9, key=None)):
        assert {finding.kind for finding in findings(forged)} & {"unknown_key", "unsigned"}
        assert findings(forged, key=None) == []  # without a key there is nothing to tell it by


def test_a_checkpoint_of_elsewhere_vouches_for_nothing() -> None:
    """A true signature over another record, another writer, another time or another meaning is found."""
    head, first = linked(beginning(WRITER), '{"kind":"authorize"}')
    true = checkpoint_line(1_000, head, KEY, closing=False)
    other = checkpoint_line(1_000, Link("f" * 32, 1, head.hash), KEY, closing=False)
    for line in (
        true.replace('"head_seq":1', '"head_seq":0'),
        true.replace(head.hash.hex(), "0" * 64),
        true.replace("1970", "2030"),
        true.replace(',"key"', ',"closing":true,"key"'),
        other,
    ):
        assert line != true
        kinds = {finding.kind for finding in findings([first, linked(head, line)[1]])}
        assert kinds & {"bad_signature", "wrong_checkpoint"}, line
    assert findings([first, linked(head, true)[1]]) == []


def test_a_rotated_beginning_may_be_missing() -> None:
    """With `partial` a log may begin anywhere, and all of the rest is still checked."""
    for first in range(1, len(LOG) - 1):
        assert {finding.kind for finding in findings(LOG[first:])} >= {"missing"}
        assert findings(LOG[first:], partial=True) == []
    changed = [LOG[2], LOG[3].replace(b'"n":4', b'"n":7'), *LOG[4:]]
    assert [finding.kind for finding in findings(changed, partial=True)] == ["changed"]


def test_writers_are_told_apart() -> None:
    """Two chains that are mixed in one file are two chains; a record of one that is moved into the other is found."""
    other = log(9, writer="f" * 32)
    mixed = [line for pair in zip(LOG, other, strict=True) for line in pair]
    assert findings(mixed) == []
    stolen = LOG[3].replace(WRITER.encode(), b"f" * 32)
    assert findings([*other[:3], stolen, *other[4:]])


def test_gaps_are_what_the_log_says() -> None:
    """Records that were lost when they were made are counted, and are no finding."""
    head, first = linked(beginning(WRITER), '{"kind":"authorize"}')
    head, second = linked(head, gap_line(5_000, 17, 1_000))
    verification = Verification()
    for number, line in enumerate((first, second), start=1):
        verification.feed("log", number, line)
    assert verification.finish() == []
    assert [(writer.lost, writer.gaps) for writer in verification.writers.values()] == [(17, 1)]


@given(st.lists(st.binary(max_size=400) | st.sampled_from(LOG), max_size=8))
def test_any_bytes_are_read(lines: list[bytes]) -> None:
    """Whatever a file holds, it is read to its end without an error."""
    findings(lines)
    findings(lines, partial=True)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.integers(0, 2**62))
def test_a_line_states_its_place(text: str, seq: int) -> None:
    """What was linked states exactly its own place, whatever it says before."""
    body = text.replace("\\", "").replace('"', "")
    head, line = linked(Link(WRITER, seq, bytes(32)), f'{{"text":"{body}"}}')
    assert stated(line[:-1]) == head
    assert follows(Link(WRITER, seq, bytes(32)), line[:-1])
