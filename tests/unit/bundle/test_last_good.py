"""Keeping the last good bundle on disk."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest

from pdp.bundle.archive import write_archive
from pdp.bundle.last_good import LastGood, LastGoodError, default_directory
from pdp.bundle.source import Source, SourceLimits, make_source, source_file

LIMITS = SourceLimits()


def bundle(text: str, **tests: bytes) -> Source:
    files = [source_file("policies/a.cedar", text.encode())]
    files += [source_file(f"tests/{name}", content) for name, content in tests.items()]
    return make_source("somewhere", files, ())


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def copy_of(source: Source) -> str:
    return f"{source.revision}.tar.gz"


# Saving and loading


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """A new process gets the bundle that was kept, under the same revision."""
    source = bundle("permit(principal, action, resource);")
    LastGood(tmp_path / "state").save(source)
    store = LastGood(tmp_path / "state")
    loaded = store.load(LIMITS)
    assert loaded is not None
    assert (dict(loaded.files), loaded.revision) == (dict(source.files), source.revision)
    assert loaded.origin == str(tmp_path / "state" / copy_of(source))
    assert store.problems == ()


def test_nothing_kept_is_no_problem(tmp_path: Path) -> None:
    """The first start of all finds nothing and has nothing to report, with or without a directory."""
    store = LastGood(tmp_path / "state")
    assert (store.load(LIMITS), store.problems) == (None, ())
    (tmp_path / "state").mkdir(mode=0o700)
    assert (store.load(LIMITS), store.problems) == (None, ())


def test_only_the_last_bundle_is_kept(tmp_path: Path) -> None:
    """Copies do not pile up: each save removes the one before it, also when saved twice."""
    store = LastGood(tmp_path)
    for text in ("one", "two", "two"):
        store.save(bundle(text))
    assert names(tmp_path) == [copy_of(bundle("two"))]


def test_going_back_to_an_older_bundle_keeps_that_one(tmp_path: Path) -> None:
    """The last bundle saved is the one that is loaded, whatever was saved before it and however often."""
    store = LastGood(tmp_path)
    for text in ("one", "two", "one"):
        store.save(bundle(text))
    loaded = store.load(LIMITS)
    assert loaded is not None
    assert loaded.revision == bundle("one").revision


def test_a_clock_turned_back_does_not_bring_back_an_older_bundle(tmp_path: Path) -> None:
    """A copy from what is now the future is replaced like any other."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    future = time.time() + 1_000_000
    os.utime(tmp_path / copy_of(bundle("one")), (future, future))
    store.save(bundle("two"))
    assert names(tmp_path) == [copy_of(bundle("two"))]


def test_the_tests_of_a_bundle_are_not_kept(tmp_path: Path) -> None:
    """A copy holds nothing that its name does not vouch for."""
    store = LastGood(tmp_path)
    store.save(bundle("one", a=b"not covered by the revision"))
    loaded = store.load(LIMITS)
    assert loaded is not None
    assert list(loaded.files) == ["policies/a.cedar"]


def test_nobody_else_may_read_or_enter(tmp_path: Path) -> None:
    """The directory is 0700 and the copy 0600, whatever the umask, also in a directory that was open before."""
    before = os.umask(0)
    try:
        (tmp_path / "open").mkdir(mode=0o777)
        for directory in (tmp_path / "open", tmp_path / "fresh"):
            LastGood(directory).save(bundle("one"))
            assert directory.stat().st_mode & 0o777 == 0o700
            assert (directory / copy_of(bundle("one"))).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_a_large_bundle_is_kept_without_being_copied_in_memory(tmp_path: Path) -> None:
    """Saving takes a small part of the bundle's size, and loading little more than the size itself."""
    size = 16 << 20
    source = make_source("somewhere", [source_file("interceptors/a.wasm", os.urandom(1 << 20) * 16)], ())
    store = LastGood(tmp_path)
    tracemalloc.start()
    store.save(source)
    _, saving = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    loaded = store.load(LIMITS)
    _, loading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert loaded is not None
    assert saving < size / 8
    assert loading < size * 1.5


# What must not be loaded


@pytest.mark.parametrize("keep", [0, 1, 20, 60, -1])
def test_a_truncated_copy_is_refused_and_reported(tmp_path: Path, keep: int) -> None:
    """A copy cut off anywhere is never loaded, and is named."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    path = tmp_path / copy_of(bundle("one"))
    path.write_bytes(path.read_bytes()[:keep])
    assert store.load(LIMITS) is None
    assert [problem.path for problem in store.problems] == [path.name]


def test_a_corrupt_copy_is_refused_and_reported(tmp_path: Path) -> None:
    """A single flipped bit anywhere in the copy either changes nothing or keeps it from loading."""
    store = LastGood(tmp_path)
    source = bundle("one")
    store.save(source)
    path = tmp_path / copy_of(source)
    intact = path.read_bytes()
    refused = 0
    for position in range(len(intact)):
        path.write_bytes(intact[:position] + bytes([intact[position] ^ 1]) + intact[position + 1 :])
        loaded = store.load(LIMITS)
        assert loaded is None or dict(loaded.files) == dict(source.files)
        assert (loaded is None) == bool(store.problems)
        refused += loaded is None
    assert refused > len(intact) / 2


def test_a_copy_of_another_bundle_under_this_name_is_refused(tmp_path: Path) -> None:
    """A good archive whose content is not what its name says is never loaded."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    (tmp_path / copy_of(bundle("one"))).rename(tmp_path / copy_of(bundle("two")))
    assert store.load(LIMITS) is None
    (problem,) = store.problems
    assert problem.path == copy_of(bundle("two"))
    assert bundle("one").revision in problem.message


def test_a_copy_under_a_name_of_another_kind_is_reported(tmp_path: Path) -> None:
    """An operator who renamed the copy learns why it is not used."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    (tmp_path / copy_of(bundle("one"))).rename(tmp_path / "good.tar.gz")
    assert store.load(LIMITS) is None
    assert [problem.path for problem in store.problems] == ["good.tar.gz"]


def test_an_older_intact_copy_is_better_than_none(tmp_path: Path) -> None:
    """If the newest copy is damaged and an older one is still there, that one is loaded and the damage reported."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    damaged = tmp_path / copy_of(bundle("two"))
    damaged.write_bytes(b"x")
    future = time.time() + 100
    os.utime(damaged, (future, future))
    loaded = store.load(LIMITS)
    assert loaded is not None
    assert loaded.revision == bundle("one").revision
    assert [problem.path for problem in store.problems] == [damaged.name]


def test_a_copy_over_the_limits_is_refused(tmp_path: Path) -> None:
    """Limits that were lowered since hold for the copy too."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    assert store.load(SourceLimits(max_file_bytes=1)) is None
    assert "may be 1" in store.problems[0].message


def test_a_link_in_the_place_of_a_copy_is_not_followed(tmp_path: Path) -> None:
    """A link with the name of a copy is refused although what it leads to is right."""
    store = LastGood(tmp_path / "state")
    store.save(bundle("one"))
    path = tmp_path / "state" / copy_of(bundle("one"))
    path.rename(tmp_path / "elsewhere.tar.gz")
    path.symlink_to(tmp_path / "elsewhere.tar.gz")
    assert store.load(LIMITS) is None
    assert [problem.path for problem in store.problems] == [path.name]


def test_a_directory_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    """Where anybody could have put a bundle with a matching name, nothing is loaded."""
    directory = tmp_path / "state"
    store = LastGood(directory)
    store.save(bundle("one"))
    for mode in (0o720, 0o702):
        directory.chmod(mode)
        assert store.load(LIMITS) is None
        assert "can be written by others" in store.problems[0].message


def test_a_directory_of_another_user_or_behind_a_link_is_not_trusted(tmp_path: Path) -> None:
    """Neither saves into nor loads from a directory that belongs to somebody else, or a link to one."""
    real = tmp_path / "real"
    LastGood(real).save(bundle("one"))
    (tmp_path / "link").symlink_to(real)
    untrusted = [tmp_path / "link"]
    if os.geteuid() == 0:
        (tmp_path / "foreign").mkdir(mode=0o700)
        os.chown(tmp_path / "foreign", 65534, -1)
        untrusted.append(tmp_path / "foreign")
    for directory in untrusted:
        store = LastGood(directory)
        with pytest.raises(LastGoodError, match="so no bundle is kept in it"):
            store.save(bundle("two"))
        assert store.load(LIMITS) is None
        assert len(store.problems) == 1
    assert names(real) == [copy_of(bundle("one"))]


# A disk that fails


def test_a_full_disk_leaves_the_copy_before(tmp_path: Path) -> None:
    """When the device itself says it is full, the error says so and the old copy still loads."""
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")

    def write(source: Source, file: BinaryIO) -> None:
        file.write(b"the first part of an archive")
        with Path("/dev/full").open("wb") as full:
            write_archive(source, full)

    LastGood(tmp_path).save(bundle("one"))
    with pytest.raises(LastGoodError, match="no space left on device") as caught:
        LastGood(tmp_path, write=write).save(bundle("two"))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert names(tmp_path) == [copy_of(bundle("one"))]
    assert LastGood(tmp_path).load(LIMITS) is not None


def test_a_write_cut_short_by_the_system_leaves_the_copy_before(tmp_path: Path) -> None:
    """The real file cannot grow any further in the middle of the archive: an error, no half copy, nothing left over."""
    store = LastGood(tmp_path)
    store.save(bundle("one"))
    big = make_source("somewhere", [source_file("interceptors/a.wasm", os.urandom(1 << 20))], ())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, hard))
    try:
        with pytest.raises(LastGoodError, match="file too large"):
            store.save(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == [copy_of(bundle("one"))]
    store.save(big)
    assert names(tmp_path) == [copy_of(big)]


def test_a_file_system_that_is_full_leaves_the_copy_before(tmp_path: Path) -> None:
    """On a file system with no room left the save fails, the old copy loads, and room made later is used."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "pdp-test", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("may not mount a file system")
    try:
        store = LastGood(tmp_path / "state")
        store.save(bundle("one"))
        big = make_source("somewhere", [source_file("interceptors/a.wasm", os.urandom(800_000))], ())
        filler = tmp_path / "filler"
        filler.write_bytes(bytes(500_000))
        with pytest.raises(LastGoodError, match="no space left on device"):
            store.save(big)
        assert names(tmp_path / "state") == [copy_of(bundle("one"))]
        filler.unlink()
        store.save(big)
        assert names(tmp_path / "state") == [copy_of(big)]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_directory_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    """A path through a file is no foreign exception, on saving and on loading."""
    (tmp_path / "file").write_text("x")
    store = LastGood(tmp_path / "file" / "state")
    with pytest.raises(LastGoodError, match=str(tmp_path / "file" / "state")):
        store.save(bundle("one"))
    assert store.load(LIMITS) is None
    assert "not a directory" in store.problems[0].message


def test_missing_permission_is_an_error_with_its_path() -> None:
    """A place where this user may not write is no foreign exception."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            with pytest.raises(LastGoodError, match="permission denied"):
                LastGood(Path(root) / "state").save(bundle("one"))
        finally:
            if is_root:
                os.seteuid(0)


def test_what_a_killed_writer_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    """Unfinished files do not fill the disk, and the next save does not take them from a process at work."""
    store = LastGood(tmp_path)
    (tmp_path / ".unfinished-dead").write_bytes(b"x")
    os.utime(tmp_path / ".unfinished-dead", (1, 1))
    (tmp_path / ".unfinished-live").write_bytes(b"x")
    store.save(bundle("one"))
    assert names(tmp_path) == [".unfinished-live", copy_of(bundle("one"))]
    assert store.load(LIMITS) is not None
    assert store.problems == ()


# Several at once

WRITER = """
import sys
from pathlib import Path
from pdp.bundle.last_good import LastGood
from pdp.bundle.source import make_source, source_file

store = LastGood(Path(sys.argv[1]))
for number in range(20):
    text = f"{sys.argv[2]} {number % 3}".encode()
    store.save(make_source("x", [source_file("policies/a.cedar", text * 20_000)], ()))
"""


@pytest.mark.slow
def test_processes_that_write_at_once_do_not_corrupt_each_other(tmp_path: Path) -> None:
    """With three processes saving, every load of a fourth gets an intact bundle, and one copy is left at the end."""
    store = LastGood(tmp_path)
    store.save(bundle("first"))
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name]) for name in ("a", "b", "c")]
    try:
        while any(writer.poll() is None for writer in writers):
            assert store.load(LIMITS) is not None
            assert store.problems == ()
    finally:
        codes = [writer.wait(60) for writer in writers]
    assert codes == [0, 0, 0]
    store.save(bundle("last"))
    assert names(tmp_path) == [copy_of(bundle("last"))]


def test_a_save_never_removes_a_newer_copy(tmp_path: Path) -> None:
    """While one process is still writing, another finishes: both are done, and the last one written stays."""
    writing, finished = threading.Event(), threading.Event()

    def write_slowly(source: Source, file: BinaryIO) -> None:
        writing.set()
        assert finished.wait(30)
        write_archive(source, file)

    slow = threading.Thread(target=LastGood(tmp_path, write=write_slowly).save, args=(bundle("slow"),))
    slow.start()
    assert writing.wait(30)
    LastGood(tmp_path).save(bundle("fast"))
    finished.set()
    slow.join(30)
    assert names(tmp_path) == [copy_of(bundle("slow"))]


def test_a_copy_that_another_process_wrote_later_is_left_alone(tmp_path: Path) -> None:
    """Cleaning up after a save removes what is older than the own copy, and not what came after it."""
    store = LastGood(tmp_path)
    store.save(bundle("ours"))
    later = tmp_path / copy_of(bundle("theirs"))
    later.write_bytes(b"x")
    os.utime(later, (time.time() + 100, time.time() + 100))
    store._remove_older_than(copy_of(bundle("ours")))
    assert names(tmp_path) == sorted([copy_of(bundle("ours")), later.name])


# Where copies are kept


@pytest.mark.parametrize(
    ("environ", "base"),
    [
        ({"PDP_STATE_DIR": "/state", "XDG_STATE_HOME": "/xdg", "HOME": "/nowhere/x"}, "/state"),
        ({"XDG_STATE_HOME": "/xdg", "HOME": "/nowhere/x"}, "/xdg/pdp"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/nowhere/x"}, "/nowhere/x/.local/state/pdp"),
        ({"PDP_STATE_DIR": "", "XDG_STATE_HOME": "", "HOME": "/nowhere/x"}, "/nowhere/x/.local/state/pdp"),
        ({}, "/var/lib/pdp"),
    ],
)
def test_the_directory_follows_the_environment(environ: dict[str, str], base: str) -> None:
    """The first of the documented variables that is set decides."""
    assert str(default_directory(Path("/srv/bundle"), environ).parent) == base


def test_every_bundle_has_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bundles never share a directory, one path written in two ways does, and a link keeps its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    def directory(path: str) -> Path:
        return default_directory(Path(path), {"HOME": "/nowhere/x"})

    assert directory("real") == directory(f"{tmp_path}/x/../real") == directory("./real/")
    assert len({directory("real"), directory("link"), directory("other")}) == 3
