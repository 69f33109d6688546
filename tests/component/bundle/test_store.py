"""The snapshot in force: what replaces it, what does not, and what is said about it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pdp.bundle.archive import open_source, write_archive
from pdp.bundle.last_good import LastGood
from pdp.bundle.loader import Loader
from pdp.bundle.source import Source, SourceLimits
from pdp.bundle.store import ReloadResult, SnapshotStore, StoreStatus
from pdp.cedar.model import EntityUid, ToolQuery
from pdp.cedar.options import AuthorizeOptions
from pdp.errors import BundleError, Problem, UnavailableError
from tests.bundles import PERMIT_ALL, Files, memory_source, write_bundle

LIMITS = SourceLimits()
GOOD = {"policies/a.cedar": PERMIT_ALL}
BETTER = {"policies/a.cedar": PERMIT_ALL, "policies/b.cedar": f'@id("b") {PERMIT_ALL}'}
BAD = {"policies/a.cedar": PERMIT_ALL, "policies/b.cedar": "nonsense;"}


class MemoryReader:
    """Reads whatever `files` is at the moment; None stands for a source that cannot be read."""

    watch_paths: tuple[Path, ...] = (Path("/nowhere"),)

    def __init__(self, files: Files | None) -> None:
        self.files = files

    def read(self, previous: Source | None = None) -> Source:
        """The files."""
        if self.files is None:
            raise BundleError([Problem(".", 0, 0, "there is nothing to read")])
        return memory_source(self.files)


class Told:
    """What the store reported."""

    def __init__(self) -> None:
        self.calls: list[tuple[ReloadResult, StoreStatus]] = []

    def __call__(self, result: ReloadResult, status: StoreStatus) -> None:
        self.calls.append((result, status))


def _store(reader: Any, last_good: LastGood | None = None, told: Callable[..., None] | None = None) -> SnapshotStore:
    return SnapshotStore(reader, Loader(AuthorizeOptions()), last_good, LIMITS, told or Told())


def _reasons(store: SnapshotStore) -> list[str]:
    return list(store.status.degraded)


def _revision(files: Files) -> str:
    return memory_source(files).revision


# --- starting --------------------------------------------------------------------------------------------------------


def test_before_the_start_there_is_nothing() -> None:
    """A store that has not loaded anything has no snapshot to give."""
    store = _store(MemoryReader(GOOD))
    with pytest.raises(UnavailableError):
        store.current()
    assert store.status == StoreStatus()


def test_starting_loads_the_bundle() -> None:
    """After a start the bundle's snapshot is in force and nothing is degraded."""
    store = _store(MemoryReader(GOOD))
    result = store.start()
    assert (result.changed, result.revision, result.problems) == (True, _revision(GOOD), ())
    assert store.current().revision == _revision(GOOD)
    assert (_reasons(store), store.status.problems) == ([], ())
    assert store.status.loaded_at is not None
    assert store.status.loaded_at == store.status.attempted_at


def test_a_start_without_anything_fails_with_everything(tmp_path: Path) -> None:
    """With a broken source and no copy the start fails, with the problems of both."""
    (tmp_path / "stranger").write_text("")
    tmp_path.chmod(0o700)
    for last_good, more in ((None, []), (LastGood(tmp_path / "none"), []), (LastGood(tmp_path), ["stranger"])):
        store = _store(MemoryReader({"policies/a.cedar": "a;\nb;"}), last_good)
        with pytest.raises(BundleError) as caught:
            store.start()
        assert [(p.path, p.line) for p in caught.value.problems] == [
            ("policies/a.cedar", 1),
            ("policies/a.cedar", 2),
            *((path, 0) for path in more),
        ]
        with pytest.raises(UnavailableError):
            store.current()


@pytest.mark.parametrize("broken", [BAD, None], ids=["bad", "gone"])
def test_a_start_falls_back_on_the_last_good_copy(tmp_path: Path, broken: Files | None) -> None:
    """With a broken source the last good copy serves, and the status says so and why."""
    _store(MemoryReader(GOOD), LastGood(tmp_path / "state")).start()
    store = _store(MemoryReader(broken), LastGood(tmp_path / "state"))
    result = store.start()
    assert (result.changed, result.revision) == (False, _revision(GOOD))
    assert result.problems != ()
    assert store.current().revision == _revision(GOOD)
    first, second = _reasons(store)
    assert first.startswith("the bundle does not load: 1 problem, first: ")
    assert second == f"serving the last good copy, revision {_revision(GOOD)}"
    assert store.status.problems == result.problems


def test_a_mended_source_replaces_the_copy(tmp_path: Path) -> None:
    """Once the source loads again it serves, also if it holds the very revision of the copy, and all is well."""
    for mended in (GOOD, BETTER):
        _store(MemoryReader(GOOD), LastGood(tmp_path / "state")).start()
        reader = MemoryReader(BAD)
        store = _store(reader, LastGood(tmp_path / "state"))
        store.start()
        reader.files = mended
        assert store.reload().changed == (mended is BETTER)
        assert (_reasons(store), store.status.problems) == ([], ())
        assert store.current().revision == _revision(mended)


def test_a_copy_that_does_not_load_is_no_help(tmp_path: Path) -> None:
    """A copy that is intact but holds a bundle which does not load is reported with the source's problems."""
    LastGood(tmp_path / "state").save(memory_source({"policies/old.cedar": "nonsense;"}))
    with pytest.raises(BundleError) as caught:
        _store(MemoryReader(BAD), LastGood(tmp_path / "state")).start()
    assert [problem.path for problem in caught.value.problems] == ["policies/b.cedar", "policies/old.cedar"]


# --- reloading -------------------------------------------------------------------------------------------------------


def test_a_bad_bundle_changes_nothing_but_the_status() -> None:
    """Over any number of bad versions the old snapshot serves on; a good one ends the complaint."""
    reader = MemoryReader(GOOD)
    store = _store(reader)
    store.start()
    snapshot, loaded_at = store.current(), store.status.loaded_at
    for broken in (BAD, None, {"bundle.toml": "="}):
        reader.files = broken
        result = store.reload()
        assert (result.changed, result.revision) == (False, snapshot.revision)
        assert store.current().authorizer is snapshot.authorizer
        assert store.status.loaded_at == loaded_at
        assert store.status.problems == result.problems
        [reason] = _reasons(store)
        assert reason == f"the bundle does not load: 1 problem, first: {result.problems[0]}"
    reader.files = GOOD
    assert store.reload() == ReloadResult(False, snapshot.revision)
    assert store.current().authorizer is snapshot.authorizer
    assert (_reasons(store), store.status.problems) == ([], ())


def test_the_reason_names_an_error_and_counts_only_errors() -> None:
    """Where warnings come first, the reason for being degraded is still an error."""
    reader = MemoryReader(GOOD)
    store = _store(reader)
    store.start()
    reader.files = {"bundle.toml": '[action_groups]\nmine = ["nope/*"]', "policies/z.cedar": "a;\nb;"}
    store.reload()
    [reason] = _reasons(store)
    assert reason.startswith("the bundle does not load: 2 problems, first: policies/z.cedar:1:2: error: ")
    assert len(store.status.problems) == 3


def test_an_unchanged_bundle_keeps_its_snapshot() -> None:
    """Reading the same again keeps what decides, caches and all, and the warnings."""
    warned = {**GOOD, "bundle.toml": '[action_groups]\nmine = ["nope/*"]'}
    store = _store(MemoryReader(warned))
    store.start()
    snapshot, problems = store.current(), store.status.problems
    assert len(problems) == 1
    before = store.status.attempted_at
    assert store.reload() == ReloadResult(False, snapshot.revision)
    assert store.current().authorizer is snapshot.authorizer
    assert store.status.problems == problems
    assert before is not None
    assert store.status.attempted_at is not None
    assert store.status.attempted_at >= before


@pytest.mark.parametrize("attributes", [{"level": 1}, {"labels": ["a"]}], ids=["simple values", "others"])
def test_what_is_reused_follows_what_has_changed(attributes: dict[str, Any]) -> None:
    """An agent in a file that is not read again has the groups and the policies that there are now."""
    tools = json.dumps({"tools": [{"name": "read", "inputSchema": {"type": "object"}}]})
    files = {"entities/agents.json": _entity("Agent", "a", ["Team", "t"], attributes), "tools/s.json": tools}
    staff, guests = _entity("Team", "t", ["Group", "staff"]), _entity("Team", "t", ["Group", "guests"])
    allowing, refusing = (f'permit(principal in Group::"{name}", action, resource);' for name in ("staff", "nobody"))
    reader = MemoryReader(files)
    store = _store(reader)
    for groups, policies, allowed in (
        (guests, allowing, False),
        (staff, allowing, True),
        (guests, allowing, False),
        (staff, refusing, False),
        (staff, allowing, True),
    ):
        reader.files = {**files, "entities/groups.json": groups, "policies/a.cedar": policies}
        before = store.status.snapshot
        store.reload()
        snapshot = store.current()
        assert before is None or "entities/agents.json" not in snapshot.parsed
        for _ in range(2):
            assert snapshot.authorizer.authorize(ToolQuery(EntityUid("Agent", "a"), "s", "read")).allowed is allowed


def _entity(kind: str, name: str, parent: list[str], attributes: dict[str, Any] | None = None) -> str:
    parents = [{"type": parent[0], "id": parent[1]}]
    return json.dumps([{"uid": {"type": kind, "id": name}, "attrs": attributes or {}, "parents": parents}])


def test_the_same_complaint_is_told_once() -> None:
    """Looking again every few seconds reports a broken bundle once, and again when it loads, or breaks otherwise."""
    reader, told = MemoryReader(GOOD), Told()
    store = _store(reader, told=told)
    store.start()
    for files in (GOOD, BAD, BAD, BAD, GOOD, GOOD, BAD, {"bundle.toml": "="}):
        reader.files = files
        store.reload()
    assert [bool(result.problems) for result, _ in told.calls] == [False, True, False, True, True]


def test_reloads_from_many_threads_are_one_after_the_other() -> None:
    """Whoever reloads at once gets a true answer, and the last version read is the one in force."""
    reader = MemoryReader(GOOD)
    store = _store(reader)
    store.start()
    versions = [{**GOOD, "policies/n.cedar": f"{PERMIT_ALL} // {number}"} for number in range(20)]
    known = {_revision(files) for files in (GOOD, *versions)}
    seen: list[str] = []

    def work(number: int) -> None:
        reader.files = versions[number]
        seen.append(store.reload().revision)
        seen.append(store.current().revision)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) <= known
    store.reload()
    assert reader.files is not None
    assert store.current().revision == _revision(reader.files)


# --- the last good copy ----------------------------------------------------------------------------------------------


class FullDisk:
    """Writes copies until there is no room, and again when there is."""

    def __init__(self) -> None:
        self.is_full = False

    def __call__(self, source: Source, file: BinaryIO) -> None:
        """Write the copy, or a part of it."""
        if self.is_full:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_archive(source, file)


def test_a_full_disk_degrades_and_stops_nothing(tmp_path: Path) -> None:
    """A copy that cannot be written is said, the new bundle serves all the same, and the next look tries again."""
    disk = FullDisk()
    reader, last_good = MemoryReader(GOOD), LastGood(tmp_path / "state", write=disk)
    store = _store(reader, last_good)
    store.start()
    assert _reasons(store) == []
    disk.is_full, reader.files = True, BETTER
    assert store.reload().changed
    for _ in range(2):
        assert store.current().revision == _revision(BETTER)
        [reason] = _reasons(store)
        assert reason == (
            f"the last good copy is not written: the bundle cannot be kept in `{tmp_path}/state`: "
            "no space left on device"
        )
        assert not store.reload().changed
    assert [path.name for path in (tmp_path / "state").iterdir()] == [f"{_revision(GOOD)}.tar.gz"]
    disk.is_full = False
    store.reload()
    assert _reasons(store) == []
    assert [path.name for path in (tmp_path / "state").iterdir()] == [f"{_revision(BETTER)}.tar.gz"]


def test_bad_bundles_are_never_kept(tmp_path: Path) -> None:
    """The copy on disk is always the last version that loaded."""
    reader, last_good = MemoryReader(GOOD), LastGood(tmp_path / "state")
    store = _store(reader, last_good)
    store.start()
    for files, kept in ((BAD, GOOD), (BETTER, BETTER), (BAD, BETTER), (None, BETTER), (GOOD, GOOD)):
        reader.files = files
        store.reload()
        assert [path.name for path in (tmp_path / "state").iterdir()] == [f"{_revision(kept)}.tar.gz"]


def test_a_state_directory_that_is_a_file_degrades(tmp_path: Path) -> None:
    """Where no copy can be kept at all the service starts, and says so."""
    (tmp_path / "state").write_text("")
    store = _store(MemoryReader(GOOD), LastGood(tmp_path / "state"))
    assert store.start().changed
    [reason] = _reasons(store)
    assert reason.startswith("the last good copy is not written: ")


# --- what happens to a directory -------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A bundle on disk."""
    return write_bundle(tmp_path / "bundle", BETTER)


def _break(directory: Path, how: str) -> None:
    path = directory / "policies/b.cedar"
    if how == "directory removed":
        shutil.rmtree(directory)
    elif how == "directory replaced by a file":
        shutil.rmtree(directory)
        directory.write_text("")
    elif how == "everything in it removed":
        shutil.rmtree(directory / "policies")
    elif how == "file replaced by a directory":
        path.unlink()
        path.mkdir()
        (path / "x.cedar").mkdir()
        (directory / "bundle.toml").mkdir()
    elif how == "file replaced by a pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "file replaced by a link out":
        path.unlink()
        path.symlink_to("/etc/hostname")
    elif how == "file replaced by a link to nothing":
        path.unlink()
        path.symlink_to("nowhere.cedar")
    elif how == "file truncated":
        path.write_text(PERMIT_ALL[:-5])


@pytest.mark.parametrize(
    "how",
    [
        "directory removed",
        "directory replaced by a file",
        "everything in it removed",
        "file replaced by a directory",
        "file replaced by a pipe",
        "file replaced by a link out",
        "file replaced by a link to nothing",
        "file truncated",
    ],
)
def test_whatever_becomes_of_the_directory_the_snapshot_serves(directory: Path, tmp_path: Path, how: str) -> None:
    """Files and directories that vanish or turn into something else degrade the service; mended, all is well again."""
    store = _store(open_source(directory, LIMITS), LastGood(tmp_path / "state"))
    store.start()
    snapshot = store.current()
    _break(directory, how)
    result = store.reload()
    assert not result.changed
    assert result.problems != ()
    assert store.current().authorizer is snapshot.authorizer
    assert len(store.status.degraded) == 1
    restarted = _store(open_source(directory, LIMITS), LastGood(tmp_path / "state"))
    restarted.start()
    assert restarted.current().revision == snapshot.revision
    assert len(restarted.status.degraded) == 2
    if directory.is_dir():
        shutil.rmtree(directory)
    else:
        directory.unlink(missing_ok=True)
    write_bundle(directory, BETTER)
    for mended in (store, restarted):
        mended.reload()
        assert (_reasons(mended), mended.current().revision) == ([], snapshot.revision)


def test_a_file_that_vanishes_is_a_new_revision(directory: Path) -> None:
    """Removing a file is a change like any other, and its policies are gone."""
    store = _store(open_source(directory, LIMITS), None)
    store.start()
    (directory / "policies/b.cedar").unlink()
    assert store.reload() == ReloadResult(True, _revision(GOOD))
    assert store.current().counts.policies == 1


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path: Path) -> None:
    """A bundle at a path of strange bytes is served, and every text about it can be written as UTF-8."""
    directory = write_bundle(tmp_path / os.fsdecode(b"strange \xff\n"), GOOD)
    store = _store(open_source(directory, LIMITS), LastGood(tmp_path / os.fsdecode(b"state \xff")))
    store.start()
    assert store.current().origin.encode().endswith(b"strange \\udcff\\n")
    shutil.rmtree(directory)
    result = store.reload()
    for text in (*store.status.degraded, *map(str, result.problems)):
        assert text.encode()
