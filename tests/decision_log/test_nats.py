"""Records to a real NATS server with JetStream."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import pytest

from pdp.decision_log.backlog import Batch
from pdp.decision_log.nats_exporter import NatsExporter
from pdp.decision_log.opening import open_sink
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError
from tests.waiting import wait_until

SERVER = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(SERVER is None, reason="nats-server is missing (Debian: nats-server)"),
]
LINE = '{"kind":"authorize","time":"2026-01-02T03:04:05.678901Z","decision_id":"d%d"}'


class Server:
    """A server with its data in a directory, on a port of its own that it keeps over restarts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it."""
        assert SERVER is not None
        ports = self._directory / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        where = ["-a", "127.0.0.1", "-p", str(self.port), "--ports_file_dir", str(ports)]
        command = [SERVER, "-js", "-sd", str(self._directory / "data"), *where]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: any(path.stat().st_size for path in ports.iterdir()), "the server listens")
        [path] = ports.iterdir()
        self.port = int(json.loads(path.read_text())["nats"][0].rpartition(":")[2])

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """What JetStream answers."""

        async def asked() -> Any:
            client = await nats.connect(self.url)
            try:
                return await question(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(asked())

    def stored(self) -> list[dict[str, Any]]:
        """Every record in the stream."""

        async def read(stream: Any) -> list[Any]:
            state = (await stream.stream_info("log")).state
            return [json.loads((await stream.get_msg("log", n)).data) for n in range(1, state.last_seq + 1)]

        records: list[dict[str, Any]] = self.ask(read)
        return records


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with a stream `log` of the subject `pdp.log`."""
    server = Server(tmp_path)
    server.start()
    server.ask(lambda stream: stream.add_stream(name="log", subjects=["pdp.log"]))
    yield server
    server.stop()


@contextmanager
def sink(tmp_path: Path, url: str, problems: list[str], subject: str = "pdp.log") -> Iterator[DecisionSink]:
    """A sink to that server."""
    spool = str(tmp_path / "spool")
    config = DecisionLogConfig(sink="nats", nats_servers=(url,), nats_subject=subject, spool_dir=spool)
    opened = open_sink(config, {}, problems.append)
    try:
        yield opened
    finally:
        opened.close()


def test_records_are_stored(tmp_path: Path, server: Server) -> None:
    """Each record is in the stream once, in the order of its chain."""
    problems: list[str] = []
    with sink(tmp_path, server.url, problems) as opened:
        for number in range(1_000):
            opened.write(LINE % number)
        wait_until(lambda: opened.status().lag_records == 0, "all is stored")
    stored = server.stored()
    assert [record["seq"] for record in stored] == list(range(1, 1_001))
    assert problems == []


def test_what_comes_twice_is_stored_once(server: Server) -> None:
    """A batch that is published again, by another process, changes nothing in the stream."""
    batch = Batch("a" * 32, 1, b'{"n":1}\n{"n":2}\n')
    for _ in range(2):
        exporter = NatsExporter([server.url], "pdp.log", None)
        exporter.export(batch)
        exporter.close()
    assert [record["n"] for record in server.stored()] == [1, 2]


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path, server: Server) -> None:
    """While it is away records wait and no call fails; then they are stored, each once."""
    problems: list[str] = []
    with sink(tmp_path, server.url, problems) as opened:
        opened.write(LINE % 0)
        wait_until(lambda: opened.status().lag_records == 0, "it is stored")
        server.stop()
        for number in range(1, 100):
            opened.write(LINE % number)
        wait_until(lambda: opened.status().failing, "it fails")
        server.start()
        wait_until(lambda: opened.status().lag_records == 0, "all is stored")
    assert sorted(record["seq"] for record in server.stored()) == list(range(1, 101))


def test_no_stream_is_a_failure(tmp_path: Path, server: Server) -> None:
    """A subject that no stream listens to stores nothing, and that is told."""
    problems: list[str] = []
    with sink(tmp_path, server.url, problems, subject="elsewhere") as opened:
        opened.write(LINE % 0)
        wait_until(lambda: opened.status().failing, "it fails")
    assert "records wait in the spool" in problems[-1]


def test_a_server_that_is_none(tmp_path: Path) -> None:
    """What is no address of a server is a wrong configuration."""
    with pytest.raises(ConfigError, match="nats_servers"), sink(tmp_path, "http://x", []):
        pass
