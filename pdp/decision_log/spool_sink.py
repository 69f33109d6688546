"""The sink that keeps records on disk until their medium has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pdp import turns
from pdp.decision_log.draining import Checkpoints, Drain, OpenExporter
from pdp.decision_log.sinks import Line, Remaining, SinkStatus
from pdp.decision_log.slot import claim
from pdp.decision_log.spool import Spool, WhenFull
from pdp.turns import Held

#: How long a slow medium can hold up the end of the service. What it has not taken then stays in the spool.
_CLOSE_SECONDS = 5.0


class SpoolSink:
    """Records in a chain of their own, by way of a spool below `root`, to a medium.

    Raises OSError where the spool or the medium cannot be opened, or UntrustedDirectoryError for a spool that others
    may have written to.
    """

    def __init__(
        self,
        root: Path,
        limit_bytes: int,
        when_full: WhenFull,
        open_exporter: OpenExporter,
        checkpoints: Checkpoints,
        on_error: Callable[[str], None],
    ) -> None:
        slot = claim(root)
        try:
            exporter = open_exporter(slot.number)
            try:
                self._spool = Spool(slot, limit_bytes, when_full)
            except BaseException:
                exporter.close()
                raise
        except BaseException:
            slot.close()
            raise
        self._drain = Drain(self._spool, slot, root, open_exporter, exporter, checkpoints, on_error)
        self._on_error = on_error

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """As in `DecisionSink`: the record is in the kernel when this returns, or before its call is told anything."""
        turn = turns.current()
        # Where there is no room, each call waits or fails alone.
        if turn is None or self._spool.refused or not turn.hold(self, Held(line, remaining)):
            self._spool.write(line if isinstance(line, str) else line(), remaining)

    def keep_each(self, records: Sequence[Held]) -> list[bool]:
        """As in `Keeper`. What cannot even be made is not kept, and its own call is to find out why."""
        made = [(_made(line), remaining) for line, remaining in records]
        kept = iter(self._spool.write_each([(line, remaining) for line, remaining in made if line is not None]))
        return [line is not None and next(kept) for line, _ in made]

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """As in `DecisionSink`: the records are in the kernel when this returns."""
        self._spool.write_all(list(lines), remaining)

    def status(self) -> SinkStatus:
        """As in `DecisionSink`."""
        spool = self._spool
        lag = max(0, spool.head.seq - spool.delivered_seq)
        return SinkStatus(
            failing=self._drain.failing or spool.refused or None,
            lag_records=lag,
            lag_bytes=spool.waiting_bytes + self._drain.held_bytes if lag else 0,
            dropped=spool.dropped,
            oldest_unix_ns=self._drain.oldest_unix_ns,
            full=bool(spool.refused),
        )

    def close(self) -> None:
        """As in `DecisionSink`; what the medium did not take in time is for the next process."""
        if self._drain.stop(_CLOSE_SECONDS):
            waiting = self.status().lag_records
            self._spool.close()
        else:
            waiting = self.status().lag_records
        if waiting:
            self._on_error(f"{waiting} records wait in the spool")


def _made(line: Line) -> str | None:
    try:
        return line if isinstance(line, str) else line()
    except Exception:  # noqa: BLE001 - the log writer: one record must not cost the others theirs
        return None
