"""Every client on every case: `clients/conformance/README.md`."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.clients.cases import Case, read_cases
from tests.clients.credentials import Credentials, system_roots
from tests.clients.player import Player
from tests.clients.runner import CLIENTS, PROGRAMS, Program, Runner, running
from tests.clients.servers import Server, serving

Json = Mapping[str, Any]
on_every_client = pytest.mark.parametrize("program", PROGRAMS, indirect=True, ids=str, scope="module")

_CHANGING = ("stop", "start", "received")


class Servers:
    """Servers for cases. A service that no step of its case ends serves the next case too."""

    def __init__(self, stack: ExitStack, credentials: Credentials) -> None:
        self._stack = stack
        self._credentials = credentials
        self._shared: dict[str, Server] = {}

    @contextmanager
    def of(self, case: Case) -> Iterator[dict[str, Server]]:
        """The servers of a case, by name."""
        changed = {step[kind] for step in case.steps for kind in _CHANGING if kind in step}
        with ExitStack() as own:
            yield {
                name: self._share(fields)
                if fields["kind"] == "service" and name not in changed
                else own.enter_context(serving(fields, self._credentials))
                for name, fields in case.servers.items()
            }

    def _share(self, fields: Json) -> Server:
        key = json.dumps(fields, sort_keys=True)
        if key not in self._shared:
            self._shared[key] = self._stack.enter_context(serving(fields, self._credentials))
        return self._shared[key]


@pytest.fixture(scope="module")
def servers(credentials: Credentials) -> Iterator[Servers]:
    """The servers of all cases."""
    with ExitStack() as stack:
        yield Servers(stack, credentials)


@on_every_client
@pytest.mark.parametrize("case", read_cases(), ids=str)
def test_a_case(runner: Runner, servers: Servers, credentials: Credentials, case: Case) -> None:
    """The client does what the case says."""
    with servers.of(case) as running_servers:
        Player(runner, running_servers, credentials).play(case)


@on_every_client
def test_what_is_tried_again_is_the_same_everywhere(runner: Runner, program: Program) -> None:
    """The service config that the client has in it is `clients/service_config.json`."""
    config = json.loads((CLIENTS / "service_config.json").read_text())
    assert runner.ask("describe") == {"language": program.language, "service_config": config}


@on_every_client
def test_what_the_program_cannot_do_is_said(runner: Runner) -> None:
    """An unknown command, and a request that is no message, are answered with `failed`."""
    assert runner.ask("dance").keys() == {"failed"}
    assert runner.ask("open", client="x", target="127.0.0.1:1", options={}) == {"opened": True}
    # A field that says it has ten bytes, of which none is there.
    assert runner.ask("call", client="x", method="Decide", request="Cgo=").keys() == {"failed"}
    assert runner.ask("close", client="x") == {"closed": True}


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a proxy, and what it was asked; it answers nothing."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    asked.append(connection.recv(1024))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}", asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def proxied(address: str) -> dict[str, str]:
    """An environment that names this proxy, in all the ways that the libraries know."""
    host, port = address.split(":")
    names = ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    java = f"-Dhttps.proxyHost={host} -Dhttps.proxyPort={port} -Dhttp.nonProxyHosts=none"
    return {**dict.fromkeys(names, f"http://{address}"), "JAVA_TOOL_OPTIONS": java}


# Most libraries themselves pass over a proxy for what they take for loopback, which does not have every name of it.
@on_every_client
@pytest.mark.parametrize(
    ("host", "key"),
    [("127.0.0.1", True), ("0.0.0.0", False)],  # noqa: S104 - nothing listens there
    ids=["loopback", "another name of it"],
)
def test_nothing_in_clear_goes_through_a_proxy(
    program: Program, proxy: tuple[str, list[bytes]], credentials: Credentials, host: str, key: bool
) -> None:
    """Without TLS a proxy of the environment is not asked: it would read everything, and could allow anything."""
    address, asked = proxy
    answers = {"Decide": [{"response": {"decision": "DECISION_DENY"}}]}
    with (
        serving({"kind": "scripted", "answers": answers}, credentials) as server,
        running(program, proxied(address)) as runner,
    ):
        options = {"deadline_ms": 5000, **({"bearer": credentials.keys["good"]} if key else {})}
        target = server.address.replace("127.0.0.1", host)
        assert runner.ask("open", client="a", target=target, options=options) == {"opened": True}
        answer = runner.ask("call", client="a", method="Decide", request="")
        # Java takes 0.0.0.0 for the machine's name, at whose address the server is not.
        assert answer.get("allowed") is False or ("error" in answer and not key), answer
    assert asked == []


@on_every_client
def test_the_roots_of_the_system(program: Program, credentials: Credentials) -> None:
    """TLS without a CA trusts the system's roots, and with a CA that lost its content the client does not."""
    empty = credentials.directory / "empty.pem"
    empty.touch()
    fields = {"kind": "scripted", "tls": "server", "answers": {"Decide": [{"response": {}}]}}
    with (
        serving(fields, credentials) as server,
        running(program, system_roots(credentials)) as runner,
    ):
        options: dict[str, Any] = {"deadline_ms": 20000, "tls": {}}
        assert runner.ask("open", client="a", target=server.address, options=options) == {"opened": True}
        assert "response" in runner.ask("call", client="a", method="Decide", request="")
        options["tls"]["ca"] = str(empty)
        if runner.ask("open", client="b", target=server.address, options=options) == {"opened": True}:
            assert runner.ask("call", client="b", method="Decide", request="").keys() == {"error"}
