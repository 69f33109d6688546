"""Records to a real NATS server with JetStream."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats
import nkeys  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from pdp.decision_log import nats_exporter
from pdp.decision_log.backlog import Batch
from pdp.decision_log.nats_exporter import NatsExporter
from pdp.decision_log.opening import open_sink
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log.verifying import Verification
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError
from tests.certificates import Authority
from tests.waiting import wait_until

SERVER = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(SERVER is None, reason="nats-server is missing (Debian: nats-server)"),
]
LINE = '{"kind":"authorize","time":"2026-01-02T03:04:05.678901Z","decision_id":"d%d"}'


class Server:
    """A server with its data in a directory, on a port of its own that it keeps over restarts."""

    def __init__(self, directory: Path, config: str = "", **client: Any) -> None:
        """`config` is more of the server's configuration; `client` is what it takes to connect to that."""
        self._directory = directory
        self._config = directory / "server.conf"
        self._config.write_text(config)
        self._client = client
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
        command = [SERVER, "-c", str(self._config), "-js", "-sd", str(self._directory / "data"), *where]
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
            client = await nats.connect(self.url, **self._client)
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


@contextmanager
def running(server: Server, **stream: Any) -> Iterator[Server]:
    """It with a stream `log` of the subject `pdp.log`."""
    server.start()
    try:
        server.ask(lambda context: context.add_stream(name="log", subjects=["pdp.log"], **stream))
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that everybody may use."""
    with running(Server(tmp_path)) as found:
        yield found


@contextmanager
def sink(
    tmp_path: Path, url: str, problems: list[str], subject: str = "pdp.log", **more: Any
) -> Iterator[DecisionSink]:
    """A sink to that server."""
    spool = str(tmp_path / "spool")
    config = DecisionLogConfig(
        sink="nats", nats_servers=tuple(url.split(",")), nats_subject=subject, spool_dir=spool, **more
    )
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
        exporter = NatsExporter([server.url], "pdp.log")
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


def test_all_servers_speak_tls_or_none(tmp_path: Path) -> None:
    """A list with both would tell a server in clear what another is told in secret."""
    with pytest.raises(ConfigError, match="either all are"), sink(tmp_path, "tls://x,nats://x", []):
        pass


def write_and_wait(opened: DecisionSink, lines: list[str]) -> None:
    """Write these, until they are delivered."""
    for line in lines:
        opened.write(line)
    wait_until(lambda: opened.status().lag_records == 0, "all is delivered")


def refused_in_vain(tmp_path: Path, url: str, why: str = "", **more: Any) -> list[str]:
    """A sink whose server does not let it in, which it says in the end: nothing is lost. What it tells."""
    problems: list[str] = []
    with pytest.MonkeyPatch.context() as patch, sink(tmp_path, url, problems, **more) as opened:
        # So that the sink has ended when this returns, and its slot is free.
        patch.setattr(nats_exporter, "_ATTEMPT_SECONDS", 1.0)
        opened.write(LINE % 0)
        # A server that turns somebody away may be faster to hang up than to be heard.
        wait_until(lambda: why in (opened.status().failing or "").lower() and opened.status().failing, "it fails")
        assert opened.status().lag_records >= 1
        assert opened.status().dropped == 0
    return problems


def nkey_seed(tmp_path: Path, name: str) -> tuple[Path, str]:
    """A new key: the file with its seed, and its public form."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    path = tmp_path / name
    path.touch(0o600)
    path.write_bytes(seed)
    return path, nkeys.from_seed(bytearray(seed)).public_key.decode()


def test_user_and_password(tmp_path: Path) -> None:
    """The right password is let in; a wrong one and none are told, lose nothing, and are in no message."""
    config = 'authorization { user: "pdp", password: "right" }'
    with running(Server(tmp_path, config, user="pdp", password="right")) as server:
        for more in ({"nats_user": "pdp", "nats_password": "wrong"}, {}):
            problems = refused_in_vain(tmp_path, server.url, "authorization", **more)
            assert "wrong" not in "".join(problems)
        with sink(tmp_path, server.url, [], nats_user="pdp", nats_password="right") as opened:
            write_and_wait(opened, [LINE % 9])
        assert [record["decision_id"] for record in server.stored()] == ["d0", "d0", "d9"]


def test_a_token(tmp_path: Path) -> None:
    """The right token is let in, a wrong one is not."""
    with running(Server(tmp_path, 'authorization { token: "right" }', token="right")) as server:
        refused_in_vain(tmp_path, server.url, nats_token="wrong")
        with sink(tmp_path, server.url, [], nats_token="right") as opened:
            write_and_wait(opened, [LINE % 1])
        assert len(server.stored()) == 2


def test_an_nkey(tmp_path: Path) -> None:
    """The right nkey is let in, another is not."""
    right, public = nkey_seed(tmp_path, "right.nk")
    wrong, _ = nkey_seed(tmp_path, "wrong.nk")
    config = f"authorization {{ users: [ {{ nkey: {public} }} ] }}"
    with running(Server(tmp_path, config, nkeys_seed=str(right))) as server:
        refused_in_vain(tmp_path, server.url, nats_nkey_seed=wrong)
        with sink(tmp_path, server.url, [], nats_nkey_seed=right) as opened:
            write_and_wait(opened, [LINE % 1])
        assert len(server.stored()) == 2


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"nats_user": "u"}, "nats_password"),
        ({"nats_password": "secret"}, "nats_user"),
        ({"nats_user": "u", "nats_password": "secret", "nats_token": "secret"}, "at most one"),
        ({"url": "nats://u:secret@h:4222"}, "write credentials in"),
    ],
)
def test_credentials_that_contradict_each_other(tmp_path: Path, more: dict[str, Any], key: str) -> None:
    """There is one way to log in, and no password is where addresses are shown."""
    with (
        pytest.raises(ValidationError, match=key),
        sink(**{"tmp_path": tmp_path, "url": "nats://h", "problems": [], **more}),
    ):
        pass


def tls_server(tmp_path: Path, authority: Authority, name: str) -> Server:
    """A server that wants TLS, with a certificate for this name."""
    certificate, key = authority.issue(name).write(tmp_path, "server")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    config = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    checked = ssl.create_default_context(cafile=str(ca))
    checked.check_hostname = False
    return Server(tmp_path, config, tls=checked)


def test_tls_with_the_right_and_a_wrong_authority(tmp_path: Path) -> None:
    """With a wrong authority, or the system's, nothing is sent and nothing lost; with the right one all is stored."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(Authority("wrong").pem)
    with running(tls_server(tmp_path, Authority(), "127.0.0.1")) as server:
        url = server.url.replace("nats:", "tls:")
        refused_in_vain(tmp_path, url, "certificate", nats_ca=wrong)
        refused_in_vain(tmp_path, url)
        assert server.stored() == []
        with sink(tmp_path, url, [], nats_ca=tmp_path / "ca.pem") as opened:
            write_and_wait(opened, [LINE % 1])
        assert len(server.stored()) == 3


def test_tls_for_another_name(tmp_path: Path) -> None:
    """A certificate of the right authority for somebody else is none."""
    with running(tls_server(tmp_path, Authority(), "nats.example")) as server:
        refused_in_vain(tmp_path, server.url.replace("nats:", "tls:"), nats_ca=tmp_path / "ca.pem")
        assert server.stored() == []


def test_a_server_that_wants_no_tls_is_told_nothing(tmp_path: Path) -> None:
    """Somebody on the way who says that the server speaks no TLS gets neither the password nor records."""
    heard = bytearray()
    listener = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b'INFO {"server_id":"x","version":"2.9.0","max_payload":1048576,"headers":true}\r\n')
                while data := connection.recv(4_096):
                    heard.extend(data)
                    connection.sendall(b"PONG\r\n")

    thread = threading.Thread(target=listen)
    thread.start()
    url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
    problems = refused_in_vain(tmp_path, url, nats_user="pdp", nats_password="secret")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    assert heard == b""
    assert any("does not speak tls" in problem for problem in problems), problems


def filled(number: int, count: int) -> str:
    """A record with so many more bytes."""
    return (LINE % number)[:-1] + f',"filler":"{"x" * count}"}}'


@pytest.mark.parametrize("limit", ["server", "stream"])
def test_a_record_that_is_too_large(tmp_path: Path, limit: str) -> None:
    """What the server or the stream can never take keeps nothing else, is counted, and is named in the chain."""
    config, stream = ("max_payload: 8192", {}) if limit == "server" else ("", {"max_msg_size": 8192})
    problems: list[str] = []
    with running(Server(tmp_path, config), **stream) as server:
        with sink(tmp_path, server.url, problems) as opened:
            write_and_wait(opened, [filled(number, 20_000 if number == 30 else 10) for number in range(60)])
            assert (opened.status().dropped, opened.status().failing) == (1, None)
        stored = sorted(server.stored(), key=lambda record: record["seq"])
    assert Counter(record["kind"] for record in stored) == {"authorize": 59, "refused": 1, "gap": 1}
    verification = Verification()
    for number, record in enumerate(stored, start=1):
        verification.feed("stream", number, json.dumps(record, separators=(",", ":")).encode() + b"\n")
    assert verification.finish() == []
    [writer] = verification.writers.values()
    assert (writer.refused, writer.lost) == (1, 1)
    assert any("the record 31 of" in problem for problem in problems)


def test_the_largest_record_that_the_server_takes(tmp_path: Path) -> None:
    """The limit counts headers too: each size around it is stored or refused, and none ends the connection for ever."""
    with running(Server(tmp_path, "max_payload: 2048")) as small:
        with sink(tmp_path, small.url, []) as opened:
            write_and_wait(opened, [filled(number, 1_600 + 4 * number) for number in range(80)])
            lost = opened.status().dropped
        kinds = Counter(record["kind"] for record in small.stored())
    assert 0 < lost < 80
    assert kinds == {"authorize": 80 - lost, "refused": lost, "gap": lost}
