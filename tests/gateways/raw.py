"""HTTP without any help: a client that sends any bytes, and a server that answers with any bytes."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

#: After this time nothing more is expected on a connection that Envoy leaves open.
_QUIET_SECONDS = 10.0


class Answer(NamedTuple):
    """What a request was answered with."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """What an agent reads of a refusal: a tool's error, or an error of the protocol."""
        message = json.loads(self.body)
        if "error" in message:
            return str(message["error"]["message"])
        assert message["result"]["isError"] is True
        return str(message["result"]["content"][0]["text"])


def send(address: str, body: bytes | None, method: str = "POST", /, **headers: str | None) -> Answer:
    """One HTTP request for `/mcp`; `content_type="…"` and so on are headers, None leaves one out."""
    usual: dict[str, str | None] = {"content_type": "application/json", "x_agent": "coder", **headers}
    named = {name.replace("_", "-"): value for name, value in usual.items() if value is not None}
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request(method, "/mcp", body, named)
        response = connection.getresponse()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def send_bytes(address: str, *parts: bytes) -> bytes:
    """These bytes and nothing else; what comes back until Envoy closes the connection, or says no more for a while."""
    host, _, port = address.rpartition(":")
    got = bytearray()
    with socket.create_connection((host, int(port)), 60) as connection:
        for part in parts:
            connection.sendall(part)
        connection.settimeout(_QUIET_SECONDS)
        try:
            while data := connection.recv(65_536):
                got += data
        except (TimeoutError, ConnectionResetError):
            pass
    return bytes(got)


def request(body: bytes, *headers: str, line: str = "POST /mcp HTTP/1.1") -> bytes:
    """A request of an agent, with these headers and no others; Envoy closes the connection after it."""
    head = [line, "host: tools.example", "x-agent: coder", "connection: close", *headers]
    return "".join(f"{field}\r\n" for field in head).encode() + b"\r\n" + body


def message(method: str, params: Any = None, **more: Any) -> bytes:
    """A request with the id 1."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}).encode()


def note(method: str, **params: Any) -> bytes:
    """A notification."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def call(name: str = "read", **arguments: Any) -> bytes:
    """A `tools/call` with the id 1."""
    return message("tools/call", {"name": name, "arguments": arguments})


def result(text: str = "done", identifier: Any = 1) -> bytes:
    """An answer to a `tools/call`."""
    content = [{"type": "text", "text": text}]
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "result": {"content": content}}).encode()


class Upstream:
    """A server that answers everything alike, and remembers what came."""

    def __init__(self) -> None:
        self.port = 0
        #: Ends the streams that are open for listening.
        self.over = threading.Event()
        #: What comes after the first part of an answer waits for this.
        self.go_on = threading.Event()
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.bodies: list[bytes] = []
        self.requests: list[str] = []
        self.go_on.set()
        self.answers()

    def answers(
        self, *parts: bytes, status: int = 200, content_type: str | None = "application/json", **more: str
    ) -> None:
        """What comes from now on: a body in these parts, chunked."""
        self.parts = parts or (result(),)
        self.status = status
        headers = {"content_type": content_type, **more}
        self.headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}


@contextmanager
def serving_upstream() -> Iterator[Upstream]:
    """The server on a free port of loopback."""
    upstream = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            upstream.requests.append(self.command)
            upstream.bodies.append(self.body())
            self.send_response(upstream.status)
            for name, value in upstream.headers.items():
                self.send_header(name, value)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for part in (*upstream.parts, b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
                upstream.go_on.wait(60)

        def body(self) -> bytes:
            """What came, in chunks or not."""
            if "transfer-encoding" not in self.headers:
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def do_GET(self) -> None:
            upstream.requests.append(self.command)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.flush()
            upstream.over.wait(60)
            self.close_connection = True

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.do_POST
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    upstream.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield upstream
    finally:
        upstream.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def listening(address: str) -> Iterator[bool]:
    """A stream on which the server could say something unasked, broken off at the end; whether there is one."""
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", "/mcp", headers={"x-agent": "coder"})
        response = connection.getresponse()
        yield response.status == HTTPStatus.OK
    finally:
        connection.close()
