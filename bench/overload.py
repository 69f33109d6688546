"""`python -m bench.overload`: ten times the load that the service can sustain, and what becomes of its answers.

The service has one core, h2load the other. h2load asks again as soon as it is answered or refused, so it never backs
off. Beside it a client of grpc asks 50 times a second, and its calls are what the latencies are of. Answers are counted
in the decision log.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from bench.bundle_files import write_bundle
from bench.load import grpc_url
from bench.processes import Cores, Service, find_cores, python_service, service_config
from bench.unary_rows import questions
from bench.wire_requests import authorize_request, framed
from bench.workloads import Sizes, World

#: Connections, and calls of each at once: what the service sustains, ten times as many connections, and ten times as
#: many connections which each want more calls at once than the service lets them have.
_SUSTAINED, _TENFOLD, _STORM = (4, 8), (40, 8), (40, 100)
_METHOD = "/pdp.v1.DecisionService/Authorize"
_PROBES_A_SECOND = 50
_PROBE_DEADLINE_SECONDS = 10.0
#: Calls in a row that are as fast as before, after which the service has recovered.
_RECOVERED_CALLS = 20
_MIB = 1024


@dataclass(slots=True)
class _Outcome:
    """What became of one load. Latencies are those of answered probes, in ms."""

    answers: float
    latencies: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    rss_mib: float = 0.0
    peak_mib: float = 0.0

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98]


class _Probe:
    """A client that asks at a steady rate whatever it is answered."""

    def __init__(self, address: str, request: bytes) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._call: Any = self._channel.unary_unary(_METHOD)
        self._request = request

    def ask(self) -> tuple[str, float]:
        """The code of one call and how long it took, in ms."""
        started = time.perf_counter()
        try:
            self._call(self._request, timeout=_PROBE_DEADLINE_SECONDS)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        return code, (time.perf_counter() - started) * 1e3

    @contextmanager
    def asking(self, outcome: _Outcome) -> Iterator[None]:
        """Ask until the context is left."""
        stop, lock = threading.Event(), threading.Lock()

        def asked(started: float, done: Future[Any]) -> None:
            code = done.code().name  # type: ignore[attr-defined]  # a future of grpc has one
            with lock:
                outcome.codes[code] += 1
                if code == "OK":
                    outcome.latencies.append((time.perf_counter() - started) * 1e3)

        def ask() -> None:
            while not stop.wait(1 / _PROBES_A_SECOND):
                started = time.perf_counter()
                future = self._call.future(self._request, timeout=_PROBE_DEADLINE_SECONDS)
                future.add_done_callback(lambda done, started=started: asked(started, done))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="how long each overload lasts (120 for the long form)")
    seconds: int = parser.parse_args().seconds
    world = World(Sizes(1_000, 1_000))
    request = authorize_request(questions(world)[0]).SerializeToString()
    with tempfile.TemporaryDirectory() as name:
        work, cores = Path(name), find_cores()
        write_bundle(world, work / "bundle")
        (work / "body").write_bytes(framed(request))
        # Answers are counted in one file.
        log = {"path": str(work / "log"), "sink": "file", "spool_dir": str(work / "spool"), "max_file_mib": 4_096}
        config = service_config(work / "bundle", decision_log=log)
        with python_service("bench.service", config, cores, work / "errors") as service:
            _Overload(service, work, cores, request).run(seconds)


class _Overload:
    def __init__(self, service: Service, work: Path, cores: Cores, request: bytes) -> None:
        self._service, self._work, self._cores = service, work, cores
        self._probe = _Probe(service.address, request)

    def run(self, seconds: int) -> None:
        """Load the service as much as it sustains, then with each overload, and as before at the end."""
        self._load(_SUSTAINED, 5)  # warms up
        before = self._load(_SUSTAINED, max(5, seconds // 4))
        _print("sustained", before, before)
        for name, shape in (("10 x connections", _TENFOLD), ("10 x, 100 calls each", _STORM)):
            outcome = self._load(shape, seconds)
            recovered = self._recovery(before.p99)
            _print(name, outcome, before)
            sys.stdout.write(f"    as fast as before {recovered:.2f} s after the end\n")
            _print("sustained again", self._load(_SUSTAINED, max(5, seconds // 4)), before)

    def _load(self, shape: tuple[int, int], seconds: int) -> _Outcome:
        outcome, answered = _Outcome(0.0), self._answers()
        connections, calls = map(str, shape)
        options = ["-c", connections, "-m", calls, "-t", "1", "-D", str(seconds), "-d", str(self._work / "body")]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command = ["h2load", *options, *headers, grpc_url(self._service.address, "Authorize")]
        with self._probe.asking(outcome):
            started = time.perf_counter()
            process = subprocess.Popen(  # noqa: S603 - a command of this program
                self._cores.pinned(command, self._cores.load), stdout=subprocess.DEVNULL
            )
            while process.poll() is None:
                outcome.peak_mib = max(outcome.peak_mib, self._rss())
                time.sleep(0.2)
            took = time.perf_counter() - started
        outcome.answers = (self._answers() - answered) / took
        outcome.rss_mib = self._rss()
        return outcome

    def _recovery(self, usual_ms: float) -> float:
        """Seconds until calls are as fast as they are under a load that is sustained."""
        started, fast, since = time.perf_counter(), 0, 0.0
        while fast < _RECOVERED_CALLS:
            code, took = self._probe.ask()
            if code == "OK" and took <= usual_ms:
                fast += 1
            else:
                fast, since = 0, time.perf_counter() - started
        return since

    def _answers(self) -> int:
        with (self._work / "log").open("rb") as stream:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: stream.read(1 << 20), b""))

    def _rss(self) -> float:
        status = Path(f"/proc/{self._service.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / _MIB


def _print(name: str, outcome: _Outcome, before: _Outcome) -> None:
    codes = ", ".join(f"{code} {count}" for code, count in outcome.codes.most_common())
    sys.stdout.write(
        f"{name}: {outcome.answers:,.0f} answers/s ({outcome.answers / before.answers:.0%}), "
        f"p50 {statistics.median(outcome.latencies):.0f} ms, p99 {outcome.p99:.0f} ms of probes ({codes}), "
        f"RSS {outcome.rss_mib:.0f} MiB, peak {outcome.peak_mib:.0f} MiB\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
