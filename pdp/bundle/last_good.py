"""The last good bundle, kept on disk so that a restart with a broken source still serves.

A copy is an archive named by its revision, `<revision>.tar.gz`, in a directory that only its owner can enter. It
holds what the revision covers, so without the bundle's `tests/`. A name proves that the content is what was
written, not who wrote it; that is why the owner and the mode of the directory are checked as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pdp.bundle.archive import unpack, write_archive
from pdp.bundle.layout import is_loaded, printable
from pdp.bundle.source import Source, SourceLimits
from pdp.errors import BundleError, PdpError, Problem
from pdp.private_directory import UntrustedDirectoryError, prepare, state_directory, sync, why_untrusted

_SUFFIX = ".tar.gz"
_COPY_NAME = re.compile(r"([0-9a-f]{64})\.tar\.gz")
_CONFIRMED = ".confirmed"
_UNFINISHED_PREFIX = ".unfinished-"
# A writer writes all the time, so a file untouched for this long was left behind by one that died.
_ABANDONED_SECONDS = 3600
_COARSEST_TIME_NS = 2_000_000_000
# Another process may replace the copies while they are listed; a listing can then show neither old nor new.
_LOAD_ATTEMPTS = 10
_LOAD_PAUSE_SECONDS = 0.01


class LastGoodError(PdpError):
    """A copy could not be kept; the one before it is still there."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def default_directory(bundle_path: Path, environ: Mapping[str, str]) -> Path:
    """Where the copies of the bundle at this path are kept.

    That is below the state directory. Links in the path are not resolved: one that is pointed elsewhere keeps its
    directory.
    """
    absolute = os.path.abspath(bundle_path)  # noqa: PTH100 - `Path.resolve` follows links
    return state_directory(environ) / hashlib.sha256(os.fsencode(absolute)).hexdigest()[:32]


class LastGood:
    """Keeps one copy of a bundle in a directory of its own. Several processes may use it at once."""

    def __init__(
        self,
        directory: Path,
        *,
        write: Callable[[Source, BinaryIO], None] = write_archive,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._directory = directory
        self._name = printable(str(directory))
        self._write = write
        self._pause = pause
        self._problems: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the last `load` refused what it refused; the paths are names in the directory."""
        return self._problems

    def save(self, source: Source) -> None:
        """Keep this bundle and drop older copies. Raises `LastGoodError`; then the older copy is untouched."""
        try:
            self._prepare_directory()
            self._remove_abandoned()
            name = self._write_copy(source)
            self._remove_older_than(name)
        except OSError as error:
            raise LastGoodError(f"the bundle cannot be kept in `{self._name}`: {_cause(error)}") from error

    def confirm(self, revision: str) -> None:
        """Note that the source was just read, and says this. Raises `LastGoodError`."""
        try:
            new = self._directory / f"{_CONFIRMED}.{os.getpid()}"
            new.write_text(revision)
            new.replace(self._directory / _CONFIRMED)
        except OSError as error:
            raise LastGoodError(f"`{self._name}` cannot be written: {_cause(error)}") from error

    def confirmed_seconds(self, revision: str) -> float:
        """Since the source was last known to say this, before a restart too; infinite where nobody knows."""
        path = self._directory / _CONFIRMED
        try:
            age = time.time() - path.lstat().st_mtime
            known = path.read_text("ascii", "replace")[: len(revision) + 1]
        except OSError:
            return math.inf
        # A time to come says that a clock was wrong, and not which one.
        return age if known == revision and age >= 0 else math.inf

    def load(self, limits: SourceLimits) -> Source | None:
        """The newest copy that is what its name says, or `None`. What was refused is in `problems`."""
        source = None
        problems: list[Problem] = []
        for _ in range(_LOAD_ATTEMPTS):
            problems.clear()
            try:
                source = self._newest_intact(limits, problems)
            except FileNotFoundError:
                if not self._directory.exists():
                    break  # nothing was ever kept
            except OSError as error:
                problems.append(Problem(".", 0, 0, f"`{self._name}` cannot be read: {_cause(error)}"))
            if source is not None or problems:
                break
            self._pause(_LOAD_PAUSE_SECONDS)
        self._problems = tuple(problems)
        return source

    def _prepare_directory(self) -> None:
        try:
            prepare(self._directory)
        except UntrustedDirectoryError as error:
            raise LastGoodError(f"`{self._name}` {error}, so no bundle is kept in it") from error

    def _write_copy(self, source: Source) -> str:
        """Write the copy beside its place, then move it there, so that its name never stands for half of it."""
        loaded = {path: file for path, file in source.files.items() if is_loaded(path)}
        name = source.revision + _SUFFIX
        handle, temporary = tempfile.mkstemp(prefix=_UNFINISHED_PREFIX, dir=self._directory)
        try:
            with os.fdopen(handle, "wb") as file:
                self._write(replace(source, files=loaded), file)
                file.flush()
                stamp = self._next_stamp_ns()
                os.utime(file.fileno(), ns=(stamp, stamp))
                os.fsync(file.fileno())
            Path(temporary).replace(self._directory / name)
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync(self._directory)
        return name

    def _next_stamp_ns(self) -> int:
        """A time later than that of every copy, also where clocks are turned back or file times are coarse."""
        return max([time.time_ns(), *(stamp + _COARSEST_TIME_NS for stamp, _ in self._copies())])

    def _copies(self) -> list[tuple[int, str]]:
        """The files named like copies, oldest first: mtime in ns and name. The name decides between equal times."""
        found = []
        for path in self._directory.iterdir():
            if _COPY_NAME.fullmatch(path.name):
                with contextlib.suppress(FileNotFoundError):  # another process removed it
                    found.append((path.lstat().st_mtime_ns, path.name))
        return sorted(found)

    def _remove_older_than(self, name: str) -> None:
        """Remove what is older than our copy, and only that: two processes cannot remove each other's copies."""
        copies = self._copies()
        ours = next((copy for copy in copies if copy[1] == name), (0, ""))
        for stamp, other in copies:
            if (stamp, other) < ours:
                # Not worth an error: the newest copy counts, and the next save tries again.
                with contextlib.suppress(OSError):
                    (self._directory / other).unlink()

    def _remove_abandoned(self) -> None:
        for path in self._directory.glob(_UNFINISHED_PREFIX + "*"):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()

    def _newest_intact(self, limits: SourceLimits, problems: list[Problem]) -> Source | None:
        if (reason := why_untrusted(self._directory.lstat())) is not None:
            problems.append(Problem(".", 0, 0, f"`{self._name}` {reason}, so nothing in it is used"))
            return None
        problems += self._strangers()
        for _, name in reversed(self._copies()):
            try:
                source = _read_copy(self._directory / name, limits)
            except FileNotFoundError:
                raise
            except OSError as error:
                problems.append(Problem(name, 0, 0, f"cannot be read: {_cause(error)}"))
            except BundleError as error:
                problems += [Problem(name, 0, 0, str(problem)) for problem in error.problems]
            else:
                if source.revision + _SUFFIX == name:
                    return source
                message = f"holds the revision `{source.revision}`, so it is not used"
                problems.append(Problem(name, 0, 0, message))
        return None

    def _strangers(self) -> list[Problem]:
        names = sorted(path.name for path in self._directory.iterdir())
        return [
            Problem(printable(name), 0, 0, "is not named like a copy, so it is not used")
            for name in names
            if not name.startswith(".") and not _COPY_NAME.fullmatch(name)
        ]


def _read_copy(path: Path, limits: SourceLimits) -> Source:
    """Read a copy, also if another process removes it meanwhile: nobody writes to a copy that has its name."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise BundleError([Problem(".", 0, 0, "not a file of this user")])
        return unpack(file, status.st_size, limits, printable(str(path)))


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
