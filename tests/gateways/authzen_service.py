"""AuthZEN over real HTTP in this process, around the real service and its real bundle."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pdp.bundle.loader import Loader
from pdp.bundle.source import Source, SourceLimits
from pdp.bundle.store import SnapshotStore
from pdp.cedar.options import AuthorizeOptions
from pdp.decision_log.sinks import DecisionSink, Line, Remaining, SinkStatus
from pdp.identity.caller_config import CallersConfig
from pdp.identity.callers import Callers
from pdp.limits_config import LimitsConfig
from pdp.live_definitions import LiveDefinitions
from pdp.sandbox.model import SandboxOptions
from pdp.sandbox.sandbox import Sandbox
from pdp.servicers.decision import DecisionServicer
from pdp.servicers.gateways.authzen import AuthZen, Decisions
from pdp.servicers.gateways.authzen_connection import ConnectionLimits
from pdp.servicers.gateways.authzen_http import AuthZenHttp, json_limits
from pdp.servicers.gateways.authzen_mapping import MappingOptions
from pdp.servicers.gateways.authzen_server import HttpServer, ServerOptions
from pdp.servicers.ids import decision_ids
from pdp.servicers.recorder import Recorder
from tests.bundles import PERMIT_ALL, Files, manifest, memory_source, tool

#: No call here takes long; this only ends what would never end.
TIMEOUT_SECONDS = 30.0

EVALUATION = "/access/v1/evaluation"
EVALUATIONS = "/access/v1/evaluations"
SEARCH_RESOURCE = "/access/v1/search/resource"
SEARCH_ACTION = "/access/v1/search/action"

READ = tool("read", {"n": {"type": "integer"}, "owner": {"type": "string"}})
WRITE = tool("write", {"n": {"type": "integer"}})
BUNDLE: Files = {"policies/a.cedar": f'@id("all") {PERMIT_ALL}', "tools/srv.json": manifest(READ, WRITE)}

POLICIES: Files = {
    "bundle.toml": 'name = "b"\n[context]\nip = "String"\n',
    "policies/a.cedar": """
        @id("read") permit(principal, action == Action::"srv/read", resource);
        @id("small") permit(principal, action == Action::"srv/write", resource) when { context.input.n < 10 };
        @id("secret") @message("not this one") @advice("ask the owner")
        forbid(principal, action, resource) when { context has input && context.input has owner
          && context.input.owner == "secret" };
        @id("never") forbid(principal == Agent::"guest", action == Action::"srv/read", resource);
        @id("docs") permit(principal == Agent::"a", action == Action::"read", resource == Doc::"d");
        @id("maybe") @enforcement("shadow") forbid(principal, action == Action::"srv/write", resource);
    """,
    "tools/srv.json": manifest(READ, WRITE),
    "tools/other.json": manifest(tool("read"), tool("drop")),
}


class MemoryLog(DecisionSink):
    """Keeps the decision log's lines."""

    def __init__(self) -> None:
        self._lines: list[Line] = []

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """Keep the line."""
        self._lines.append(line)

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """Each as `write` does."""
        for line in lines:
            self.write(line, remaining)

    def status(self) -> SinkStatus:
        """Nothing goes wrong."""
        return SinkStatus()

    def close(self) -> None:
        """Nothing is held."""

    @property
    def records(self) -> list[dict[str, Any]]:
        """All of them so far, as JSON objects."""
        return [json.loads(line() if callable(line) else line) for line in self._lines]


class _MemoryReader:
    watch_paths = ()

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, previous: Source | None = None) -> Source:
        """The bundle."""
        return memory_source(self._files)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, which must be JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def decision(self) -> bool:
        """The decision, which must be one."""
        assert self.status == 200, self.body
        found = self.document["decision"]
        assert type(found) is bool
        return found

    @property
    def error(self) -> dict[str, Any]:
        """What is wrong, in the one form that mistakes have."""
        [(name, form)] = self.document.items()
        assert name == "error"
        assert form.keys() == {"status", "reason", "message", "field"}
        assert form["status"] == self.status
        found: dict[str, Any] = form
        return found


class AuthZenClient:
    """Asks over HTTP, and over TLS where `client_tls` is set."""

    def __init__(self, address: str, client_tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.client_tls = client_tls

    def ask(self, path: str, document: Any, **headers: str) -> Answer:
        """POST a document, as JSON or as the bytes that it is."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        sent = {"Content-Type": "application/json", **headers}
        return self.request("POST", path, body, {name.replace("_", "-"): value for name, value in sent.items()})

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> Answer:
        """Any request, over a connection of its own."""
        connection = self.connection()
        try:
            connection.request(method, path, body, dict(headers))
            return answer(connection.getresponse())
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """A connection of the standard library's client."""
        if self.client_tls is None:
            return http.client.HTTPConnection(self.address, timeout=TIMEOUT_SECONDS)
        return http.client.HTTPSConnection(self.address, timeout=TIMEOUT_SECONDS, context=self.client_tls)

    def socket(self) -> socket.socket:
        """A bare connection."""
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)

    def raw(self, data: bytes) -> bytes:
        """What comes back for these bytes, until the service closes; nothing more is sent."""
        with self.socket() as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            return read_all(peer)


class AuthZenService(AuthZenClient):
    """A running service, which is its own client."""

    def __init__(self, server: HttpServer, log: MemoryLog) -> None:
        super().__init__(server.address)
        self.server = server
        self.log = log


def read_all(peer: socket.socket) -> bytes:
    """All bytes until the other side closes."""
    parts = []
    while part := peer.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def answer(response: http.client.HTTPResponse) -> Answer:
    """A response with its body."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


@contextmanager
def serving(
    files: Files = BUNDLE,
    *,
    mapping: MappingOptions | None = None,
    callers: Mapping[str, Any] | None = None,
    connection: Mapping[str, Any] | None = None,
    options: ServerOptions | None = None,
    limits: LimitsConfig | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    public_url: str = "",
    around: Callable[[Decisions], Decisions] = lambda decisions: decisions,
) -> Iterator[AuthZenService]:
    """AuthZEN for these files. `connection` overrides limits of connections, `around` may come between."""
    limits = limits or LimitsConfig()
    mapping = mapping or MappingOptions()
    store = SnapshotStore(
        _MemoryReader(files), Loader(AuthorizeOptions(), Sandbox(SandboxOptions())), None, SourceLimits()
    )
    store.start()
    log = MemoryLog()
    decisions = DecisionServicer(store, Recorder(log, decision_ids(), "full"), limits, LiveDefinitions())
    authzen = AuthZen(around(decisions), lambda: store.current().authorizer.model.tools, mapping, limits.batch_requests)
    held: dict[str, Any] = {"max_body_bytes": limits.message_bytes, **(connection or {})}
    server = HttpServer("127.0.0.1:0", ConnectionLimits(**held), options or ServerOptions(), tls)
    documents = json_limits(limits.message_bytes, limits.batch_requests)
    known = Callers(CallersConfig(**(callers or {})))
    server.start(AuthZenHttp(authzen, known, mapping, documents, public_url or server.url))
    try:
        yield AuthZenService(server, log)
    finally:
        server.stop()


def asked(
    name: str = "read", resource: str = "d", *, agent: str = "a", kind: str = "Agent", **more: Any
) -> dict[str, Any]:
    """May this agent do this with this document?"""
    return {
        "subject": {"type": kind, "id": agent},
        "action": {"name": name},
        "resource": {"type": "Doc", "id": resource},
        **more,
    }


def called(tool_name: str = "srv/read", *, agent: str = "a", **more: Any) -> dict[str, Any]:
    """May this agent call this tool, without arguments where none are given?"""
    properties = more.pop("properties", {"arguments": more.pop("arguments", {})})
    return {
        "subject": {"type": "Agent", "id": agent},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool", "id": tool_name, "properties": properties},
        **more,
    }


#: A question as its parts on the wire.
HEAD = f"POST {EVALUATION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = json.dumps(asked())
LENGTH = f"Content-Length: {len(BODY)}\r\n"


def chunk(text: str) -> str:
    """A piece of a body that comes in chunks."""
    return f"{len(text):x}\r\n{text}\r\n"
