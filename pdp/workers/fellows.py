"""How a worker knows of the others: each writes down how it is, and reads what the others wrote."""

from __future__ import annotations

import contextlib
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
#: A worker that beats for longer than this without writing how it is cannot write it.
_UNWRITTEN_SECONDS = 1.0


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
        runtime = self._orders.runtime
        try:
            beat = runtime.beat(index).stat().st_mtime
            if time.time() - beat > _STALE_SECONDS:
                return None
            written = runtime.status(index).stat().st_mtime
            status = pb.GetStatusResponse.FromString(runtime.status(index).read_bytes())
        except (OSError, DecodeError):
            return None
        return _outdated(status, index) if beat - written > _UNWRITTEN_SECONDS else status


def _outdated(status: pb.GetStatusResponse, index: int) -> pb.GetStatusResponse:
    """What a worker said before it could write no more: whatever it is now, nobody can say that all is well."""
    status.degraded_reasons.append(f"worker {index} cannot write how it is")
    told: list[pb.GetStatusResponse | pb.Worker] = [status, *status.workers]
    for one in told:
        if one.state == pb.SERVICE_STATE_SERVING:
            one.state = pb.SERVICE_STATE_DEGRADED
    return status


class Heartbeat:
    """Writes how this worker is until it is stopped: that it is written at all says that the process lives."""

    def __init__(self, orders: Orders, status: Callable[[], pb.GetStatusResponse]) -> None:
        self._path = orders.runtime.status(orders.index)
        self._beat = orders.runtime.beat(orders.index)
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
            except Exception as error:  # noqa: BLE001 - the top of a thread: the worker would be taken for dead
                _log.error("status cannot be written", error=str(error) or type(error).__name__)
                # It is alive all the same, and touching takes no room.
                with contextlib.suppress(OSError):
                    self._beat.touch()

    def _write(self) -> None:
        with self._lock:
            new = self._path.with_suffix(".new")
            new.write_bytes(self._status().SerializeToString())
            new.replace(self._path)
        self._beat.touch()
