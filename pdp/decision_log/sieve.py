"""Finds the records that a medium will never take, so that they do not keep all others from it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time_ns
from typing import NoReturn

from pdp.decision_log.backlog import Batch
from pdp.decision_log.chain import stated
from pdp.decision_log.exporting import Exporter, ExportError, RefusedError, RejectedError
from pdp.decision_log.marks import MARK_BEGINS, Refused, stub_line

_FIRST_WAIT_SECONDS, _LAST_WAIT_SECONDS = 1.0, 30.0

#: Hears which records the medium did not take, how many, and whether they are only what the log says of itself.
OnRefused = Callable[[Refused, int, bool], None]


class Sieve:
    """An exporter before another one, which halves what that refuses until one record is left.

    A record counts as refused for ever if the medium refuses it alone, then takes a stub in its place, and then refuses
    it again: a medium that refuses everything, because of a wrong token, say, does not take the stub either, and
    nothing is lost. `on_refused` is told before the batch counts as delivered, so a process that is killed in between
    tells it twice, and never not at all.
    """

    def __init__(self, exporter: Exporter, on_refused: OnRefused) -> None:
        self._exporter = exporter
        self._on_refused = on_refused
        #: Up to which record of which writer the batch in hand is done.
        self._done = ("", 0)
        self._wait_until = 0.0
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._cause = ""

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        if monotonic() < self._wait_until:
            raise ExportError(self._cause)
        writer, seq = self._done
        rest = batch.after(seq) if writer == batch.writer and batch.first_seq <= seq else batch
        if rest is not None:
            self._export(rest)
        self._done = ("", 0)
        self._wait_seconds = _FIRST_WAIT_SECONDS

    def sync(self) -> None:
        """As in `Exporter`."""
        self._exporter.sync()

    def close(self) -> None:
        """As in `Exporter`."""
        self._exporter.close()

    def _export(self, batch: Batch) -> None:
        halves: tuple[Batch, ...] = ()
        try:
            self._exporter.export(batch)
        except RejectedError as error:
            self._tell(batch, min(error.count, len(batch.lines)), str(error))
        except RefusedError as error:
            halves = batch.halves()
            if not halves:
                self._replace(batch, error)
        for half in halves:
            self._export(half)
        self._done = (batch.writer, batch.last_seq)

    def _replace(self, record: Batch, error: RefusedError) -> None:
        """Put a stub where the medium would not have this record."""
        [line] = record.lines
        place = stated(line)
        if place is None:
            raise error
        try:
            self._exporter.export(Batch(record.writer, record.first_seq, stub_line(time_ns(), place, str(error))))
        except (RefusedError, RejectedError):
            self._wait(error)
        try:
            self._exporter.export(record)
        except RefusedError:
            self._tell(record, 1, str(error))

    def _wait(self, error: RefusedError) -> NoReturn:
        self._cause = f"every record is refused: {error}"
        self._wait_until = monotonic() + self._wait_seconds
        self._wait_seconds = min(2 * self._wait_seconds, _LAST_WAIT_SECONDS)
        raise ExportError(self._cause) from error

    def _tell(self, batch: Batch, count: int, cause: str) -> None:
        lines = batch.lines
        place = stated(lines[0]) if len(lines) == 1 else None
        digest = place.hash if place is not None else b""
        which = Refused(batch.writer, batch.first_seq, batch.last_seq, digest, cause)
        self._on_refused(which, count, all(line.startswith(MARK_BEGINS) for line in lines))
