"""Bundles as archives: a `.tar.gz` read without unpacking it to disk, and written.

An archive holds the bundle's files as they lie in the directory, with or without a leading `./`, or all of them
in one directory of any other name that holds a `bundle.toml` or `policies/`. The rules of what belongs to a
bundle, and the revision, are those of a directory.

Archives come from elsewhere, so the reader is narrower than tar: regular files and directories in the ustar, pax
and GNU formats, read once from front to back. Links, devices, sparse files, absolute paths, `..`, two entries for
one path and data after the end are refused. `SourceLimits` hold for the unpacked bytes, and are checked before
each entry is unpacked; entries that are not loaded count too.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

from pdp.bundle.layout import is_ignored, name_problem, place_problem, printable
from pdp.bundle.source import (
    ATTEMPT_PAUSES_SECONDS,
    DirectoryReader,
    Signature,
    Source,
    SourceFile,
    SourceLimits,
    is_settled,
    limit_problems,
    make_source,
    restless,
    signature_of,
    source_file,
    unreadable,
)
from pdp.errors import BundleError, Problem

_SUFFIXES = (".tar.gz", ".tgz")
_BLOCK_BYTES = 512
_CHUNK_BYTES = 1024 * 1024
_END = bytes(_BLOCK_BYTES)
_MAX_PADDING_BYTES = 1024 * 1024  # tar fills its last record, which is 10 KiB unless told otherwise
_MAX_EXTENDED_BYTES = 16 * 1024
_MAX_RECORDS = 64
_POSIX_MAGIC = b"ustar\x00"
_GNU_MAGIC = b"ustar "
_PREFIX = slice(345, 500)  # of a name; GNU tar keeps other things there
# Octal digits, and nothing else that `int` would take, such as a sign.
_SIZE = re.compile(rb" *[0-7]+[ \0]*")
_RECORD = re.compile(rb"([1-9][0-9]{0,4}) ([^=\n]+)=")
# Everything else that pax can say changes what the content is, or which.
_HARMLESS_RECORD = re.compile(
    rb"[acm]time|[ug]id|[ug]name|comment|charset|hdrcharset|RHT\.security\..*"
    rb"|SCHILY\.(dev|ino|nlink|fflags|xattr\..*|acl\..*)|LIBARCHIVE\.(creationtime|xattr\..*)",
    re.DOTALL,
)


# A source without its content, which would stay in memory: origin, warnings, digests by path.
_Outline = tuple[str, tuple[Problem, ...], dict[str, str]]


class BundleReader(Protocol):
    """Reads one bundle, again and again."""

    @property
    def watch_paths(self) -> tuple[Path, ...]:
        """Where to watch for changes."""

    def read(self, previous: Source | None = None) -> Source:
        """Read the bundle; unchanged files are taken from `previous`. Raises `BundleError`, and only that."""


def open_source(path: Path, limits: SourceLimits) -> BundleReader:
    """The reader for a directory or an archive. Nothing is read yet, and the path need not exist."""
    if path.name.endswith(_SUFFIXES) and not path.is_dir():
        return ArchiveReader(path, limits)
    return DirectoryReader(path, limits)


def read_archive(archive: Path | bytes, limits: SourceLimits, origin: str = "archive") -> Source:
    """Read a `.tar.gz`, from a file or from memory; `origin` names the latter. Raises `BundleError`."""
    if isinstance(archive, bytes):
        return unpack(io.BytesIO(archive), len(archive), limits, origin)
    return ArchiveReader(archive, limits).read()


def write_archive(source: Source, fileobj: BinaryIO) -> None:
    """Write every file of a source as `.tar.gz`. Equal files give equal bytes, with the same zlib."""
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=fileobj, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive,
    ):
        for path, file in sorted(source.files.items()):
            entry = tarfile.TarInfo(path)
            entry.size = len(file.content)
            archive.addfile(entry, io.BytesIO(file.content))


class ArchiveReader:
    """Reads a bundle from an archive, and only once while it does not change."""

    def __init__(
        self,
        path: Path,
        limits: SourceLimits,
        *,
        pause: Callable[[float], None] = time.sleep,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._path = path
        self._name = printable(str(path))
        self._limits = limits
        self._pause = pause
        self._now_ns = now_ns
        self._seen: tuple[Signature, _Outline] | None = None  # of the last read

    @property
    def watch_paths(self) -> tuple[Path, ...]:
        """Where to watch for changes."""
        return (self._path,)

    def read(self, previous: Source | None = None) -> Source:
        """Read the archive as it was at one moment; files unchanged since `previous` are taken from it.

        Raises `BundleError`, also if the archive does not hold still.
        """
        for seconds in ATTEMPT_PAUSES_SECONDS:
            if seconds:
                self._pause(seconds)
            try:
                source = self._read_once(previous)
            except (OSError, ValueError) as error:
                problem = Problem(".", 0, 0, f"`{self._name}` {unreadable('.', error).message}")
                raise BundleError([problem]) from error
            if source is not None:
                return source
        raise restless(self._name)

    def _read_once(self, previous: Source | None) -> Source | None:
        """The archive's content, or `None` if it changed while it was read."""
        with _open_regular(self._path) as file:
            signature = signature_of(os.fstat(file.fileno()))
            now_ns = self._now_ns()
            if previous is not None and self._seen == (signature, _outline(previous)):
                return previous
            try:
                source = unpack(file, signature[3], self._limits, self._name)
            except BundleError:
                if signature_of(os.fstat(file.fileno())) != signature:
                    return None
                raise
            if signature_of(os.fstat(file.fileno())) != signature:
                return None
        self._seen = (signature, _outline(source)) if is_settled(signature, now_ns) else None
        return source if previous is None else _sharing(source, previous)


def _outline(source: Source) -> _Outline:
    digests = {path: file.digest for path, file in source.files.items()}
    return source.origin, source.warnings, digests


def _sharing(source: Source, previous: Source) -> Source:
    """The same source, with the files of `previous` where they are equal, so that both are in memory once."""

    def shared(file: SourceFile) -> SourceFile:
        before = previous.files.get(file.path)
        return before if before is not None and before.digest == file.digest else file

    return make_source(source.origin, map(shared, source.files.values()), source.warnings)


def _open_regular(path: Path) -> BinaryIO:
    """Open a regular file, through links; never wait for whatever else it may be. Raises `OSError`."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("not a regular file")
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("not a regular file")
    return file


def unpack(file: BinaryIO, packed_bytes: int, limits: SourceLimits, origin: str) -> Source:
    """The bundle in an open archive of `packed_bytes`. Raises `BundleError`, and `OSError` if reading fails."""
    # Without this, empty gzip members could go on for hours without unpacking to a single byte.
    if packed_bytes > (most := 2 * limits.max_total_bytes + _MAX_PADDING_BYTES):
        raise BundleError([Problem(".", 0, 0, f"`{origin}` is {packed_bytes} bytes; it may be {most}")])
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        unpacking = _Unpacking(stream, limits, origin)
        try:
            unpacking.run()
        except EOFError:
            unpacking.refuse("ends too early")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
            unpacking.refuse(f"is damaged: {printable(str(error)).lower()}")
    return _assemble(unpacking, limits, origin)


def _assemble(unpacking: _Unpacking, limits: SourceLimits, origin: str) -> Source:
    problems = [*unpacking.problems, *_collisions(unpacking.members)]
    files = []
    for path, content in _without_top(unpacking.members).items():
        if is_ignored(path):
            continue
        if (problem := place_problem(path)) is not None:
            problems.append(problem)
        elif content is not None:
            files.append(source_file(path, content))
    problems += limit_problems({file.path: len(file.content) for file in files}, limits)
    if any(problem.severity == "error" for problem in problems):
        raise BundleError(sorted(set(problems)))
    return make_source(origin, files, problems)


def _without_top(members: Mapping[str, bytes | None]) -> Mapping[str, bytes | None]:
    """The members with the one directory removed that holds all of them, if it holds a bundle."""
    tops = {path.partition("/")[0] for path in members if not is_ignored(path)}
    if len(tops) != 1:
        return members
    top = tops.pop() + "/"
    problem = place_problem(top)
    if problem is None or problem.severity == "error":
        return members  # the name of something in a bundle
    if not any(path == f"{top}bundle.toml" or path.startswith(f"{top}policies/") for path in members):
        return members
    return {path.removeprefix(top): content for path, content in members.items() if path != top}


def _collisions(members: Iterable[str]) -> list[Problem]:
    """A file that is also a directory: which of the two counted would depend on who unpacks the archive."""
    files = {path for path in members if not path.endswith("/")}
    parents = set()
    for path in members:
        end = path.find("/")
        while end >= 0:
            parents.add(path[:end])
            end = path.find("/", end + 1)
    message = "is both a file and a directory in the archive"
    return [Problem(path, 0, 0, message) for path in sorted(files & parents)]


def _may_belong(path: str) -> bool:
    """Whether a bundle may hold this file, as it is or without the directory that holds everything."""
    return place_problem(path) is None or place_problem(path.partition("/")[2]) is None


class _Unpacking:
    """Reads a tar stream once. Directories are members whose path ends in `/`.

    The content of a member is `None` if it is a directory, or a file that no bundle has.
    """

    def __init__(self, stream: gzip.GzipFile, limits: SourceLimits, origin: str) -> None:
        self._stream = stream
        self._limits = limits
        self._origin = origin
        self._entries = 0
        self._bytes = 0
        self._long_name: str | None = None  # for the next member, from a header before it
        self.members: dict[str, bytes | None] = {}
        self.problems: list[Problem] = []

    def refuse(self, message: str) -> NoReturn:
        """Give up on the whole archive."""
        raise BundleError([Problem(".", 0, 0, f"`{self._origin}` {message}"), *self.problems])

    def run(self) -> None:
        """Read everything. Raises `BundleError`, `EOFError`, and what gzip and tarfile raise on damage."""
        while (block := self._exactly(_BLOCK_BYTES)) != _END:
            self._entries += 1
            if self._entries > self._limits.max_entries:
                self.refuse(f"holds more than {self._limits.max_entries} entries")
            self._entry(block)
        if self._long_name is not None:
            self.refuse("ends with the name of an entry that does not follow")
        padding = self._stream.read(_MAX_PADDING_BYTES + 1)
        if padding.strip(b"\0") or len(padding) > _MAX_PADDING_BYTES:
            self.refuse("holds data after its end")

    def _entry(self, block: bytes) -> None:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        is_gnu = block[257:263] == _GNU_MAGIC
        if not is_gnu and block[257:263] != _POSIX_MAGIC:
            self.refuse("is not in the ustar, pax or GNU format")
        if (is_gnu and block[_PREFIX].strip(b"\0")) or not _SIZE.fullmatch(block[124:136]):
            self.refuse(f"has a header that is not understood, for `{printable(header.name)}`")
        self._bytes += header.size
        if self._bytes > self._limits.max_total_bytes:
            self.refuse(f"unpacks to more than {self._limits.max_total_bytes} bytes")
        kind = block[156:157]
        if kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            self._extended(kind, header.size)
            return
        name = header.name if self._long_name is None else self._long_name
        self._long_name = None
        self._member(header, name)

    def _extended(self, kind: bytes, size: int) -> None:
        """A header that says more about the next entry, or about all that follow."""
        if size > _MAX_EXTENDED_BYTES:
            self.refuse(f"has an extended header of {size} bytes; it may be {_MAX_EXTENDED_BYTES}")
        data = self._content(size, keep=True)
        if kind == tarfile.GNUTYPE_LONGNAME:
            name: bytes | None = data.rstrip(b"\0")
        else:
            name = self._path_record(data)
        if kind == tarfile.XGLTYPE and name is not None:
            self.refuse("names all its entries at once")
        if kind != tarfile.XGLTYPE and self._long_name is not None:
            self.refuse("says twice what the next entry is called")
        if name is not None:
            self._long_name = name.decode("utf-8", "surrogateescape")

    def _path_record(self, data: bytes) -> bytes | None:
        """The path in pax records (`<length> <key>=<value>\\n`), if there is one."""
        path = None
        start = records = 0
        while start < len(data):
            match = _RECORD.match(data, start)
            end = start + int(match[1]) if match else 0
            if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                self.refuse("has a damaged extended header")
            if match[2] == b"path":
                path = data[match.end() : end - 1]
            elif not _HARMLESS_RECORD.fullmatch(match[2]):
                self.refuse(f"has an entry with `{printable(match[2].decode(errors='replace'))}`")
            start = end
            records += 1
            if records > _MAX_RECORDS:
                self.refuse(f"has an extended header of more than {_MAX_RECORDS} records")
        return path

    def _member(self, header: tarfile.TarInfo, name: str) -> None:
        is_file = header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if header.size and not is_file:
            self.refuse(f"has content in an entry that is not a file, `{printable(name[:200])}`")
        if header.size > self._limits.max_file_bytes:
            most = self._limits.max_file_bytes
            self.refuse(f"has a file of {header.size} bytes, `{printable(name[:200])}`; it may be {most}")
        path = name if is_file else name.rstrip("/")
        path = path.removeprefix("./")
        problem = self._member_problem(header, path)
        if problem is not None:
            self.problems.append(problem)
        keep = problem is None and is_file and _may_belong(path)
        content = self._content(header.size, keep=keep)
        if problem is None:
            self.members[path if is_file else path + "/"] = content if keep else None

    def _member_problem(self, header: tarfile.TarInfo, path: str) -> Problem | None:
        shown = printable(path[:200]) or "."
        if not header.isdir() and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            return Problem(shown, 0, 0, "is a link or device; an archive may hold files and directories only")
        if path == "." and header.isdir():
            return None  # the root itself
        if any(part in ("", ".", "..") for part in path.split("/")):
            return Problem(shown, 0, 0, "is not a plain path below the bundle's root")
        if path in self.members or path + "/" in self.members:
            return Problem(shown, 0, 0, "is in the archive twice")
        return name_problem(path)

    def _content(self, size: int, *, keep: bool) -> bytes:
        """The next `size` bytes, or nothing of them, and past the padding that fills their last block."""
        kept = io.BytesIO()
        left = size
        while left:
            chunk = self._exactly(min(left, _CHUNK_BYTES))
            left -= len(chunk)
            if keep:
                kept.write(chunk)
        self._exactly(-size % _BLOCK_BYTES)
        return kept.getvalue()

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise EOFError
        return data
