"""`python -m bench.interceptors.webhook KIND`: the checks in Python as a webhook on loopback, with keep-alive.

It gets requests as interceptors do, by POST to `/<purpose>`, and answers with their replies. KIND is `http.server`, the
standard library's, or `minimal`: no more than what HTTP/1.1 needs, so that nobody can say that a slow framework was
chosen. It prints its address as JSON and stops when stdin ends.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.interceptors.checks import CHECKS


def reply(path: str, request: bytes) -> bytes:
    """The reply to one request."""
    document = json.loads(request)
    payload = document["result"] if document["phase"] == "response" else document["tool_call"]["arguments"]
    return json.dumps(CHECKS[path.removeprefix("/")](payload)).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet, at once: otherwise each answer waits 40 ms for the client's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer."""
        content = reply(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing."""


def _serve_minimal(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_converse, args=(connection,), daemon=True).start()


def _converse(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            length = 0
            while (header := stream.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            content = reply(line.split()[1].decode(), stream.read(length))
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
            connection.sendall(head + content)


def main() -> None:
    """Serve until stdin ends."""
    if sys.argv[1] == "minimal":
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        serve, arguments = _serve_minimal, (listener,)
        threading.Thread(target=serve, args=arguments, daemon=True).start()
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps({"address": f"127.0.0.1:{port}"}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
