"""Load on gRPC servers with h2load, and the rows that come of it."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import BenchError, Cores, cpu_seconds, output_of, python_service
from bench.report import Row, Target
from bench.run_options import Run

#: Requests of the first round, which tells how many fill a round.
_FIRST_REQUESTS = 3_000
_LOG_SECONDS = 5.0
_SERVICE = "pdp.v1.DecisionService"
_OPTIONS = ["-c", "4", "-m", "8", "-t", "1", "-H", "content-type: application/grpc", "-H", "te: trailers"]
_RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")
_COUNTS = re.compile(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored")


@dataclass(slots=True)
class Endpoint:
    """A server under load: where, with which body; then, by round, requests a second and µs of its CPU for each.

    Its log, if any, must name `allow` once for every request.
    """

    name: str
    pid: int
    url: str
    body: Path
    log: Path | None = None
    allow: bytes = b""
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    answered: int = 0


def grpc_url(address: str, method: str) -> str:
    """Where a method of the service is called."""
    return f"http://{address}/{_SERVICE}/{method}"


def start_echo(run: Run, stack: ExitStack, method: str, response: Path, body: Path) -> Endpoint:
    """A server that answers a method with the message in the file `response` and does nothing else."""
    argument = json.dumps({"method": method, "response": str(response)})
    errors = run.work / f"echo-{method}.err"
    service = stack.enter_context(python_service("bench.echo", argument, run.cores, errors))
    return Endpoint("bare gRPC echo", service.pid, grpc_url(service.address, method), body)


def load_by_turns(run: Run, name: str, endpoints: Sequence[Endpoint], rounds: int, seconds: float) -> None:
    """Load one server after the other, there and back again; each as long in every round."""
    # The first round warms up, and tells how many requests fill a round.
    counts = [load(run, endpoint, _FIRST_REQUESTS) for endpoint in endpoints]
    for endpoint in endpoints:
        del endpoint.rates[0], endpoint.costs[0]
    turns = list(zip(endpoints, counts, strict=True))
    for number in range(rounds):
        run.say(f"{name}: round {number + 1} of {rounds}")
        for endpoint, rate in turns if number % 2 else reversed(turns):
            load(run, endpoint, int(rate * seconds))
    for endpoint in endpoints:
        _check_log(endpoint)


def load(run: Run, endpoint: Endpoint, requests: int, cores: Cores | None = None) -> float:
    """Let `requests` be answered as fast as may be; the requests a second. `cores` are the run's if not given."""
    command = ["h2load", *_OPTIONS, "-n", str(requests), "-d", str(endpoint.body), endpoint.url]
    before = cpu_seconds(endpoint.pid)
    output = output_of(command, cores or run.cores)
    spent = cpu_seconds(endpoint.pid) - before
    rate, counts = _RATE.search(output), _COUNTS.search(output)
    if rate is None or counts is None:
        raise BenchError(f"h2load's answer cannot be read:\n{output}")
    done, succeeded, failed, errored = map(int, counts.groups())
    if failed or errored or not done == succeeded == requests:
        raise BenchError(f"{endpoint.name}: {failed} calls failed, {errored} broke off")
    endpoint.answered += succeeded
    endpoint.rates.append(float(rate.group(1)))
    endpoint.costs.append(spent / requests * 1e6)
    return endpoint.rates[-1]


def _check_log(endpoint: Endpoint) -> None:
    """Raise BenchError unless a server that logs has written a line for every answer."""
    if endpoint.log is None:
        return
    # Lines are written some 50 ms after the answer.
    end = time.monotonic() + _LOG_SECONDS
    while (lines := _count(endpoint.log, endpoint.allow)) < endpoint.answered and time.monotonic() < end:
        time.sleep(0.1)
    if lines < endpoint.answered:
        raise BenchError(f"{endpoint.name}: {endpoint.answered} answers, {lines} lines in the log")


def _count(log: Path, text: bytes) -> int:
    with log.open("rb") as stream:
        return sum(text in line for line in stream)


def absolute(endpoint: Endpoint) -> Row:
    """The rate of a server."""
    return Row(endpoint.name, "req/s", endpoint.rates, detail=_cost(endpoint))


def compared(own: Endpoint, base: Endpoint, label: str, target: Target | None = None) -> Row:
    """The rate of a server as a ratio to another's."""
    by_cpu = statistics.median(theirs / ours for theirs, ours in zip(base.costs, own.costs, strict=True))
    return Row(own.name, "req/s", own.rates, label, base.rates, target, f"{_cost(own)}; ratio by CPU {by_cpu:.2f}")


def _cost(endpoint: Endpoint) -> str:
    return f"{statistics.median(endpoint.costs):.0f} µs of CPU each"
