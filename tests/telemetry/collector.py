"""A collector for traces: OTLP over gRPC, in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tests.certificates import Pair
from tests.waiting import wait_until

#: These messages have no types everywhere.
pb: Any = trace_service_pb2


class Collector:
    """Keeps the spans that it gets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Any] = []
        self.metadata: dict[str, Any] = {}
        self.address = ""
        #: How long it takes to take some.
        self.delay_seconds = 0.0

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take spans."""
        time.sleep(self.delay_seconds)
        with self._lock:
            self.metadata.update((str(key), value) for key, value in context.invocation_metadata() or ())
            for resource in request.resource_spans:
                # The messages that are installed may be old ones, which call it otherwise.
                scopes = getattr(resource, resource.DESCRIPTOR.fields_by_number[2].name)
                self._spans += [span for scope in scopes for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Any]:
        """All of them so far."""
        with self._lock:
            return list(self._spans)

    def wait_for(self, count: int) -> list[Any]:
        """All of them, once there are so many."""
        wait_until(lambda: len(self.spans) >= count, f"{count} spans")
        return self.spans

    def named(self, name: str) -> Any:
        """The one span with that name, once it is there."""
        wait_until(lambda: any(span.name == name for span in self.spans), f"the span {name}")
        [span] = [span for span in self.spans if span.name == name]
        return span


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span, or of an event."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes}


@contextmanager
def collecting(pair: Pair | None = None) -> Iterator[Collector]:
    """A collector on a free port, with TLS if it has a certificate."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(
        collector.Export, pb.ExportTraceServiceRequest.FromString, pb.ExportTraceServiceResponse.SerializeToString
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
    if pair is None:
        collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)])
        collector.address = f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
