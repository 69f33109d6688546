"""The process that looks after the workers. It answers no calls and has no grpc in it.

A worker that ends is started again: at once, or if it keeps ending soon after its start, after a time that grows. One
that no longer writes how it is, for whatever reason, is killed and started again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from google.protobuf.message import DecodeError

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.config import Config
from pdp.workers.accounts import Accounts
from pdp.workers.orders import Orders, RuntimeDirectory

_log = structlog.get_logger("pdp.workers")

WORKER_COMMAND = (sys.executable, "-m", "pdp.cli.worker")

_TICK_SECONDS = 0.1
#: A worker that ends sooner than this after its start has failed to start.
_SETTLED_SECONDS = 10.0
_FIRST_DELAY_SECONDS = 0.2
_MAX_DELAY_SECONDS = 10.0
#: What an interpreter may need until a new worker gives its first sign of life, on a machine that is busy.
_FIRST_BEAT_SECONDS = 60.0
#: Beyond the time for calls in flight: for what else a worker has to finish.
_STOP_SECONDS = 10.0


class Arriving(Protocol):
    """Where signals of this process come from."""

    def wait(self, seconds: float | None = None) -> signal.Signals | None:
        """The next signal; None if there is none in that time."""


@dataclass(slots=True)
class _Worker:
    index: int
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    #: Starts that came to nothing, one after another.
    failures: int = 0
    start_at: float = 0.0
    #: The last sign of life, and when it was seen. By this process's own clock: the machine's may be set.
    beat: int = 0
    beat_at: float = field(default=0.0)


class Supervisor:
    """Starts `config.server.workers` workers and keeps them running until a signal says to stop.

    `config` has no free ports left to pick. What a worker says when it fails to start goes to this process's stderr.
    """

    def __init__(
        self,
        config: Config,
        runtime: RuntimeDirectory,
        *,
        command: Sequence[str] = WORKER_COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._command = list(command)
        self._clock = clock
        self._workers = [_Worker(index) for index in range(config.server.workers)]
        #: What the workers do, and how often one of them had to be replaced.
        self.accounts = Accounts(runtime, config.server.workers)

    def run(self, arriving: Arriving) -> int:
        """Serve until SIGTERM or SIGINT; the exit status: 0, or that of the first worker if it cannot start.

        SIGHUP has all workers read the bundle again.
        """
        try:
            status, arrived = self._start_first(arriving)
            while status is None and arrived is None:
                self._look()
                arrived = self._next(arriving)
        finally:
            self._stop()
        return status if status is not None else 0

    def _start_first(self, arriving: Arriving) -> tuple[int | None, signal.Signals | None]:
        """Start one worker and wait until it serves: whatever is wrong with the bundle is told once, and for all."""
        first = self._workers[0]
        self._start(first)
        assert first.process is not None
        arrived = None
        while arrived is None and not self._is_serving(first):
            if (status := first.process.poll()) is not None:
                return (status if status > 0 else 1), None
            arrived = self._next(arriving)
        return None, arrived

    def _next(self, arriving: Arriving) -> signal.Signals | None:
        """The next signal that says to stop, if it comes before it is time to look again."""
        arrived = arriving.wait(_TICK_SECONDS)
        if arrived is not signal.SIGHUP:
            return arrived
        for worker in self._workers:
            # Before its first sign of life a worker would end of it, and has not begun to read the bundle.
            if worker.process is not None and self._runtime.beat(worker.index).exists():
                worker.process.send_signal(signal.SIGHUP)
        return None

    def _look(self) -> None:
        now = self._clock()
        for worker in self._workers:
            if worker.process is None:
                if now >= worker.start_at:
                    self._start(worker)
            elif (status := worker.process.poll()) is not None:
                self._ended(worker, status)
            else:
                self._listen(worker, now)

    def _start(self, worker: _Worker) -> None:
        orders = Orders(self._config, worker.index, len(self._workers), os.getpid(), self._runtime)
        for file in (self._runtime.status(worker.index), self._runtime.beat(worker.index)):
            file.unlink(missing_ok=True)
        worker.started_at = worker.beat_at = self._clock()
        worker.beat = 0
        try:
            # A session of its own: a key typed at the terminal is for this process to pass on, once.
            worker.process = subprocess.Popen(  # noqa: S603 - this program itself
                self._command, stdin=subprocess.PIPE, text=True, start_new_session=True
            )
            assert worker.process.stdin is not None
            # Kept open: a worker whose input ends knows that nobody looks after it any more.
            worker.process.stdin.write(orders.as_json() + "\n")
            worker.process.stdin.flush()
        except OSError as error:
            # No more processes, or no more memory; or the worker was gone before it could read, which `poll` tells.
            _log.error("worker cannot be started", worker=worker.index, error=str(error))
            if worker.process is None:
                self._ended(worker, 1)

    def _ended(self, worker: _Worker, status: int) -> None:
        now = self._clock()
        lived = now - worker.started_at
        worker.failures = worker.failures + 1 if lived < _SETTLED_SECONDS else 0
        delay = min(_FIRST_DELAY_SECONDS * 2 ** min(worker.failures - 1, 16), _MAX_DELAY_SECONDS)
        worker.start_at = now + (delay if worker.failures else 0)
        _close(worker)
        worker.process = None
        self.accounts.ended(worker.index)
        self.accounts.restarts += 1
        _log.error("worker ended", worker=worker.index, status=status, lived_seconds=round(lived, 1))

    def _listen(self, worker: _Worker, now: float) -> None:
        """Look whether a worker lives, and kill it if it does not."""
        assert worker.process is not None
        try:
            beat = self._runtime.beat(worker.index).stat().st_mtime_ns
        except OSError:
            beat = 0
        patience = self._config.server.stuck_seconds
        if beat != worker.beat:
            worker.beat, worker.beat_at = beat, now
        elif now - worker.beat_at > (patience if beat else max(patience, _FIRST_BEAT_SECONDS)):
            _log.error("worker is stuck", worker=worker.index, pid=worker.process.pid)
            self.accounts.stuck += 1
            worker.process.kill()

    def _is_serving(self, worker: _Worker) -> bool:
        try:
            status = pb.GetStatusResponse.FromString(self._runtime.status(worker.index).read_bytes())
        except (OSError, DecodeError):
            return False
        return status.state in (pb.SERVICE_STATE_SERVING, pb.SERVICE_STATE_DEGRADED)

    def _stop(self) -> None:
        """Have all workers finish what they do, and end those that do not in time."""
        self.accounts.stop()
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        until = self._clock() + self._config.server.drain_seconds + _STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, until - self._clock()))
            except subprocess.TimeoutExpired:
                _log.error("worker does not stop", pid=process.pid)
                process.kill()
                process.wait()
        for worker in self._workers:
            _close(worker)


def _close(worker: _Worker) -> None:
    if worker.process is not None and worker.process.stdin is not None:
        # What it did not read is of no use to anybody.
        with contextlib.suppress(OSError):
            worker.process.stdin.close()
