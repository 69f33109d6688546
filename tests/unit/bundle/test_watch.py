"""Noticing changes of a bundle."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pdp.bundle.archive import open_source
from pdp.bundle.source import SourceLimits
from pdp.bundle.watch import Watcher
from pdp.errors import BundleError

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 30.0
QUIET_SECONDS = 0.4  # longer than a watcher takes to look again and to gather a burst

State = dict[str, bytes] | None


def state_of(path: Path) -> State:
    """Everything at or below a path, or `None` while it is being changed."""
    files = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    try:
        return {str(file): file.read_bytes() for file in files}
    except OSError:
        return None


class Changes:
    """Counts calls and what is there at each, and waits for what a test expects."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self.seen: State = None
        self._path = path
        self.errors: list[Exception] = []
        self.act: Callable[[], None] = lambda: None
        self._condition = threading.Condition()

    def on_change(self) -> None:
        seen = state_of(self._path)
        with self._condition:
            self.count += 1
            self.seen = seen
            self._condition.notify_all()
        self.act()

    def on_error(self, error: Exception) -> None:
        with self._condition:
            self.errors.append(error)
            self._condition.notify_all()

    def wait(self, is_there: Callable[[], bool]) -> None:
        with self._condition:
            assert self._condition.wait_for(is_there, PATIENCE_SECONDS), "nothing was noticed"

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Expects a call that sees what the block did, and starts when no call for anything else is due."""
        before = -1
        while before != self.count:
            before = self.count
            threading.Event().wait(QUIET_SECONDS)
        yield
        done = state_of(self._path)
        self.wait(lambda: self.count > before and self.seen == done)


@contextmanager
def watching(path: Path, force_polling: bool = False, rescan_seconds: float = 0) -> Iterator[Changes]:
    """A watcher that has begun: no change after this is missed for another reason than the watcher's."""
    changes = Changes(path)
    watcher = Watcher(
        [path],
        changes.on_change,
        on_error=changes.on_error,
        force_polling=force_polling,
        rescan_seconds=rescan_seconds,
    )
    watcher.start()
    try:
        if path.parent.exists():
            changes.wait(lambda: changes.count > 0)
        yield changes
    finally:
        watcher.stop()
    assert changes.errors == []


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    root = tmp_path / "place" / "bundle"
    (root / "policies" / "deep").mkdir(parents=True)
    (root / "policies" / "a.cedar").write_text("one")
    return root


@pytest.mark.parametrize("force_polling", [False, True])
def test_every_kind_of_change_in_a_directory_is_noticed(bundle: Path, force_polling: bool) -> None:
    """Writing, adding, renaming and removing files and directories, however deep, and those added while watching."""
    with watching(bundle, force_polling) as changes:
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("another")
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("as long")
        with changes.noticed():
            (bundle / "policies/deep/b.cedar").write_text("b")
        with changes.noticed():
            (bundle / "policies/deep/b.cedar").rename(bundle / "policies/deep/c.cedar")
        with changes.noticed():
            (bundle / "policies/new/er").mkdir(parents=True)
        with changes.noticed():
            (bundle / "policies/new/er/d.cedar").write_text("d")
        with changes.noticed():
            shutil.rmtree(bundle / "policies/new")


def test_files_that_arrive_with_their_directory_are_never_missed(bundle: Path) -> None:
    """The last call comes after the last file, although its directory was not yet watched when it was written."""
    with watching(bundle) as changes:
        seen: set[str] = set()
        changes.act = lambda: seen.update(str(path.relative_to(bundle)) for path in bundle.rglob("*.cedar"))
        for number in range(10):
            (bundle / f"policies/n{number}/er").mkdir(parents=True)
            (bundle / f"policies/n{number}/er/d.cedar").write_text("d")
        expected = {f"policies/n{number}/er/d.cedar" for number in range(10)}
        changes.wait(lambda: expected <= seen)


@pytest.mark.parametrize("force_polling", [False, True])
def test_a_directory_that_is_removed_and_made_again_is_still_watched(bundle: Path, force_polling: bool) -> None:
    """After the bundle was gone for a while, changes in its successor are noticed."""
    with watching(bundle, force_polling) as changes:
        with changes.noticed():
            shutil.rmtree(bundle)
        with changes.noticed():
            (bundle / "policies").mkdir(parents=True)
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")


def test_a_directory_whose_parents_are_removed_too_is_still_watched(bundle: Path) -> None:
    """With nothing left to watch the watcher looks itself, and goes on when everything is back."""
    with watching(bundle) as changes:
        with changes.noticed():
            shutil.rmtree(bundle.parent)
        with changes.noticed():
            (bundle / "policies").mkdir(parents=True)
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")


def test_a_bundle_that_does_not_exist_yet_is_waited_for(bundle: Path) -> None:
    """A watcher started before there is anything notices when it comes, and what then changes in it."""
    shutil.rmtree(bundle.parent)
    with watching(bundle) as changes:
        with changes.noticed():
            (bundle / "policies").mkdir(parents=True)
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("one")


def test_a_directory_replaced_by_renaming_is_noticed(bundle: Path) -> None:
    """A prepared directory that is moved into place is noticed, and so are changes in it afterwards."""
    prepared = bundle.parent / "prepared"
    shutil.copytree(bundle, prepared)
    with watching(bundle) as changes:
        with changes.noticed():
            bundle.rename(bundle.parent / "old")
            prepared.rename(bundle)
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")


@pytest.mark.parametrize("link", ["current", "current/bundle"])
def test_a_link_pointed_elsewhere_is_noticed(tmp_path: Path, link: str) -> None:
    """Switching a release, when the bundle is the link and when it lies behind it, and changes in the new one."""
    for release in ("1", "2"):
        (tmp_path / f"releases/{release}/bundle").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    with watching(tmp_path / link) as changes:
        with changes.noticed():
            (tmp_path / "next").symlink_to("releases/2")
            (tmp_path / "next").rename(tmp_path / "current")
        with changes.noticed():
            (tmp_path / link / "bundle.toml").write_text("x")


def test_the_swap_of_a_mounted_config_map_is_noticed(tmp_path: Path) -> None:
    """Kubernetes replaces the link `..data` and touches nothing else."""
    root = tmp_path / "mount"
    for version in ("..1", "..2"):
        (root / version / "policies").mkdir(parents=True)
        (root / version / "policies/a.cedar").write_text(version)
    (root / "..data").symlink_to("..1")
    (root / "policies").symlink_to("..data/policies")
    with watching(root) as changes, changes.noticed():
        (root / "..data_tmp").symlink_to("..2")
        (root / "..data_tmp").rename(root / "..data")


@pytest.mark.parametrize("force_polling", [False, True])
def test_an_archive_replaced_by_renaming_is_noticed(tmp_path: Path, force_polling: bool) -> None:
    """An archive that is swapped, removed, put back or written in place is noticed each time."""
    path = tmp_path / "bundle.tgz"
    path.write_bytes(b"one")
    with watching(path, force_polling) as changes:
        for content in (b"two", b"three"):
            with changes.noticed():
                (tmp_path / "upload").write_bytes(content)
                (tmp_path / "upload").replace(path)
        with changes.noticed():
            path.unlink()
        with changes.noticed():
            path.write_bytes(b"four")
        with changes.noticed():
            path.write_bytes(b"fifth")


def test_an_archive_behind_a_link_is_watched_where_it_is(tmp_path: Path) -> None:
    """Both the file that a link leads to and the link itself can change."""
    (tmp_path / "store").mkdir()
    for name in ("1.tgz", "2.tgz"):
        (tmp_path / "store" / name).write_bytes(b"x")
    path = tmp_path / "bundle.tgz"
    path.symlink_to("store/1.tgz")
    with watching(path) as changes:
        with changes.noticed():
            (tmp_path / "store/1.tgz").write_bytes(b"longer")
        with changes.noticed():
            (tmp_path / "next").symlink_to("store/2.tgz")
            (tmp_path / "next").rename(path)


def test_reading_is_not_a_change(bundle: Path) -> None:
    """A call that reads the bundle does not cause the next one, or the service would reload for ever."""
    reader = open_source(bundle, SourceLimits())
    reads = 0

    def read() -> None:
        nonlocal reads
        reader.read()
        reads += 1

    with watching(bundle) as changes:
        changes.act = read
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")
        settled = threading.Event()
        settled.wait(0.5)
        before = reads
        settled.wait(1.5)
        assert reads == before


def test_neighbours_of_the_bundle_do_not_matter(bundle: Path) -> None:
    """What happens beside the bundle, in a directory that others use too, causes no calls."""
    with watching(bundle) as changes:
        before = changes.count
        for number in range(5):
            (bundle.parent / f"neighbour{number}").write_text("x")
        threading.Event().wait(0.5)
        assert changes.count == before
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")


def test_a_rescan_comes_without_any_change(bundle: Path) -> None:
    """Where the operating system tells nothing, the bundle is looked at every so often."""
    with watching(bundle, rescan_seconds=0.05) as changes:
        changes.wait(lambda: changes.count >= 4)


def test_a_rescan_comes_while_there_is_nothing_to_watch(tmp_path: Path) -> None:
    """A path below directories that do not exist is looked at every so often too."""
    with watching(tmp_path / "no/where/bundle", rescan_seconds=0.05) as changes:
        changes.wait(lambda: changes.count >= 3)


def test_a_call_that_fails_is_reported_and_made_again(bundle: Path) -> None:
    """An error in the callback neither ends the watcher nor gets lost, and the change is delivered in the end."""
    changes = Changes(bundle)
    failures = iter([BundleError([]), RuntimeError("a bug")])

    def fail_twice() -> None:
        if (error := next(failures, None)) is not None:
            raise error

    changes.act = fail_twice
    watcher = Watcher([bundle], changes.on_change, on_error=changes.on_error, rescan_seconds=0)
    watcher.start()
    try:
        changes.wait(lambda: changes.count >= 4)
        assert [type(error) for error in changes.errors] == [BundleError, RuntimeError]
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")
    finally:
        watcher.stop()


def test_a_watcher_that_cannot_watch_reports_it_and_looks_instead(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a working notification service every attempt is reported and looks at the bundle, until one works."""

    def refuse(*_: object, **__: object) -> object:
        raise OSError(28, "OS file watch limit reached")

    changes = Changes(bundle)
    with monkeypatch.context() as patched:
        patched.setattr("watchfiles.watch", refuse)
        watcher = Watcher([bundle], changes.on_change, on_error=changes.on_error, rescan_seconds=0)
        watcher.start()
        try:
            changes.wait(lambda: len(changes.errors) >= 3 and changes.count >= 2)
        except AssertionError:
            watcher.stop()
            raise
    try:
        reported = len(changes.errors)
        changes.wait(lambda: changes.count >= reported + 1)
        with changes.noticed():
            (bundle / "policies/a.cedar").write_text("two")
    finally:
        watcher.stop()


def test_a_parent_that_may_not_be_read_does_not_matter() -> None:
    """A bundle in a directory that may only be passed through is watched all the same."""
    with tempfile.TemporaryDirectory() as place:
        bundle = Path(place) / "closed" / "bundle"
        bundle.mkdir(parents=True)
        bundle.parent.chmod(0o311)
        Path(place).chmod(0o755)
        bundle.chmod(0o777)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            with watching(bundle) as changes, changes.noticed():
                (bundle / "bundle.toml").write_text("two")
        finally:
            if is_root:
                os.seteuid(0)
            bundle.parent.chmod(0o755)


def test_stopping_ends_the_thread_and_the_calls(bundle: Path) -> None:
    """After `stop` returned there is no thread and no call, however often it is called, also from a call."""
    for stop_from_inside in (False, True):
        changes = Changes(bundle)
        watcher = Watcher([bundle], changes.on_change, on_error=changes.on_error, rescan_seconds=0.05)
        if stop_from_inside:
            changes.act = watcher.stop
        watcher.start()
        changes.wait(lambda: changes.count > 0)  # noqa: B023 - called at once
        watcher.stop()
        watcher.stop()
        after = changes.count
        (bundle / "policies/a.cedar").write_text("two")
        threading.Event().wait(0.2)
        assert changes.count == after
        assert changes.errors == []
        assert "bundle-watcher" not in [thread.name for thread in threading.enumerate()]


def test_a_watcher_that_never_started_can_be_stopped(bundle: Path) -> None:
    """Closing everything in reverse order works when starting failed half-way."""
    Watcher([bundle], lambda: None, on_error=lambda _: None).stop()
