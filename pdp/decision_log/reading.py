"""Log files for those who read them: which belong together, and in which order."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pdp.decision_log.chain import stated

_TIME = re.compile(rb'"time":"([^"]{1,40})"')
#: What may follow the name of a file that was put aside: by this program, or by logrotate.
_ASIDE = r"(?:[.-][0-9]{1,20}(?:\.gz)?)?"
_MAX_LINE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file that is open, so that it stays this one whatever its name becomes."""

    path: Path
    file: BinaryIO
    writer: str
    first_seq: int
    first_time: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Its lines with their ends, and their numbers from 1. Raises OSError."""
        with self.file as file:
            yield from enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES), b""), start=1)


def open_logs(paths: Iterable[Path]) -> list[LogFile]:
    """The files of these logs, oldest first. A log is a file with all that were put aside, or a directory of logs.

    Raises OSError.
    """
    found: dict[tuple[int, int], LogFile] = {}
    for path in paths:
        # The newest first: what is put aside meanwhile is then found under its other name, and not missed.
        names = [path, *_relatives(path)] if not path.is_dir() else sorted(path.iterdir(), reverse=True)
        for name in names:
            if name != path and not name.is_file():
                continue
            file = name.open("rb")
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) in found:
                file.close()
                continue
            found[status.st_dev, status.st_ino] = _opened(name, file)
    return _in_order(list(found.values()))


def _relatives(path: Path) -> list[Path]:
    """The other files of a log: what was put aside, and those of other writers."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    pattern = re.compile(rf"{stem}(?:\.[0-9]{{1,4}})?{suffix}{_ASIDE}")
    return sorted(each for each in path.absolute().parent.iterdir() if pattern.fullmatch(each.name))


def _opened(path: Path, file: BinaryIO) -> LogFile:
    if path.suffix == ".gz":
        file.close()
        file = cast(BinaryIO, gzip.open(path, "rb"))  # noqa: SIM115 - it is read later
    line = file.readline(_MAX_LINE_BYTES) if file.seekable() else b""
    if line:
        file.seek(0)
    link = stated(line.rstrip(b"\n"))
    match = _TIME.search(line)
    return LogFile(path, file, link.writer if link else "", link.seq if link else 0, match[1] if match else b"")


def _in_order(files: list[LogFile]) -> list[LogFile]:
    """By the writer that began first, and within a writer by its numbers: clocks may go back."""
    begun: dict[str, bytes] = {}
    for each in files:
        begun[each.writer] = min(begun.get(each.writer, each.first_time), each.first_time)
    return sorted(files, key=lambda each: (begun[each.writer], each.writer, each.first_seq))
