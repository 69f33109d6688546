"""Noticing that a bundle changed.

The operating system tells about changes in single directories, and which directories matter changes too: a link is
pointed elsewhere, a directory is removed and made again, an archive is replaced by renaming. So the watcher
follows the directories of the bundle and the one that it lies in, looks all the time whether they are still the
same, and starts over when they are not. What it may still miss it finds at the next rescan.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import watchfiles

_TICK_SECONDS = 0.25
_BACKOFF_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0)
_LONGEST_DEBOUNCE_MS = 1_600  # a tree that never comes to rest is still reported this often
_IDLE_FACTOR = 9
_MAX_ENTRIES = 100_000  # per path
_MAX_DIRECTORIES = 10_000  # per path, as each costs the operating system; the rescan sees what is beyond

# For each path where it really lies and what is there: it changes when a link, a directory or a file is replaced.
_Identity = tuple[tuple[object, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class _Targets:
    """What to watch: everything in the directories `trees`, and of what else is in `parents` only `names`."""

    trees: frozenset[str]
    parents: frozenset[str]
    names: frozenset[str]

    def concern(self, changed: str) -> bool:
        return changed in self.names or changed.rpartition("/")[0] in self.trees


class Watcher:
    """Calls `on_change` from a thread of its own when something at or below `paths` may have changed.

    It is called once when watching begins, since whatever changed since the paths were first read would otherwise
    be missed, and then for every burst of changes after `debounce_ms` of quiet, and every `rescan_seconds` (0: never)
    in case the operating system kept quiet. Calls may be in vain, so it must be cheap when nothing changed. Paths need
    not exist. Whatever goes wrong, in `on_change` too, goes to `on_error`, which must not raise, and is tried again.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        on_change: Callable[[], None],
        *,
        on_error: Callable[[Exception], None],
        debounce_ms: int = 50,
        rescan_seconds: float = 30.0,
        force_polling: bool = False,
    ) -> None:
        self._paths = tuple(path.absolute() for path in paths)
        self._on_change = on_change
        self._on_error = on_error
        self._debounce_ms = debounce_ms
        self._rescan_seconds = rescan_seconds
        self._tick_seconds = min(_TICK_SECONDS, rescan_seconds or _TICK_SECONDS)
        self._force_polling = force_polling
        self._failures = 0
        self._last_call = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundle-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch. A watcher starts once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching and wait until the last call has returned, unless this is called from there."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._failures:
                    self._call()  # nothing is watched after a failure, so look at every attempt
                self._watch()
            except Exception as error:  # noqa: BLE001 - the top of a thread: it would end, and nobody would know
                self._on_error(error)
                self._stop.wait(_BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)])
                self._failures += 1

    def _call(self) -> None:
        self._last_call = time.monotonic()
        self._on_change()

    def _watch(self) -> None:
        """Watch until there is something else to watch, or until stopped."""
        if self._force_polling:
            self._compare()
            return
        identity, targets = self._identity(), self._targets()
        if not targets.trees | targets.parents:
            self._wait_for_another(identity)
            return
        begun = False
        # Closed at once: an error that somebody keeps would keep the operating system's watches too.
        with closing(self._bursts(targets)) as bursts:
            for burst in bursts:
                moved = self._identity() != identity
                concerned = any(targets.concern(path) for _, path in burst)
                if moved or concerned or not begun or self._is_rescan_due():
                    self._call()
                begun, self._failures = True, 0
                if self._stop.is_set() or moved or (concerned and self._targets() != targets):
                    return

    def _bursts(self, targets: _Targets) -> Generator[set[tuple[watchfiles.Change, str]], None, None]:
        """What changed, and at least once in a tick, if only to say that nothing did."""
        return watchfiles.watch(
            *sorted(targets.trees | targets.parents),
            watch_filter=None,
            step=self._debounce_ms,
            debounce=max(_LONGEST_DEBOUNCE_MS, self._debounce_ms),
            stop_event=self._stop,
            rust_timeout=max(1, int(self._tick_seconds * 1000)),
            yield_on_timeout=True,
            raise_interrupt=False,
            force_polling=False,
            recursive=False,
        )

    def _compare(self) -> None:
        """Tell by looking again and again. watchfiles can poll too, but misses two changes within a second."""
        before = self._contents()
        self._call()
        self._failures = 0
        while True:
            began = time.monotonic()
            contents = self._contents()
            if contents != before or self._is_rescan_due():
                self._call()
            before = contents
            # A large tree may take a tenth of the time, and no more.
            if self._stop.wait(max(self._tick_seconds, _IDLE_FACTOR * (time.monotonic() - began))):
                return

    def _wait_for_another(self, identity: _Identity) -> None:
        """There is no directory to watch: look until there is one."""
        while not self._stop.wait(self._tick_seconds):
            moved = self._identity() != identity
            if moved or self._is_rescan_due():
                self._call()
            self._failures = 0
            if moved:
                return

    def _is_rescan_due(self) -> bool:
        return 0 < self._rescan_seconds <= time.monotonic() - self._last_call

    def _identity(self) -> _Identity:
        return tuple(_identity(place) for path in self._paths for place in (path, path.parent))

    def _contents(self) -> tuple[_Identity, frozenset[tuple[object, ...]]]:
        """What every name below the paths stands for."""
        entries = (entry for path in self._paths for entry in islice(_entries(path), _MAX_ENTRIES))
        return self._identity(), frozenset(entries)

    def _targets(self) -> _Targets:
        trees: set[str] = set()
        names: set[str] = set()
        for path in self._paths:
            real = os.path.realpath(path)
            names.add(real)
            if Path(real).is_dir():
                trees.update(directory for directory, _, _ in islice(os.walk(real), _MAX_DIRECTORIES))
        parents = {name.rpartition("/")[0] or "/" for name in names}
        # Watching takes the right to read, which the directory that the bundle lies in need not give.
        usable = frozenset(parent for parent in parents if _can_watch(parent))
        return _Targets(frozenset(trees), usable, frozenset(names))


def _can_watch(directory: str) -> bool:
    return Path(directory).is_dir() and os.access(directory, os.R_OK, effective_ids=True)


def _entries(path: Path) -> Iterator[tuple[object, ...]]:
    for directory, subdirectories, files in os.walk(os.path.realpath(path)):
        for name in (*subdirectories, *files):
            entry = f"{directory}/{name}"
            with suppress(OSError):  # gone since it was listed, or in a directory that is closed to us
                status = os.lstat(entry)
                yield (entry, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _identity(path: Path) -> tuple[object, ...] | None:
    try:
        real = os.path.realpath(path, strict=True)
        status = Path(real).stat()
    except OSError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return (real, status.st_dev, status.st_ino)
    return (real, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
