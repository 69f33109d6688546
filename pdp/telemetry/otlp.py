"""Traces, sent with OTLP over gRPC in the background.

A call that is not recorded costs no more than to find that out. One that is draws its ids when it begins, because the
decision log names them, and everything else happens when it has been answered.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

import grpc
import structlog

from pdp.telemetry.otlp_wire import Event, SpanRecord, Value, export_request
from pdp.telemetry.scope import Asked, CallScope, Decided
from pdp.telemetry.tallies import Counts
from pdp.telemetry.traceparent import Parent

_log = structlog.get_logger("pdp.telemetry")

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_SERVER, _INTERNAL = 2, 1
#: Spans held for a slow collector; further ones are lost and counted.
_MOST_HELD: Final = 8_192
_MOST_AT_ONCE: Final = 512
_SEND_SECONDS: Final = 0.5
#: For the collector to take what is sent; at the end of the service somebody waits for it.
_EXPORT_SECONDS: Final = 5.0
_LAST_EXPORT_SECONDS: Final = 2.0
#: What OpenTelemetry calls a failure of the server.
_FAILURES: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "500", "503", "504"}
)


class OtlpExporter:
    """Sends spans from a thread of its own until it is closed. What cannot be sent is lost, and counted."""

    def __init__(
        self, endpoint: str, ca: bytes | None, headers: Sequence[tuple[str, str]], version: str, lost: Counts
    ) -> None:
        """`endpoint` is `http://host:port`, or `https://host:port` for TLS with the certificates in `ca`."""
        parts = urlsplit(endpoint)
        if parts.scheme == "https":
            channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(ca))
        else:
            channel = grpc.insecure_channel(parts.netloc)
        self._channel = channel
        self._call: Callable[..., bytes] = channel.unary_unary(_EXPORT)
        self._headers = tuple(headers)
        self._resource = {"service.name": "pdp", "service.version": version}
        self._scope = ("pdp", version)
        self._lost = lost
        self._held: deque[SpanRecord] = deque()
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def send(self, span: SpanRecord) -> None:
        """Hold a span for the sending thread."""
        if len(self._held) >= _MOST_HELD:
            self._lost.add()
        else:
            self._held.append(span)

    def close(self) -> None:
        """Send what can be sent of what is held in a moment, and take no more."""
        self._closing.set()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        while not self._closing.wait(_SEND_SECONDS):
            while not self._closing.is_set() and self._send_some(_EXPORT_SECONDS):
                pass
        until = time.monotonic() + _LAST_EXPORT_SECONDS
        while (seconds := until - time.monotonic()) > 0 and self._send_some(seconds):
            pass
        self._lose(len(self._held))

    def _send_some(self, seconds: float) -> bool:
        """Whether there were spans, and the collector took them."""
        spans = [self._held.popleft() for _ in islice(self._held.copy(), _MOST_AT_ONCE)]
        if not spans:
            return False
        try:
            request = export_request(self._resource, self._scope, spans)
            self._call(request, timeout=seconds, metadata=self._headers)
        except Exception as error:  # noqa: BLE001 - the top of a thread: it would end, and all spans be lost
            self._failed(error, len(spans))
            return False
        self._failing = False
        return True

    def _lose(self, count: int) -> None:
        for _ in range(count):
            self._lost.add()

    def _failed(self, error: Exception, count: int) -> None:
        self._lose(count)
        if not self._failing:
            cause = error.details() if isinstance(error, grpc.Call) else str(error)
            _log.warning("traces cannot be sent", error=cause)
        self._failing = True


class OtlpTracer:
    """Gives spans to an exporter. `share` is of the calls whose callers say nothing about a trace."""

    def __init__(self, exporter: OtlpExporter, *, share: float, subjects: bool) -> None:
        self._exporter = exporter
        self._share = share
        self._subjects = subjects

    def begin(self, name: str, parent: Parent | None) -> OtlpSpan | None:
        """The span of a call that begins now; None for one that is not recorded."""
        if not (parent.sampled if parent is not None else random.random() < self._share):  # noqa: S311 - no secret
            return None
        return OtlpSpan(self._exporter, parent, subjects=self._subjects)


class OtlpSpan:
    """The span of one call."""

    def __init__(self, exporter: OtlpExporter, parent: Parent | None, *, subjects: bool) -> None:
        self._exporter = exporter
        self._parent_id = parent.span_id if parent is not None else ""
        self._subjects = subjects
        self._began_ns = time.perf_counter_ns()
        #: From the clock that calls are timed with to the time of the day.
        self._offset_ns = time.time_ns() - self._began_ns
        self.trace_id = parent.trace_id if parent is not None else secrets.token_hex(16)
        self.span_id = secrets.token_hex(8)

    def end(self, scope: CallScope, code: str) -> None:
        """As in `Span`."""
        service, _, method = scope.rpc.partition(".")
        attributes: dict[str, Value] = {"rpc.service": service, "rpc.method": method, "pdp.status": code}
        if scope.request_id:
            attributes["pdp.request_id"] = scope.request_id
        if scope.decided is not None:
            attributes.update(_decision(scope.decided, subjects=self._subjects))
        for name, began_ns, ended_ns in scope.layers:
            asked = scope.asked if name == "interceptors" else ()
            events = tuple(Event("interceptor", ended_ns + self._offset_ns, _asked(each)) for each in asked)
            self._send(self.span_id, secrets.token_hex(8), name, _INTERNAL, (began_ns, ended_ns), {}, events)
        times = (self._began_ns, time.perf_counter_ns())
        failed = code in _FAILURES
        self._send(self._parent_id, self.span_id, scope.rpc, _SERVER, times, attributes, failed=failed)

    def _send(
        self,
        parent_id: str,
        span_id: str,
        name: str,
        kind: int,
        times: tuple[int, int],
        attributes: Mapping[str, Value],
        events: tuple[Event, ...] = (),
        *,
        failed: bool = False,
    ) -> None:
        began_ns, ended_ns = (moment + self._offset_ns for moment in times)
        span = SpanRecord(
            self.trace_id, span_id, parent_id, name, kind, began_ns, ended_ns, attributes, events, failed=failed
        )
        self._exporter.send(span)


def _decision(decided: Decided, *, subjects: bool) -> Mapping[str, str]:
    found = {
        "pdp.kind": decided.kind,
        "pdp.decision_id": decided.decision_id,
        "pdp.decision": "ALLOW" if decided.allowed else "DENY",
        "pdp.code": decided.code,
        "pdp.revision": decided.revision,
        "pdp.server": decided.server,
        "pdp.tool": decided.tool,
    }
    if subjects and decided.subject is not None:
        found["pdp.subject"] = str(decided.subject)
    return {name: value for name, value in found.items() if value}


def _asked(asked: Asked) -> Mapping[str, Value]:
    return {
        "pdp.interceptor": asked.name,
        "pdp.verdict": asked.verdict,
        "pdp.error_class": asked.error_class,
        "pdp.shadow": asked.shadow,
        "pdp.seconds": asked.nanoseconds * 1e-9,
    }
