"""`/livez`, `/readyz` and `/metrics` over plain HTTP. Read only, and nothing in them is secret.

The boundary of this listener: whatever goes wrong becomes a response here, and nowhere else.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import structlog

from pdp.bundle.layout import printable
from pdp.observing.health import Health
from pdp.servicers.gateways.authzen_connection import ConnectionLimits, Head, Response
from pdp.servicers.gateways.authzen_server import HttpServer, ServerOptions
from pdp.telemetry.readings import CONTENT_TYPE, Reading, exposition

_log = structlog.get_logger("pdp.telemetry")

_TEXT: Final = "text/plain; charset=utf-8"
_METHODS: Final = ("GET", "HEAD")
#: Reasons come from bundles and from the network; there may be many, and long ones.
_MOST_REASONS: Final = 100
_MAX_REASON: Final = 1_000
#: Requests have no bodies. Everything else is small too: who asks here asks again in a few seconds.
_LIMITS: Final = ConnectionLimits(max_body_bytes=0, request_seconds=5.0, idle_seconds=5.0)
_OPTIONS: Final = ServerOptions(threads=1, connections=64, drain_seconds=1.0)


class Observed(Protocol):
    """What is asked."""

    def health(self) -> Health:
        """Whether calls should come here, and what is wrong."""

    def readings(self) -> list[Reading]:
        """All metrics."""


class Probes:
    """Answers probes and scrapers."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._pages: Mapping[str, Callable[[], Response]] = {
            "/livez": lambda: _text(200, "alive\n"),
            "/readyz": self._ready,
            "/metrics": lambda: _response(200, CONTENT_TYPE, exposition(observed.readings())),
        }

    def admit(self, head: Head) -> Response:
        """The answer to a request."""
        try:
            return self._answer(head)
        except Exception as error:  # noqa: BLE001 - the boundary
            error_id = secrets.token_hex(8)
            _log.error("internal error", error_id=error_id, exc_info=error)
            return _text(500, f"internal error {error_id}\n")

    def refuse(self, status: int, message: str, head: Head | None) -> Response:
        """The answer to what is no request, or too large or too slow."""
        return _text(status, f"{message}\n")

    def _answer(self, head: Head) -> Response:
        path, _, _ = head.target.partition("?")
        page = self._pages.get(path)
        if page is None:
            return _text(404, "there are /livez, /readyz and /metrics\n")
        if head.method not in _METHODS:
            return _text(405, "only GET and HEAD\n", ("Allow", ", ".join(_METHODS)))
        return page()

    def _ready(self) -> Response:
        health = self._observed.health()
        lines = ["ready" if health.ready else "not ready"]
        lines += [f"not ready: {_line(reason)}" for reason in health.blocking[:_MOST_REASONS]]
        lines += [f"degraded: {_line(reason)}" for reason in health.degraded[:_MOST_REASONS]]
        return _text(200 if health.ready else 503, "".join(f"{line}\n" for line in lines))


@contextmanager
def observed(address: str, told: Observed) -> Iterator[str]:
    """Answer probes and scrapers there; gives the address really bound. Nothing is done where the address is empty.

    Raises ConfigError where nobody can listen.
    """
    if not address:
        yield ""
        return
    listener = HttpServer(address, _LIMITS, _OPTIONS)
    listener.start(Probes(told))
    try:
        yield listener.address
    finally:
        listener.stop()


def _line(reason: str) -> str:
    return printable(reason[:_MAX_REASON])


def _text(status: int, text: str, *headers: tuple[str, str]) -> Response:
    return _response(status, _TEXT, text.encode("utf-8", "backslashreplace"), *headers)


def _response(status: int, content_type: str, body: bytes, *headers: tuple[str, str]) -> Response:
    usual = (("Content-Type", content_type), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
    return Response(status, (*usual, *headers), body)
