"""The metrics and the health of all workers: each writes its own down, and the supervisor makes one account of them.

Prometheus's own way for several processes (a file for each process and kind of metric, mapped into memory) knows no
metrics that are read when somebody asks, and keeps the files of every process that ever was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from pdp.observing.health import STOPPING, Health, health_from, health_json, joined_health
from pdp.observing.probes import Observed
from pdp.telemetry import catalogue
from pdp.telemetry.readings import Reading, as_json, from_json, joined, lasting, single
from pdp.workers.orders import Orders, RuntimeDirectory

_log = structlog.get_logger("pdp.workers")

#: How often a worker writes its account, and for how long that is taken for the truth.
_WRITE_SECONDS = 0.5
_STALE_SECONDS = 5.0


class _Account(NamedTuple):
    health: Health
    readings: list[Reading]


class AccountWriter:
    """Writes a worker's account until it is stopped, and then once more, so that nothing is lost at its end."""

    def __init__(self, orders: Orders, observed: Observed) -> None:
        self._path = orders.runtime.account(orders.index)
        self._observed = observed
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="account", daemon=True)

    def start(self) -> None:
        """Write for the first time, and begin."""
        self._write()
        self._thread.start()

    def stop(self) -> None:
        """Write for the last time."""
        self._stopped.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        while not self._stopped.wait(_WRITE_SECONDS):
            self._write()

    def _write(self) -> None:
        new = self._path.with_suffix(".writing")
        try:
            new.write_bytes(health_json(self._observed.health()) + b"\n" + as_json(self._observed.readings()))
            new.replace(self._path)
        except Exception as error:  # noqa: BLE001 - the top of a thread: this worker would be missed for ever
            _log.error("metrics cannot be written", error=str(error))


class Accounts:
    """What all workers say. Safe to share between threads.

    What a worker has counted stays counted when it ends: `ended` keeps it, before there is another in its place.
    """

    def __init__(self, runtime: RuntimeDirectory, count: int, *, now: Callable[[], float] = time.time) -> None:
        self._runtime = runtime
        self._count = count
        self._now = now
        self._lock = threading.Lock()
        self._gone: list[Reading] = []
        self._stopping = False
        #: Workers that were started again, and those of them that had to be killed because they were stuck.
        self.restarts = 0
        self.stuck = 0

    def ended(self, index: int) -> None:
        """A worker is no more."""
        with self._lock:
            account = self._read(index)
            if account is not None:
                self._gone = joined([self._gone, lasting(account.readings)])
            self._runtime.account(index).unlink(missing_ok=True)

    def stop(self) -> None:
        """No further calls should come."""
        self._stopping = True

    def health(self) -> Health:
        """One account of all workers."""
        with self._lock:
            health = joined_health([account.health if account else None for account in self._fresh()])
        return health._replace(blocking=(STOPPING, *health.blocking)) if self._stopping else health

    def readings(self) -> list[Reading]:
        """All metrics, each figure once."""
        with self._lock:
            accounts = [self._read(index) for index in range(self._count)]
            found = joined([self._gone, *(account.readings for account in accounts if account is not None)])
            up = sum(account is not None for account in self._fresh())
        own = [
            single(catalogue.WORKERS, float(self._count)),
            single(catalogue.WORKERS_UP, float(up)),
            single(catalogue.RESTARTS, float(self.restarts)),
            single(catalogue.STUCK, float(self.stuck)),
            single(catalogue.READY, float(self.health().ready)),
        ]
        named = {reading.name for reading in own}
        return [*(reading for reading in found if reading.name not in named), *own]

    def _fresh(self) -> list[_Account | None]:
        """The accounts by worker; None where one is too old to be true."""
        return [self._read(index) if self._is_fresh(index) else None for index in range(self._count)]

    def _is_fresh(self, index: int) -> bool:
        try:
            return self._now() - self._runtime.account(index).stat().st_mtime <= _STALE_SECONDS
        except OSError:
            return False

    def _read(self, index: int) -> _Account | None:
        try:
            health, _, readings = self._runtime.account(index).read_bytes().partition(b"\n")
            return _Account(health_from(health), from_json(readings))
        except (OSError, ValueError, TypeError) as error:
            if not isinstance(error, FileNotFoundError):
                _log.error("the metrics of a worker cannot be read", worker=index, error=str(error))
            return None
