"""How a worker knows of the others: each writes down how it is, and reads what the others wrote."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import structlog
from google.protobuf.message import DecodeError

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.live_definitions import KeptTools
from pdp.workers.changed_tools import SharedTools
from pdp.workers.orders import Orders

_log = structlog.get_logger("pdp.workers")

#: How often a worker writes how it is, and for how long that is taken for the truth.
_BEAT_SECONDS = 0.5
_STALE_SECONDS = 5.0


class WorkerFellows:
    """The other workers, by the files in which they say how they are."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def statuses(self) -> Sequence[pb.GetStatusResponse]:
        """As in `Fellows`."""
        return [status for _, status in self._read() if status is not None]

    def problems(self) -> list[str]:
        """As in `Fellows`."""
        return [f"worker {index} does not answer" for index, status in self._read() if status is None]

    def reload(self) -> None:
        """Have the supervisor tell all workers; this one reads it twice, which changes nothing."""
        # Once the supervisor is gone, somebody else has its place, if not its number.
        if os.getppid() == self._orders.supervisor:
            os.kill(self._orders.supervisor, signal.SIGHUP)

    def changed_tools(self) -> KeptTools | None:
        """A file of all workers."""
        return SharedTools(self._orders.runtime.changed_tools)

    def _read(self) -> Iterator[tuple[int, pb.GetStatusResponse | None]]:
        for index in range(self._orders.count):
            if index != self._orders.index:
                yield index, self._status(index)

    def _status(self, index: int) -> pb.GetStatusResponse | None:
        path = self._orders.runtime.status(index)
        try:
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                return None
            return pb.GetStatusResponse.FromString(path.read_bytes())
        except (OSError, DecodeError):
            return None


class Heartbeat:
    """Writes how this worker is until it is stopped: that it is written at all says that the process lives."""

    def __init__(self, orders: Orders, status: Callable[[], pb.GetStatusResponse]) -> None:
        self._path = orders.runtime.status(orders.index)
        self._status = status
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Write for the first time, and begin. Raises OSError."""
        self._write()
        self._thread.start()

    def tell(self, status: Callable[[], pb.GetStatusResponse]) -> None:
        """From now on this is how it is."""
        self._status = status
        self._write()

    def stop(self) -> None:
        """Write no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_BEAT_SECONDS):
            try:
                self._write()
            except OSError as error:
                # A disk that is full says nothing about this process: it is alive, and touching takes no room.
                _log.error("status cannot be written", error=str(error))
                os.utime(self._path)

    def _write(self) -> None:
        with self._lock:
            new = self._path.with_suffix(".new")
            new.write_bytes(self._status().SerializeToString())
            new.replace(self._path)
