"""The snapshot in force: built beside the old one, swapped in with one assignment, never replaced by a bad one."""

from __future__ import annotations

import math
import threading
import time
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

_NOT_LOADED = "no bundle is loaded yet"
_TOO_OLD = "the bundle could not be read again for longer than `server.max_snapshot_age_seconds` allows"


def since_boot() -> float:
    """Seconds that the machine has been up, also those in which it was suspended, where that can be told."""
    boot: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


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
        *,
        max_age_seconds: float = 0.0,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        """`max_age_seconds`: how long a snapshot answers without its source being read; 0 for ever."""
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
        self._max_age = max_age_seconds
        self._clock = clock
        #: When the source was last read successfully, by that clock.
        self._confirmed_at = -math.inf
        #: Attempts to read the source, by what came of them.
        self.reloads = {"changed": 0, "unchanged": 0, "failed": 0}

    def current(self) -> Snapshot:
        """The snapshot in force. Raises UnavailableError before the first one is loaded, and when it is too old."""
        snapshot = self._status.snapshot
        if snapshot is None:
            raise UnavailableError(_NOT_LOADED)
        if self._max_age and self.age_seconds > self._max_age:
            raise UnavailableError(_TOO_OLD)
        return snapshot

    @property
    def age_seconds(self) -> float:
        """Since the source was last read successfully; infinite where nobody knows."""
        return self._clock() - self._confirmed_at

    @property
    def problem(self) -> str | None:
        """Why there is no snapshot that answers; None if there is one."""
        try:
            self.current()
        except UnavailableError as error:
            return str(error)
        return None

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
            result = replace(result, revision=self._revision)
            self._tell(result)
        return result

    def reload(self) -> ReloadResult:
        """Read the source again; a good bundle replaces the snapshot, a bad one only adds to the status."""
        with self._lock:
            result = self._counted(self._attempt())
        self._tell(result)
        return result

    def _counted(self, result: ReloadResult) -> ReloadResult:
        kind = "changed" if result.changed else "failed" if result.problems else "unchanged"
        self.reloads[kind] += 1
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
        return self._counted(self._attempt())

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
        now, began = datetime.now(UTC), self._clock()
        try:
            source = self._reader.read(self._source)
            if self._is_current(source):
                warnings = self._warnings(source)
                self._source = source
                assert self._status.snapshot is not None
                # It may have come from the last good copy.
                snapshot = replace(self._status.snapshot, origin=source.origin)
                self._status = replace(
                    self._status, snapshot=snapshot, attempted_at=now, degraded=(), problems=warnings
                )
                self._confirm(source, began)
                return ReloadResult(False, source.revision)
            snapshot = self._loader.load(source)
        except BundleError as error:
            return self._failed(error.problems, now)
        self._source = source
        self._status = StoreStatus(snapshot, now, now, (), snapshot.warnings)
        self._confirm(source, began)
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
        assert self._last_good is not None
        self._confirmed_at = self._clock() - self._last_good.confirmed_seconds(snapshot.revision)
        reason = f"serving the last good copy, revision {snapshot.revision}"
        self._copied = snapshot.revision
        self._status = replace(
            self._status,
            snapshot=snapshot,
            loaded_at=datetime.now(UTC),
            degraded=(*self._status.degraded, reason),
        )

    def _confirm(self, source: Source, began: float) -> None:
        """The source says, and said when reading it began, what is in force."""
        self._confirmed_at = began
        self._keep_copy(source)

    def _keep_copy(self, source: Source) -> None:
        """Write the last good copy; a copy that cannot be written degrades the service and stops nothing."""
        if self._last_good is None:
            return
        try:
            if self._copied != source.revision:
                self._last_good.save(source)
                self._copied = source.revision
            if self._max_age:
                self._last_good.confirm(source.revision)
        except LastGoodError as error:
            reason = f"the last good copy is not written: {error}"
            self._status = replace(self._status, degraded=(*self._status.degraded, reason))
