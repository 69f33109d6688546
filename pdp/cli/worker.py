"""One worker of `pdp serve` with several of them: started by the supervisor, and by nobody else."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog

from pdp import app, cores, logs
from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.cli.serving import announce, serve_signals
from pdp.cli.signals import Signals, received
from pdp.cli.terminal import prepare_streams, problem_line, tell, tell_error
from pdp.errors import BundleError, ConfigError
from pdp.workers.accounts import AccountWriter
from pdp.workers.fellows import Heartbeat, WorkerFellows
from pdp.workers.orders import Orders

_log = structlog.get_logger("pdp")

_FINDINGS, _FAILURE = 1, 2


def main() -> int:
    """Serve as standard input says; the exit status as that of `pdp serve`."""
    prepare_streams()
    orders = Orders.from_json(sys.stdin.readline())
    log_format = logs.configure(orders.config.telemetry, sys.stderr, os.environ, worker=orders.index)
    with received() as signals:
        _stop_with_supervisor(signals)
        heartbeat = Heartbeat(orders, lambda: pb.GetStatusResponse(state=pb.SERVICE_STATE_NOT_READY))
        heartbeat.start()
        try:
            with ExitStack() as stack, app.running(orders.config, os.environ, WorkerFellows(orders)) as running:
                signals.begin()
                _keep_to_core(orders)
                heartbeat.tell(running.own_status)
                # To the last call: it ends after the service.
                stack.enter_context(_accounted(orders, running))
                if orders.index == 0:
                    announce(running, orders.config, log_format)
                serve_signals(signals, running, orders.config)
        except ConfigError as error:
            for message in error.problems:
                tell_error(message)
            return _FAILURE
        except BundleError as error:
            for problem in error.problems:
                tell(problem_line(problem, sys.stderr))
            return _FINDINGS
        finally:
            heartbeat.stop()
    return 0


def _keep_to_core(orders: Orders) -> None:
    """Give this worker a core of its own, if that is wanted and there are enough.

    The interpreter's lock lets one thread run at a time; on several cores the threads of a process only hand each
    other cold caches, and push those of the other workers aside.
    """
    core = cores.core_of(orders.index, orders.count)
    if orders.config.server.worker_affinity == "none" or core is None:
        return
    try:
        cores.keep_to(core)
    except OSError as error:
        _log.warning("worker cannot keep to one core", worker=orders.index, error=str(error))


@contextmanager
def _accounted(orders: Orders, running: app.App) -> Iterator[None]:
    """Tell the supervisor what this worker does, if somebody asks it."""
    if not orders.config.telemetry.listen:
        yield
        return
    writer = AccountWriter(orders, running.process)
    writer.start()
    try:
        yield
    finally:
        writer.stop()


def _stop_with_supervisor(signals: Signals) -> None:
    """Without the supervisor nobody would ever end or replace this process, so it ends itself, in good order."""

    def wait() -> None:
        # Standard input has nothing more to say; its end comes when the supervisor's does.
        while sys.stdin.readline():
            pass
        if not signals.stopping:
            _log.warning("the supervisor is gone")
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
