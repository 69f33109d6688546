"""The snapshot in force: built beside the old one, swapped in with one assignment, never replaced by a bad one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pdp.bundle.archive import BundleReader
from pdp.bundle.edits import Edits, apply
from pdp.bundle.last_good import LastGood, LastGoodError
from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.source import Source, SourceLimits, make_source, source_file
from pdp.bundle.writing import BundleWriteError, BundleWriter
from pdp.errors import BundleError, Problem, UnavailableError


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What there is to say about the store. `degraded` says why the newest bundle is not what is served.

    Times are UTC. `problems` are those of the last attempt to load, warnings included.
    """

    snapshot: Snapshot | None = None
    loaded_at: datetime | None = None
    attempted_at: datetime | None = None
    degraded: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What came of one attempt: `changed` if a new revision is in force now; problems if the attempt failed."""

    changed: bool
    revision: str
    problems: tuple[Problem, ...] = ()


class SnapshotStore:
    """Holds the current snapshot of one bundle source and keeps it fresh.

    `current` may be called from any thread; reloads are serialised. `last_good` may be None to keep no copy, `writer`
    for a bundle that cannot be changed from here.
    """

    def __init__(
        self,
        reader: BundleReader,
        loader: Loader,
        last_good: LastGood | None,
        limits: SourceLimits,
        on_reload: Callable[[ReloadResult, StoreStatus], None] = lambda result, status: None,
        writer: BundleWriter | None = None,
    ) -> None:
        self._reader = reader
        self._loader = loader
        self._last_good = last_good
        self._limits = limits
        self._on_reload = on_reload
        self._writer = writer
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._status = StoreStatus()
        self._copied = ""
        self._told: tuple[object, ...] = ()
        self._news = threading.Condition()

    def current(self) -> Snapshot:
        """The snapshot in force. Raises UnavailableError before the first one is loaded."""
        snapshot = self._status.snapshot
        if snapshot is None:
            raise UnavailableError("no bundle is loaded yet")
        return snapshot

    @property
    def status(self) -> StoreStatus:
        """The state of the store at this moment."""
        return self._status

    def wait_for_news(self, seen: StoreStatus, seconds: float) -> StoreStatus:
        """The state of the store, as soon as it is not the one that was `seen`, or after this time."""
        with self._news:
            self._news.wait_for(lambda: self._status is not seen, seconds)
        return self._status

    @property
    def watch_paths(self) -> tuple[Path, ...]:
        """What to watch for changes."""
        return self._reader.watch_paths

    def start(self) -> ReloadResult:
        """Load for the first time; from the last good copy where the source is broken.

        Raises BundleError with the source's problems if there is no copy to fall back on.
        """
        result = self.reload()
        if self._status.snapshot is None:
            with self._lock:
                self._recover(result.problems)
            result = replace(result, revision=self.current().revision)
            self._tell(result)
        return result

    def reload(self) -> ReloadResult:
        """Read the source again; a good bundle replaces the snapshot, a bad one only adds to the status."""
        with self._lock:
            result = self._attempt()
        self._tell(result)
        return result

    def edit(self, change: Callable[[Source], Edits | None]) -> ReloadResult | None:
        """Change the bundle where it lies: what `change` makes of its files is loaded first, and written if it is good.

        None if `change` gives None: there is nothing to do. A bundle that would not load is a result with problems, and
        nothing is written. Raises BundleWriteError, also where this bundle cannot be written at all.
        """
        if self._writer is None:
            raise BundleWriteError("this bundle cannot be changed through the service")
        with self._lock:
            try:
                result = self._edit(change, self._writer)
            except BundleError as error:
                return ReloadResult(False, self._revision, error.problems)
        if result is not None:
            self._tell(result)
        return result

    def _edit(self, change: Callable[[Source], Edits | None], writer: BundleWriter) -> ReloadResult | None:
        source = self._reader.read(self._source)
        edits = change(source)
        if edits is None:
            return None
        files = [source_file(path, content) for path, content in apply(source, edits).items()]
        candidate = make_source(source.origin, files, source.warnings)
        if candidate.revision != source.revision:
            self._loader.load(candidate)
            writer.write(source, edits)
        # What is on the disk now is what counts; its parts have just been parsed.
        return self._attempt()

    @property
    def _revision(self) -> str:
        return self._status.snapshot.revision if self._status.snapshot else ""

    def _tell(self, result: ReloadResult) -> None:
        """Report what is new: looking again every few seconds must not repeat the same complaint."""
        with self._news:
            self._news.notify_all()
        news = (result.revision, result.problems, self._status.degraded)
        if news != self._told:
            self._told = news
            self._on_reload(result, self._status)

    def _attempt(self) -> ReloadResult:
        now = datetime.now(UTC)
        try:
            source = self._reader.read(self._source)
            if self._is_current(source):
                warnings = self._warnings(source)
                self._source = source
                snapshot = replace(self.current(), origin=source.origin)  # it may have come from the last good copy
                self._status = replace(
                    self._status, snapshot=snapshot, attempted_at=now, degraded=(), problems=warnings
                )
                self._keep_copy(source)
                return ReloadResult(False, source.revision)
            snapshot = self._loader.load(source)
        except BundleError as error:
            return self._failed(error.problems, now)
        self._source = source
        self._status = StoreStatus(snapshot, now, now, (), snapshot.warnings)
        self._keep_copy(source)
        return ReloadResult(True, snapshot.revision)

    def _warnings(self, source: Source) -> tuple[Problem, ...]:
        """The warnings about an unchanged bundle: what is said of files that are not loaded may have changed."""
        known = self._status.snapshot.warnings if self._status.snapshot else ()
        before = self._source.warnings if self._source else ()
        return tuple(sorted({*known} - {*before} | {*source.warnings}))

    def _is_current(self, source: Source) -> bool:
        snapshot = self._status.snapshot
        return snapshot is not None and snapshot.revision == source.revision

    def _failed(self, problems: Sequence[Problem], now: datetime) -> ReloadResult:
        errors = [problem for problem in problems if problem.severity == "error"]
        reason = f"the bundle does not load: {len(errors)} problem{'s' if len(errors) != 1 else ''}, first: {errors[0]}"
        self._status = replace(self._status, attempted_at=now, degraded=(reason,), problems=tuple(problems))
        return ReloadResult(False, self._revision, tuple(problems))

    def _recover(self, problems: Sequence[Problem]) -> None:
        source = self._last_good.load(self._limits) if self._last_good else None
        if source is None:
            refused = self._last_good.problems if self._last_good else ()
            raise BundleError([*problems, *refused])
        try:
            snapshot = self._loader.load(source)
        except BundleError as error:
            raise BundleError([*problems, *error.problems]) from error
        reason = f"serving the last good copy, revision {snapshot.revision}"
        self._copied = snapshot.revision
        self._status = replace(
            self._status,
            snapshot=snapshot,
            loaded_at=datetime.now(UTC),
            degraded=(*self._status.degraded, reason),
        )

    def _keep_copy(self, source: Source) -> None:
        """Write the last good copy; a copy that cannot be written degrades the service and stops nothing."""
        if self._last_good is None or self._copied == source.revision:
            return
        try:
            self._last_good.save(source)
            self._copied = source.revision
        except LastGoodError as error:
            reason = f"the last good copy is not written: {error}"
            self._status = replace(self._status, degraded=(*self._status.degraded, reason))
