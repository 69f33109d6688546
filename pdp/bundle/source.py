"""A bundle as bytes: its files, its revision, and how it is read from a directory.

The revision is the sha256, in lower-case hex, of this listing in UTF-8, with the paths in code point order:

    pdp-bundle-revision-v1 LF
    <sha256 of the file, lower-case hex> SP SP <path> LF        (one line for each file)

It covers what the service loads: every file of a `Source` but those under `tests/`, which can be read and do
not count. A directory and an archive of it have the same revision. `sha256sum` prints these lines, so that

    (echo pdp-bundle-revision-v1; LC_ALL=C sort -z paths | xargs -0 sha256sum) | sha256sum

recomputes it from a file of NUL-separated paths.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from pdp.bundle.layout import LAYOUT_HINT, is_ignored, is_loaded, name_problem, place_problem, printable
from pdp.errors import BundleError, Problem

_FORMAT = "pdp-bundle-revision-v1"
# Before each attempt at reading something that changes meanwhile.
ATTEMPT_PAUSES_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4)
# A file changed this recently may change again without its times showing it, so its signature is not trusted.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """How much a bundle may hold. `max_entries` counts every name seen, also those that are not loaded."""

    max_files: int = 20_000
    max_file_bytes: int = 512 * 1024 * 1024
    max_total_bytes: int = 1024 * 1024 * 1024
    max_entries: int = 100_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file: `path` relative with `/`, `digest` the sha256 of `content` in lower-case hex."""

    path: str
    digest: str
    content: bytes


@dataclass(frozen=True)
class Source:
    """All files of a bundle at one moment, sorted by path. `origin` is where it was read, for people."""

    origin: str
    files: Mapping[str, SourceFile]
    warnings: tuple[Problem, ...]
    revision: str


def source_file(path: str, content: bytes) -> SourceFile:
    """A file with its digest computed."""
    return SourceFile(path, hashlib.sha256(content).hexdigest(), content)


def revision_of(files: Iterable[SourceFile]) -> str:
    """The revision of these files, in any order, as the module's docstring defines it."""
    lines = sorted((file.path, file.digest) for file in files if is_loaded(file.path))
    listing = "".join([f"{_FORMAT}\n", *(f"{digest}  {path}\n" for path, digest in lines)])
    return hashlib.sha256(listing.encode()).hexdigest()


def make_source(origin: str, files: Iterable[SourceFile], warnings: Iterable[Problem]) -> Source:
    """Put files together into a source. Raises `BundleError` if there is nothing for the service to load."""
    by_path = {file.path: file for file in sorted(files, key=lambda file: file.path)}
    noted = tuple(sorted(set(warnings)))
    if not any(is_loaded(path) for path in by_path):
        message = f"`{origin}` holds no file of a bundle; {LAYOUT_HINT}"
        raise BundleError([Problem(".", 0, 0, message), *noted])
    return Source(origin, MappingProxyType(by_path), noted, revision_of(by_path.values()))


def unreadable(path: str, error: OSError | ValueError) -> Problem:
    """The problem that an operating system error on this path amounts to."""
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(path, 0, 0, f"cannot be read: {cause.lower()}")


def restless(origin: str) -> BundleError:
    """The error for a source that changes during every attempt to read it."""
    message = f"`{origin}` keeps changing while it is read; replace it in one step, by renaming"
    return BundleError([Problem(".", 0, 0, message)])


def limit_problems(sizes: Mapping[str, int], limits: SourceLimits) -> list[Problem]:
    """Which limits these files break. `sizes` is in bytes, by path."""
    problems = [
        Problem(path, 0, 0, f"is {size} bytes; a file may be {limits.max_file_bytes}")
        for path, size in sizes.items()
        if size > limits.max_file_bytes
    ]
    if len(sizes) > limits.max_files:
        problems.append(Problem(".", 0, 0, f"{len(sizes)} files; a bundle may hold {limits.max_files}"))
    if (total := sum(sizes.values())) > limits.max_total_bytes:
        problems.append(Problem(".", 0, 0, f"{total} bytes in all; a bundle may be {limits.max_total_bytes}"))
    return problems


# Device, inode, type, size in bytes, mtime in ns, ctime in ns: equal while nobody changed the file.
Signature = tuple[int, int, int, int, int, int]


def signature_of(status: os.stat_result) -> Signature:
    """What tells a changed file from an unchanged one without reading it."""
    kind = stat.S_IFMT(status.st_mode)
    return (status.st_dev, status.st_ino, kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def is_settled(signature: Signature, now_ns: int) -> bool:
    """Whether the file last changed long enough ago that any later change must alter its signature.

    File systems step their clocks in milliseconds or worse: two writes within one step leave equal times.
    Only the ctime counts, because users can set the other.
    """
    return now_ns - signature[5] > _SETTLED_NS


@dataclass(frozen=True, slots=True)
class _Found:
    """A file of the tree: the names that lead to it from the real root through no link, and its signature."""

    real: tuple[str, ...]
    signature: Signature


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a whole tree. Two equal looks mean that nothing changed between them."""

    root: str
    files: Mapping[str, _Found]
    problems: tuple[Problem, ...]

    @property
    def has_errors(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


class _Walk:
    """Walks a tree below `root`, an absolute path without links: what it holds, and what is wrong with it."""

    def __init__(self, root: str, limits: SourceLimits) -> None:
        self._root = root
        self._limits = limits
        self._entries_left = limits.max_entries
        self.files: dict[str, _Found] = {}
        self.problems: list[Problem] = []

    def directory(self, path: str, real: str, above: frozenset[tuple[int, int]]) -> None:
        """Walk one directory. `path` is "" or ends in `/`; `above`: device and inode of those it lies in."""
        try:
            with os.scandir(real) as entries:
                names = sorted(entry.name for entry in islice(entries, self._entries_left + 1))
        except (FileNotFoundError, NotADirectoryError):
            return  # gone since its name was read: the second look will differ, or it never mattered
        except OSError as error:
            self.problems.append(unreadable(path or ".", error))
            return
        self._entries_left -= len(names)
        if self._entries_left < 0:
            message = f"more than {self._limits.max_entries} names; is this the right directory?"
            raise BundleError([Problem(".", 0, 0, message), *self.problems])
        for name in names:
            try:
                self._entry(path + name, f"{real}/{name}", above)
            except FileNotFoundError:
                continue  # gone since its name was read
            except OSError as error:
                self.problems.append(unreadable(printable(path + name), error))

    def _entry(self, path: str, real: str, above: frozenset[tuple[int, int]]) -> None:
        status = os.lstat(real)
        if is_ignored(path + "/" if stat.S_ISDIR(status.st_mode) else path):
            return
        problem = name_problem(path)
        if problem is None and stat.S_ISLNK(status.st_mode):
            real, problem = self._follow(path, real)
            status = os.lstat(real)
        if problem is not None:
            self.problems.append(problem)
        elif stat.S_ISDIR(status.st_mode):
            self._subdirectory(path + "/", real, above, (status.st_dev, status.st_ino))
        elif not stat.S_ISREG(status.st_mode):
            self.problems.append(Problem(path, 0, 0, "is a device, pipe or socket, and must be a file"))
        elif (problem := place_problem(path)) is not None:
            self.problems.append(problem)
        else:
            parts = tuple(real.removeprefix(self._root).strip("/").split("/"))
            self.files[path] = _Found(parts, signature_of(status))

    def _subdirectory(self, path: str, real: str, above: frozenset[tuple[int, int]], identity: tuple[int, int]) -> None:
        if (problem := place_problem(path)) is not None:
            self.problems.append(problem)
        elif identity in above:
            self.problems.append(Problem(path, 0, 0, "is a link to a directory that it lies in"))
        else:
            self.directory(path, real, above | {identity})

    def _follow(self, path: str, real: str) -> tuple[str, Problem | None]:
        """Where a link leads. Links inside the root are followed: Kubernetes mounts a ConfigMap as links."""
        try:
            target = os.path.realpath(real, strict=True)
        except FileNotFoundError:
            return real, Problem(path, 0, 0, "is a link to something that does not exist")
        if os.path.commonpath([self._root, target]) != self._root:
            return real, Problem(path, 0, 0, "is a link that leads out of the bundle")
        return target, None


class _TreeChangedError(Exception):
    """A file is no longer what the look at the tree saw."""


def read_up_to(descriptor: int, size: int) -> bytes:
    """Read `size` bytes, or fewer where the file ends."""
    chunks = []
    while size > 0 and (chunk := os.read(descriptor, size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


class DirectoryReader:
    """Reads a bundle from a directory, each file only once while it does not change."""

    def __init__(
        self,
        root: Path,
        limits: SourceLimits,
        *,
        pause: Callable[[float], None] = time.sleep,
        now_ns: Callable[[], int] = time.time_ns,
        read_bytes: Callable[[int, int], bytes] = read_up_to,
    ) -> None:
        self._root = root
        self._name = printable(str(root))
        self._limits = limits
        self._pause = pause
        self._now_ns = now_ns
        self._read_bytes = read_bytes
        self._seen: dict[str, tuple[Signature, str]] = {}  # path -> signature and digest of the last read

    @property
    def watch_paths(self) -> tuple[Path, ...]:
        """Where to watch for changes."""
        return (self._root,)

    def read(self, previous: Source | None = None) -> Source:
        """Read the tree as it was at one moment; files unchanged since `previous` are taken from it.

        Raises `BundleError` with everything that is wrong, also if the tree does not hold still.
        """
        for seconds in ATTEMPT_PAUSES_SECONDS:
            if seconds:
                self._pause(seconds)
            now_ns = self._now_ns()
            look = self._look()
            try:
                files = {} if look.has_errors else self._read_files(look, previous)
            except _TreeChangedError:
                continue
            if self._look() != look:
                continue
            if look.has_errors:
                raise BundleError(look.problems)
            self._remember(look, files, now_ns)
            return make_source(self._name, files.values(), look.problems)
        raise restless(self._name)

    def _look(self) -> _Look:
        try:
            root = os.path.realpath(self._root, strict=True)
            status = Path(root).stat()
        except (OSError, ValueError) as error:
            cause = unreadable(".", error).message
            return _Look("", {}, (Problem(".", 0, 0, f"`{self._name}` {cause}"),))
        if not stat.S_ISDIR(status.st_mode):
            message = f"`{self._name}` is not a directory; the name of an archive ends in `.tar.gz` or `.tgz`"
            return _Look(root, {}, (Problem(".", 0, 0, message),))
        walk = _Walk(root, self._limits)
        walk.directory("", root, frozenset({(status.st_dev, status.st_ino)}))
        sizes = {path: found.signature[3] for path, found in walk.files.items()}
        return _Look(root, walk.files, tuple(sorted([*walk.problems, *limit_problems(sizes, self._limits)])))

    def _read_files(self, look: _Look, previous: Source | None) -> dict[str, SourceFile]:
        files, problems = {}, []
        for path, found in look.files.items():
            before = previous.files.get(path) if previous else None
            if before is not None and self._seen.get(path) == (found.signature, before.digest):
                files[path] = before
                continue
            try:
                files[path] = source_file(path, self._read_file(look.root, found))
            except OSError as error:
                problems.append(unreadable(path, error))
        if problems:
            raise BundleError([*problems, *look.problems])
        return files

    def _read_file(self, root: str, found: _Found) -> bytes:
        try:
            descriptor = _open_below(root, found.real)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise _TreeChangedError from error
            raise
        try:
            size = found.signature[3]
            # One byte more than expected, so that a file that grows shows and is not followed.
            if signature_of(os.fstat(descriptor)) != found.signature:
                raise _TreeChangedError
            content = self._read_bytes(descriptor, size + 1)
        finally:
            os.close(descriptor)
        if len(content) != size:
            raise _TreeChangedError
        return content

    def _remember(self, look: _Look, files: Mapping[str, SourceFile], now_ns: int) -> None:
        self._seen = {
            path: (found.signature, files[path].digest)
            for path, found in look.files.items()
            if is_settled(found.signature, now_ns)
        }


def _open_below(root: str, names: Sequence[str]) -> int:
    """Open a file for reading through no link below `root`: nothing swapped in meanwhile leads out of it.

    Does not wait for a writer if a pipe took the file's place.
    """
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = inner
        return os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    finally:
        os.close(directory)
