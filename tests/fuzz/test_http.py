"""Random bytes to what is served over HTTP: AuthZEN, and the listener for probes and metrics.

`PDP_FUZZ_SECONDS` and `PDP_FUZZ_SEED` as in `test_requests`.
"""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from tests.fuzz.asked_world import CLOSED
from tests.fuzz.hostile_json import JsonMaker
from tests.fuzz.running import require_no_bug
from tests.fuzz.test_documents import chances
from tests.gateways import authzen_service
from tests.gateways.authzen_service import TIMEOUT_SECONDS
from tests.telemetry.world import observed

#: Answers that are not the service's own fault.
_USUAL = {b"100", b"200", b"400", b"401", b"403", b"404", b"405", b"408", b"413", b"431", b"501", b"505"}
_STATUS_LINE = re.compile(rb"^HTTP/1\.1 ([0-9]{3}) ", re.MULTILINE)
_METHODS = ("POST", "GET", "HEAD", "PUT", "OPTIONS", "post", "PRI", "A" * 200, "")
_VERSIONS = ("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "http/1.1", "")
_ENDS = ("\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ", "\0\r\n")
_HEADERS = (
    "Content-Type: application/json", "Content-Type: text/plain", "Content-Length: 0", "Content-Length: 5",
    "Content-Length: 99999999999999999999", "Content-Length: -1", "Content-Length: 1, 2", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked", "Expect: 100-continue", "Connection: close",
    "Connection: keep-alive", "Upgrade: h2c", "Host: x", "Host: y", "Authorization: Bearer x", "X-Request-ID: \x7f",
    "X-Request-ID: r", "traceparent: 00-x", ": empty", "no colon", "X: " + "a" * 20_000, "X-\xe9: \xff",
)  # fmt: skip


class RequestMaker:
    """Makes what is sent on one connection: requests one after another, with odd heads and bodies, and damage."""

    def __init__(self, chance: random.Random, paths: tuple[str, ...], bodies: list[bytes]) -> None:
        self._chance = chance
        self._paths = paths
        self._bodies = bodies

    def connection(self) -> bytes:
        """All that is sent."""
        sent = b"".join(self._request() for _ in range(self._chance.randint(1, 3)))
        kind = self._chance.randrange(10)
        if kind == 0:
            return self._chance.randbytes(self._chance.randrange(200))
        return JsonMaker(self._chance).damaged(sent) if kind < 4 else sent

    def _mostly(self, good: str, others: tuple[str, ...]) -> str:
        return good if self._chance.randrange(4) else self._chance.choice(others)

    def _request(self) -> bytes:
        pick = self._chance
        body = pick.choice(self._bodies)
        head = [f"{self._mostly('POST', _METHODS)} {pick.choice(self._paths)} {self._mostly('HTTP/1.1', _VERSIONS)}"]
        head += ["Host: x", "Content-Type: application/json"]
        if pick.randrange(3):
            head.append(f"Content-Length: {len(body)}")
        else:
            head.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, pick.choice((b"", b"", b"X: y\r\n")))
        for _ in range(pick.choice((0, 0, 1, 2))):
            head.insert(pick.randrange(1, len(head) + 1), pick.choice(_HEADERS))
        lines = "".join(line + self._mostly("\r\n", _ENDS) for line in (*head, ""))
        return lines.encode("latin-1") + body


def _answered(address: str, data: bytes) -> bytes:
    """What comes back for these bytes until the service closes."""
    host, _, port = address.rpartition(":")
    found = b""
    with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as peer:
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(65_536):
                found += part
        except (ConnectionResetError, BrokenPipeError):
            pass  # it had heard enough
    return found


def _require_usual(answer: bytes, data: bytes) -> None:
    assert answer == b"" or answer.startswith(b"HTTP/1.1 "), (data, answer)
    assert set(_STATUS_LINE.findall(answer)) <= _USUAL, (data, answer)


def test_no_bytes_to_authzen_are_a_bug_or_an_allow(logs: list[MutableMapping[str, Any]]) -> None:
    """Whatever comes on a connection where nothing is allowed: answers that HTTP has, none an allow or a bug."""
    bodies = [json.dumps(asked).encode() for asked in (authzen_service.asked(), authzen_service.called())]
    paths = (
        authzen_service.EVALUATION,
        authzen_service.EVALUATIONS,
        "/.well-known/authzen-configuration",
        "*",
        "/\xe9",
    )
    answered = 0
    with authzen_service.serving(CLOSED, connection={"request_seconds": 2.0}) as service:
        for chance in chances(150, "authzen bytes"):
            data = RequestMaker(chance, paths, [*bodies, b"", b"{}"]).connection()
            answer = _answered(service.address, data)
            _require_usual(answer, data)
            assert b'"decision":true' not in answer, data
            answered += answer.count(b'"decision":false')
            require_no_bug(logs)
        assert service.ask(authzen_service.EVALUATION, authzen_service.asked()).decision is False
    assert answered > 0


def test_no_bytes_to_the_listener_are_a_bug(tmp_path: Path, logs: list[MutableMapping[str, Any]]) -> None:
    """Whatever comes on a connection to the listener: answers that HTTP has, and the next probe is answered."""
    paths = ("/metrics", "/livez", "/readyz", "/", "/metrics?x=\0", "//metrics", "*")
    with observed(tmp_path, CLOSED) as service:
        address = service.app.telemetry_address
        for chance in chances(150, "listener"):
            data = RequestMaker(chance, paths, [b"", b"x"]).connection().replace(b"POST", b"GET")
            _require_usual(_answered(address, data), data)
            require_no_bug(logs)
        assert _answered(address, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")
