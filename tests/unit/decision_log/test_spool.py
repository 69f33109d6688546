"""The spool: how it is full, what it brings back, and what damage does to it."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pdp.decision_log import segment
from pdp.decision_log.chain import stated
from pdp.decision_log.sinks import LogUnavailableError
from pdp.decision_log.slot import State, claim
from pdp.decision_log.spool import Spool, WhenFull
from pdp.private_directory import UntrustedDirectoryError
from tests.unit.decision_log.spools import MIB, World, dead, fill, numbers, record
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = pytest.mark.usefixtures("quick_spool")


def test_records_come_out_as_they_went_in(world: World) -> None:
    """Records of many segments arrive once, in order, in a whole chain, and nothing of them stays behind."""
    sink = world.sink("block")
    for number in range(3_000):
        sink.write(record(number))
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    wait_until(lambda: len(world.segments) <= 2, "the room is given back")
    world.close()
    assert numbers(world.medium.records) == list(range(3_000))
    assert [link.seq for link in world.whole_chain()] == [3_001]  # and the closing checkpoint
    assert world.problems == []


@pytest.mark.parametrize("system", ["writes", "writes in part", "fails"])
def test_records_of_one_batch_come_out_as_they_went_in(
    world: World, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that are written together arrive once, in order, in a whole chain, also where a segment ends.

    So it is if the system does not write them: then they are copied.
    """
    write, large = os.pwrite, []

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) < 100_000:
            return write(descriptor, data, offset)
        large.append(len(data))
        if system == "fails":
            raise OSError(errno.EIO, "it failed")
        return write(descriptor, data if system == "writes" else data[: len(data) // 2], offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    sink = world.sink("block")
    for start in range(0, 3_000, 100):
        sink.write_all(record(number) for number in range(start, start + 100))
    assert len(large) >= 10
    sink.write_all([])
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    assert numbers(world.medium.records) == list(range(3_000))
    world.whole_chain()


@pytest.mark.parametrize("when_full", ["deny", "drop"])
def test_a_batch_that_finds_no_room_is_told_of(world: World, when_full: WhenFull) -> None:
    """Of records written together those that find no room fail the batch, or are counted and told as a gap."""
    world.medium.error = dead()
    sink = world.sink(when_full)
    batch = [record(number) for number in range(2_000)]
    if when_full == "deny":
        with pytest.raises(LogUnavailableError):
            sink.write_all(batch)
    else:
        sink.write_all(batch)
    dropped = sink.status().dropped
    assert (dropped > 0) == (when_full == "drop")
    world.medium.error = None
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    sink.write_all([record(2_000), record(2_001)])
    wait_until(lambda: numbers(world.medium.records)[-1] == 2_001, "the next ones are delivered")
    kept = numbers(world.medium.records)[:-2]
    assert 500 < len(kept) < 2_000
    assert kept == list(range(len(kept)))
    assert any(b'"kind":"gap"' in line for line in world.medium.lines) == (when_full == "drop")
    world.whole_chain()


def test_a_record_may_be_larger_than_a_segment(world: World) -> None:
    """A record of a MiB and records of all sizes around a segment's come out whole."""
    sink = world.sink("block", limit=8 * MIB)
    sizes = [MIB, 2 * MIB - 300, 2 * MIB, 2 * MIB + 300, 3 * MIB, 1, *range(2 * MIB - 420, 2 * MIB - 180, 40)]
    for number, size in enumerate(sizes):
        sink.write(record(number, size))
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    assert numbers(world.medium.records) == list(range(len(sizes)))
    world.whole_chain()


def test_a_killed_writer_leaves_large_records_in_their_place(tmp_path: Path) -> None:
    """Segments are brought back in the order of their records, also where one was made ahead that was too small."""
    first = Spool(claim(tmp_path / "spool"), MIB, "deny")
    first.prepare()
    for number, size in enumerate((10, 300_000, 10, 10)):
        first.write(record(number, size))
    head = first.head
    os.close(first._slot._lock)  # as the end of the process does
    second = Spool(claim(tmp_path / "spool"), MIB, "deny")
    assert second.head == head
    assert numbers([line for batch in second.backlog.batches() for line in batch.lines]) == [0, 1, 2, 3]


@pytest.mark.parametrize("when_full", ["block", "drop", "deny"])
def test_a_record_that_never_fits_waits_for_nothing_useful(world: World, when_full: WhenFull) -> None:
    """A record larger than the whole spool is refused or dropped, and the next one goes through."""
    sink = world.sink(when_full)
    huge = record(0, 2 * MIB)
    if when_full == "drop":
        sink.write(huge)
    else:
        with pytest.raises(LogUnavailableError):
            sink.write(huge, lambda: 0.05)
    sink.write(record(1))
    wait_until(lambda: numbers(world.medium.records) == [1], "the next one is delivered")
    assert sink.status().dropped == (1 if when_full == "drop" else 0)


def test_a_record_that_never_fits_does_not_make_the_log_full(world: World) -> None:
    """Where one call's record was too large there is room for those of others, and the status says so."""
    sink = world.sink("deny")
    sink.write(record(0))
    wait_until(lambda: sink._spool._next is not None, "there is a segment ahead")
    with pytest.raises(LogUnavailableError):
        sink.write(record(1, 2 * MIB))
    wait_until(lambda: not sink.status().full, "there is room")
    wait_until(lambda: sink.status().failing is None, "nothing fails")


def test_a_dead_medium_fails_no_call_while_there_is_room(world: World) -> None:
    """Records are taken, the status tells how far behind it is and why, and they are delivered when it is back."""
    sink = world.sink()
    world.medium.error = dead()
    for number in range(100):
        sink.write(record(number))
    wait_until(lambda: sink.status().failing, "the failure shows")
    status = sink.status()
    assert (status.failing, status.lag_records, status.dropped) == ("input/output error", 100, 0)
    assert status.lag_bytes > 100_000
    assert status.oldest_unix_ns == 1_767_323_045_000_000_000
    world.medium.error = None
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    assert numbers(world.medium.records) == list(range(100))
    assert sink.status().failing is None
    assert any("input/output error" in problem for problem in world.problems)


def test_deny_fails_calls_when_full_and_disk_is_bounded(world: World) -> None:
    """When it is full a call fails, nothing grows, and when there is room again calls go on without a gap."""
    world.medium.error = dead()
    sink = world.sink("deny")
    taken = fill(sink)
    assert taken > 500
    for _ in range(50):
        with pytest.raises(LogUnavailableError, match="takes no records"):
            sink.write(record(0))
    assert sum(path.stat().st_size for path in world.segments) <= MIB
    world.medium.error = None
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    sink.write(record(taken))
    wait_until(lambda: len(world.medium.records) == taken + 1, "the next one too")
    assert numbers(world.medium.records) == list(range(taken + 1))
    world.whole_chain()


def test_drop_counts_and_tells_the_gap_in_the_log(world: World) -> None:
    """What is dropped is counted, told, and is a record of the chain, before the next one that is kept."""
    world.medium.error = dead()
    sink = world.sink("drop")
    for number in range(2_000):
        sink.write(record(number))
    dropped = sink.status().dropped
    assert 0 < dropped < 2_000
    world.medium.error = None
    wait_until(lambda: sink.status().lag_records == 0, "all is delivered")
    sink.write(record(2_000))
    wait_until(lambda: numbers(world.medium.records)[-1] == 2_000, "the next one is delivered")
    assert numbers(world.medium.records) == [*range(2_000 - dropped), 2_000]
    assert re.match(rb'\{"kind":"gap",.*"lost":%d,"since":"20' % dropped, world.medium.lines[-2])
    world.whole_chain()
    assert sink.status().dropped == dropped
    wait_until(lambda: any("dropped" in problem for problem in world.problems), "it is told")


def test_what_was_dropped_is_told_by_the_next_process(world: World) -> None:
    """A gap that could not be written before the end is the first thing that the next process writes."""
    world.medium.error = dead()
    sink = world.sink("drop")
    for number in range(2_000):
        sink.write(record(number))
    dropped = sink.status().dropped
    world.close()
    world.medium.error = None
    sink = world.sink("drop")
    sink.write(record(2_000))
    wait_until(lambda: 2_000 in numbers(world.medium.records), "the next one is delivered")
    assert b'"lost":%d,' % dropped in b"".join(world.medium.lines)
    world.whole_chain()


def test_block_waits_for_room(world: World) -> None:
    """A call waits while the medium is slow, and all of them are in the log in the end."""
    world.medium.gate = threading.Semaphore(0)
    sink = world.sink("block")

    def work() -> None:
        for number in range(2_000):
            sink.write(record(number))

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: sink.status().lag_bytes > MIB // 2, "it fills")
    world.medium.gate.release(10_000)
    thread.join(30)
    wait_until(lambda: len(world.medium.records) == 2_000, "all is delivered")
    assert numbers(world.medium.records) == list(range(2_000))


def test_block_waits_no_longer_than_the_caller(world: World) -> None:
    """When the caller's time is over the call fails."""
    world.medium.error = dead()
    sink = world.sink("block")
    assert fill(sink, remaining=lambda: 0.01) > 500


def test_nobody_waits_for_a_sink_that_closes(world: World) -> None:
    """A call that waits for room fails when the service stops."""
    world.medium.error = dead()
    sink = world.sink("block")
    failed = threading.Event()

    def work() -> None:
        try:
            while True:
                sink.write(record(0))
        except LogUnavailableError:
            failed.set()

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: sink.status().failing == "input/output error", "it fails")
    wait_until(lambda: sink._spool.refused, "it is full")
    world.close()
    assert failed.wait(10)
    thread.join()


def test_a_full_disk_is_noticed_when_room_is_reserved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up makes calls fail, not the process, and they go on when there is room."""
    sink = world.sink("deny", limit=64 * MIB)
    real = segment._reserve

    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(segment, "_reserve", full)
    taken = fill(sink, 50_000)
    assert 0 < taken < 400
    assert sink.status().failing == "no space left on device"
    monkeypatch.setattr(segment, "_reserve", real)
    wait_until(lambda: sink.status().failing is None, "the disk has room")
    sink.write(record(taken))
    wait_until(lambda: len(world.medium.records) == taken + 1, "all is delivered")
    world.whole_chain()


def test_what_is_left_is_delivered_first(world: World) -> None:
    """After a stop with a dead medium the next process goes on with the same chain, old records first."""
    world.medium.error = dead()
    sink = world.sink(limit=4 * MIB)
    for number in range(1_500):
        sink.write(record(number))
    world.close()
    assert any("1501 records wait" in problem for problem in world.problems)
    world.medium.error = None
    sink = world.sink(limit=4 * MIB)
    sink.write(record(1_500))
    wait_until(lambda: len(world.medium.records) == 1_501, "all is delivered")
    assert numbers(world.medium.records) == list(range(1_501))
    [head] = world.whole_chain()
    assert head.writer == sink._spool.head.writer


def left_behind(world: World, count: int) -> bytes:
    """The text of the spool of a process that delivered nothing of so many records."""
    world.medium.error = dead()
    sink = world.sink()
    for number in range(count):
        sink.write(record(number, 10))
    world.close()
    world.medium.error = None
    world.problems.clear()
    [path] = world.segments
    return path.read_bytes()


def _zeroed(text: bytes, begin: int, end: int) -> bytes:
    return text[:begin] + bytes(end - begin) + text[end:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text[:-1],
        lambda text: _zeroed(text, 400, 900),
        lambda text: _zeroed(text, 0, 50),
        lambda text: text.replace(b"authorize", b"\xff\x00thorize", 1),
        lambda text: text.replace(b"\n", b" ", 2),
        lambda text: b"",
        lambda text: bytes(len(text)),
        lambda text: b"\xff" * 5_000,
        lambda text: b"\n" * 5_000,
        lambda text: text + text,
    ],
)
def test_a_damaged_segment_stops_nothing(world: World, damage: Callable[[bytes], bytes]) -> None:
    """Whatever became of a segment, whole records of it are delivered as they are, and new ones go on."""
    text = left_behind(world, 20)
    [path] = world.segments
    path.write_bytes(damage(text))
    sink = world.sink()
    sink.write(record(100, 10))
    wait_until(lambda: 100 in numbers(world.medium.records), "the new one is delivered")
    whole = [line for line in text.splitlines() if line in damage(text).split(b"\n") and b"authorize" in line]
    assert set(whole) <= set(world.medium.lines)
    assert all(stated(line) for line in world.medium.lines)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b'"n":0,"filler"', b'"n":0,"fil\rer"'),
        lambda text: text.replace(b',"seq":5,', b',"seq":15,'),
        lambda text: text.replace(b"2026-01", b"2026-91"),
    ],
    ids=["a line end that is none", "a number", "no time"],
)
def test_a_damaged_record_takes_no_other_with_it(world: World, damage: Callable[[bytes], bytes]) -> None:
    """A record that says something else is delivered as it is, all others too, and the state can be told meanwhile."""
    text = left_behind(world, 20)
    [path] = world.segments
    assert damage(text) != text
    path.write_bytes(damage(text))
    with closing(claim(world.root)) as slot:
        slot.keep(State(delivered=2))
    world.medium.error = dead()
    sink = world.sink()
    wait_until(lambda: sink.status().failing, "it is tried")
    assert sink.status().lag_records == 19  # with the closing checkpoint
    world.medium.error = None
    sink.write(record(20, 10))
    wait_until(lambda: 20 in numbers(world.medium.records), "the new one is delivered")
    assert numbers(world.medium.records) == list(range(2, 21))


def test_no_number_of_lost_records_is_too_large(world: World) -> None:
    """A slot that says it lost as many as it can count goes on dropping, and fails no call."""
    with closing(claim(world.root)) as slot:
        slot.keep(State(0, 2**64 - 1, 1))
    sink = world.sink("drop")
    sink.write(record(0, 2 * MIB))
    assert sink.status().dropped == 1
    sink.write(record(1))
    wait_until(lambda: numbers(world.medium.records) == [1], "the next one is delivered")


@pytest.mark.parametrize("state", [b"", b"\0" * 28, b"\xff" * 28, b"x" * 1_000, b"\xff" * 5])
def test_a_damaged_state_repeats_at_most(world: World, state: bytes) -> None:
    """Without knowing what is delivered everything that is there is delivered, and new records after it."""
    left_behind(world, 20)
    (world.root / "writer-0" / "state").write_bytes(state)
    sink = world.sink()
    sink.write(record(20, 10))
    wait_until(lambda: 20 in numbers(world.medium.records), "the new one is delivered")
    assert numbers(world.medium.records) == list(range(21))


def test_two_sinks_have_two_slots(world: World) -> None:
    """Two processes never write into one slot, and what the second leaves the first delivers."""
    first, second = world.sink(), world.sink()
    first.write(record(1))
    second.write(record(2))
    wait_until(lambda: sorted(numbers(world.medium.records)) == [1, 2], "both are delivered")
    assert len(world.whole_chain()) == 2
    assert sorted(path.name for path in world.root.iterdir()) == ["writer-0", "writer-1"]


def test_a_spool_of_others_is_refused(tmp_path: Path) -> None:
    """A symbolic link in the place of the spool, a slot or a file is not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "root").symlink_to(elsewhere)
    with pytest.raises(UntrustedDirectoryError):
        claim(tmp_path / "root")
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "writer-0").symlink_to(elsewhere)
    with pytest.raises(UntrustedDirectoryError):
        claim(spool)
    (spool / "writer-0").unlink()
    (spool / "writer-0").mkdir()
    (spool / "writer-0" / "state").symlink_to(elsewhere / "file")
    with pytest.raises(OSError, match="symbolic"):
        claim(spool)
    assert list(elsewhere.iterdir()) == []


def _device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("nobody may make a device here")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # The name of a socket may not be long.
        here = os.open(path.parent, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


#: What is no file, but is named like a segment.
NO_FILES: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
    "link to a file": lambda path: path.symlink_to("/dev/null"),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "device": _device,
    "socket": _socket,
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_never_waited_for(world: World, kind: str) -> None:
    """What is no file in the place of a segment is an error that names it, at once: nobody waits for what it holds."""
    sink = world.sink()
    sink.write(record(1))
    world.close()
    name = f"{7:020d}{segment.SUFFIX}"
    NO_FILES[kind](world.root / "writer-0" / name)
    failed: list[OSError] = []

    def open_again() -> None:
        try:
            world.sink()
        except OSError as error:
            failed.append(error)

    opening = threading.Thread(target=open_again, daemon=True)
    opening.start()
    opening.join(LIMIT_SECONDS)
    assert not opening.is_alive(), "opening waits"
    assert failed
    assert failed[0].strerror == f"`{name}` is no regular file"


def test_what_is_no_file_in_a_slot_that_nobody_holds_stops_no_delivery(world: World) -> None:
    """In the slot of a dead process it is told, and the records of the living ones go on."""
    other = world.root / "writer-1"
    other.mkdir(parents=True)
    os.mkfifo(other / f"{0:020d}{segment.SUFFIX}")
    sink = world.sink()
    wait_until(lambda: any("is no regular file" in problem for problem in world.problems), "it is told")
    sink.write(record(1))
    wait_until(lambda: world.medium.records, "the record")


def test_memory_does_not_grow_with_what_waits(world: World) -> None:
    """Records that wait are on disk and in no object of this process."""
    world.medium.error = dead()
    sink = world.sink(limit=32 * MIB)
    made = time.monotonic()
    count = fill(sink)
    assert count > 20_000, made
    spool = sink._spool
    assert spool._next is None
    assert len(spool._segments) <= 9
