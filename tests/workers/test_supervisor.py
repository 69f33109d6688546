"""The supervisor, with workers that are small programs and a clock that the test turns."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.config import Config, ServerConfig
from pdp.workers.orders import Orders, RuntimeDirectory
from pdp.workers.supervisor import Supervisor
from tests.waiting import wait_until

CONFIG = Config(server=ServerConfig(workers=2, stuck_seconds=5, drain_seconds=1))

#: Says that it serves and waits for its end.
SERVES = """
import json, pathlib, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
orders = json.loads(sys.stdin.readline())
path = pathlib.Path(orders["runtime"], f"worker-{orders['index']}.status")
path.write_bytes(bytes([8, %d]))
path.with_suffix(".beat").touch()
sys.stdin.read()
"""
#: Does not say anything yet.
BEGINS = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); sys.stdin.read()"
FAILS = "import sys; sys.stdin.readline(); sys.exit(3)"


class Clock:
    """Stands still unless it is turned."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Script:
    """What arrives, step by step: each step does something, and gives a signal or None."""

    def __init__(self, *steps: object) -> None:
        self._steps = iter(steps)

    def wait(self, seconds: float | None = None) -> signal.Signals | None:
        """The next step's; SIGTERM after the last."""
        step = next(self._steps, signal.SIGTERM)
        if callable(step):
            step = step()
        assert step is None or isinstance(step, signal.Signals)
        return step


def command(program: str) -> list[str]:
    """A worker that does this."""
    return [sys.executable, "-c", program]


SERVING = command(SERVES % pb.SERVICE_STATE_SERVING)


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeDirectory:
    """What the workers share."""
    return RuntimeDirectory(tmp_path)


def test_a_first_worker_that_fails_ends_it(runtime: RuntimeDirectory) -> None:
    """The status is the worker's own, and no second one is started."""
    supervisor = Supervisor(CONFIG, runtime, command=command(FAILS))
    first = supervisor._workers[0]

    def wait() -> None:
        wait_until(lambda: first.process is not None and first.process.poll() is not None, "the worker's end")

    assert supervisor.run(Script(wait)) == 3
    assert supervisor.accounts.restarts == 0


def test_all_workers_are_started_and_ended(runtime: RuntimeDirectory) -> None:
    """The second follows once the first one serves; SIGTERM ends both, with status 0."""
    supervisor = Supervisor(CONFIG, runtime, command=SERVING)

    def both() -> None:
        pids.update(w.process.pid for w in supervisor._workers if w.process is not None)

    pids: set[int] = set()

    def wait() -> None:
        wait_until(lambda: supervisor._is_serving(supervisor._workers[0]), "the first worker")

    assert supervisor.run(Script(wait, None, both)) == 0
    assert len(pids) == 2
    assert all(w.process is not None and w.process.returncode == -signal.SIGTERM for w in supervisor._workers)


def test_a_reload_ends_no_worker_that_begins(runtime: RuntimeDirectory) -> None:
    """SIGHUP is passed on to workers that show that they live; one that does not yet would end of it."""
    supervisor = Supervisor(CONFIG, runtime, command=SERVING)
    begins, serves = supervisor._workers
    supervisor._start(serves)
    wait_until(lambda: runtime.beat(1).exists(), "the second worker")
    supervisor._command = command(BEGINS)
    supervisor._start(begins)
    assert begins.process is not None
    assert serves.process is not None
    try:
        supervisor._next(Script(signal.SIGHUP))
        assert serves.process.wait(30) == -signal.SIGHUP
    finally:
        for process in (begins.process, serves.process):
            process.communicate()
    assert begins.process.returncode == 0


def test_a_worker_that_keeps_failing_is_given_time(runtime: RuntimeDirectory) -> None:
    """After each start that comes to nothing the pause is twice as long, up to ten seconds; others are not held up."""
    clock = Clock()
    supervisor = Supervisor(CONFIG, runtime, command=command(FAILS), clock=clock)
    worker = supervisor._workers[0]
    supervisor._workers[1].start_at = clock.now + 1_000
    pauses = []
    for _ in range(9):
        clock.now = max(clock.now, worker.start_at)
        supervisor._start(worker)
        assert worker.process is not None
        worker.process.wait()
        supervisor._look()
        pauses.append(round(worker.start_at - clock.now, 6))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]
    assert supervisor.accounts.restarts == 9


def test_a_worker_that_lived_is_replaced_at_once(runtime: RuntimeDirectory) -> None:
    """One that ends long after its start is started again without a pause."""
    clock = Clock()
    supervisor = Supervisor(CONFIG, runtime, command=command(FAILS), clock=clock)
    worker = supervisor._workers[0]
    supervisor._start(worker)
    assert worker.process is not None
    worker.process.wait()
    clock.now += 11
    supervisor._ended(worker, 3)
    assert (worker.failures, worker.start_at) == (0, clock.now)


def test_silence_is_death(runtime: RuntimeDirectory) -> None:
    """A worker whose sign of life does not change for the time that is configured is killed; a new sign is in time."""
    clock = Clock()
    supervisor = Supervisor(CONFIG, runtime, command=SERVING, clock=clock)
    worker = supervisor._workers[0]
    supervisor._start(worker)
    assert worker.process is not None
    process = worker.process
    try:
        wait_until(lambda: supervisor._is_serving(worker), "the worker")
        supervisor._listen(worker, clock.now)
        clock.now += 4
        runtime.beat(0).touch()
        supervisor._listen(worker, clock.now)
        clock.now += 4
        supervisor._listen(worker, clock.now)
        assert supervisor.accounts.stuck == 0
        clock.now += 2
        supervisor._listen(worker, clock.now)
        assert supervisor.accounts.stuck == 1
        assert process.wait(30) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_orders_come_as_they_were_given(tmp_path: Path) -> None:
    """What goes through the pipe is what comes out, with a configuration of every section."""
    issuer = {"issuer": "https://i", "audiences": ["pdp"], "jwks_file": "/j", "principal_type": "Agent"}
    document = {
        "server": {"workers": 3, "listen": ["127.0.0.1:1"], "tls_certificate": "/c", "tls_key": "/k"},
        "callers": {"caller": [{"name": "edge", "rights": ["decide"], "keys_sha256": ["0" * 64], "servers": ["git"]}]},
        "bundle": {"source": "/b"},
        "decision_log": {
            "sink": "otlp",
            "otlp_endpoint": "https://logs.example",
            "otlp_headers": {"authorization": "Bearer secret"},
        },
        "authzen": {"listen": "127.0.0.1:2", "entity_types": {"identity": "User"}},
        "envoy": {"ext_proc": True, "server_from": "fixed:git", "subject_from": "header:x-agent"},
        "identity": {"issuer": [issuer]},
    }
    orders = Orders(Config.model_validate(document), 1, 3, 42, RuntimeDirectory(tmp_path))
    assert Orders.from_json(orders.as_json()) == orders
