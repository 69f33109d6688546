"""`python -m bench.service CONFIG`: the service as a process of its own, with its core open to measurement.

CONFIG is the service's configuration as JSON, nested like its file. The process answers on stdout in JSON lines: first
what it costs to load, then one line for each command that comes in on stdin. It stops when stdin ends, so it cannot
outlive whoever started it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.bundle_files import agent_name
from bench.cedar_floor import cedar_alone
from bench.child import answers_stream, rss_mib, serve_commands
from bench.workloads import TOOLS, Request, Sizes, World, server_name
from pdp._gen.pdp.v1 import decision_service_pb2
from pdp.app import App, running
from pdp.bundle.store import SnapshotStore
from pdp.cedar.model import EntityUid, ToolQuery
from pdp.config import Config, load_config
from pdp.decision_log.sinks import StreamSink
from pdp.identity.callers import ANYONE
from pdp.live_definitions import LiveDefinitions
from pdp.servicers.decision import DecisionServicer
from pdp.servicers.ids import decision_ids
from pdp.servicers.recorder import Recorder


class _WithoutDeadline:
    """A call that would wait for ever."""

    caller = ANYONE

    def time_remaining(self) -> None:
        return None


class Measured:
    """The commands: each takes the command's JSON object and returns the answer's."""

    def __init__(self, app: App, config: Config) -> None:
        self._app = app
        self._config = config
        self._world: World | None = None
        self._pairs: set[tuple[int, int, int]] = set()

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what `command["do"]` names."""
        commands = {
            "authorize": self._authorize,
            "batch": self._batch,
            "cedar": self._cedar,
            "cpu": self._cpu,
            "memory": self._memory,
        }
        return commands[command["do"]](command)

    def _requests(self, command: dict[str, Any]) -> tuple[World, list[Request]]:
        sizes = Sizes(**command["sizes"])
        if self._world is None or self._world.sizes != sizes:
            self._world = World(sizes)
        return self._world, self._world.requests(command["pattern"], command["seed"], command["count"])

    def _authorize(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask the core one question after the other; µs of CPU time. `repeated` is the share of known shapes.

        Nothing in the core waits, so this is how long it takes where nobody else wants the core.
        """
        _, requests = self._requests(command)
        authorizer = self._app.store.current().authorizer
        queries = [_query(request) for request in requests]
        times: list[int] = []
        answers: list[str] = []
        for query in queries:
            started = time.thread_time_ns()
            answer = authorizer.authorize(query)
            times.append(time.thread_time_ns() - started)
            answers.append(answer.denial.code.value if answer.denial else "")
        wrong = sum(answer != request.answer for answer, request in zip(answers, requests, strict=True))
        cuts = statistics.quantiles(times, n=100)
        return {"p50": cuts[49] / 1000, "p99": cuts[98] / 1000, "wrong": wrong, "repeated": self._repeated(requests)}

    def _repeated(self, requests: list[Request]) -> float:
        pairs = [(request.agent, *request.tool) for request in requests]
        known = sum(pair in self._pairs for pair in pairs)
        self._pairs.update(pairs)
        return known / len(pairs)

    def _batch(self, command: dict[str, Any]) -> dict[str, Any]:
        """Call the handler of AuthorizeBatch as the server would, but for the wire; µs of CPU time for the batch."""
        data = Path(command["request"]).read_bytes()
        with _handler(self._app.store, self._config, Path(command["log"])) as handler:
            started = time.thread_time_ns()
            request = decision_service_pb2.AuthorizeBatchRequest.FromString(data)
            parsed = time.thread_time_ns()
            response = handler.AuthorizeBatch(request, _WithoutDeadline())
            handled = time.thread_time_ns()
            response.SerializeToString()
            written = time.thread_time_ns()
        return {"handler": (handled - parsed) / 1000, "messages": (parsed - started + written - handled) / 1000}

    def _cedar(self, command: dict[str, Any]) -> dict[str, Any]:
        """Ask cedarpy what `_batch` asks for one agent and one tool; µs of CPU time for a question."""
        return {"us": cedar_alone(World(Sizes(**command["sizes"])), command["count"], command["seed"])}

    def _cpu(self, command: dict[str, Any]) -> dict[str, Any]:
        """The CPU time of this process until now."""
        return {"us": time.process_time_ns() / 1000}

    def _memory(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"rss_mib": rss_mib()}


@contextmanager
def _handler(store: SnapshotStore, config: Config, log: Path) -> Iterator[DecisionServicer]:
    with log.open("ab", buffering=0) as stream:
        sink = StreamSink(stream, config.decision_log.buffer_lines, lambda error: None)
        try:
            yield DecisionServicer(
                store, Recorder(sink, decision_ids(), config.decision_log.arguments), config.limits, LiveDefinitions()
            )
        finally:
            sink.close()


def _query(request: Request) -> ToolQuery:
    tool = request.tool
    return ToolQuery(
        EntityUid("Agent", agent_name(request.agent)), server_name(tool.server), TOOLS[tool.number], request.arguments
    )


def main() -> None:
    """Serve until stdin ends."""
    out = answers_stream()
    config = load_config(None, {}, json.loads(sys.argv[1]))
    before, started, cpu = rss_mib(), time.perf_counter(), time.process_time()
    with running(config, {}) as app:
        ready = {
            "address": app.addresses[0],
            "load_seconds": time.perf_counter() - started,
            "load_cpu_seconds": time.process_time() - cpu,
            "rss_mib": rss_mib(),
            "rss_before_mib": before,
        }
        serve_commands(out, ready, Measured(app, config).answer)


if __name__ == "__main__":
    main()
