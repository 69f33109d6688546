"""A server put together by hand, around doubles of what lies at its edges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pdp._gen.pdp.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    decision_service_pb2,
    decision_service_pb2_grpc,
)
from pdp.bundle.archive import BundleReader
from pdp.bundle.loader import Loader
from pdp.bundle.source import Source, SourceLimits
from pdp.bundle.store import SnapshotStore
from pdp.call import Admission
from pdp.cedar.options import AuthorizeOptions
from pdp.config import ServerConfig
from pdp.decision_log.sinks import DecisionSink, Line, Remaining, SinkStatus
from pdp.identity.caller_config import CallersConfig
from pdp.identity.callers import Callers
from pdp.limits_config import LimitsConfig
from pdp.live_definitions import LiveDefinitions
from pdp.sandbox.model import SandboxOptions
from pdp.sandbox.sandbox import Sandbox
from pdp.server import Server, Service
from pdp.servicers.admin import AdminServicer
from pdp.servicers.decision import DecisionServicer
from pdp.servicers.ids import decision_ids
from pdp.servicers.recorder import Recorder
from tests.bundles import memory_source
from tests.grpc.service import BUNDLE, connect


class MemoryReader:
    """A bundle in memory. While `failure` is set, reading it fails with that."""

    watch_paths: tuple[Path, ...] = ()

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def read(self, previous: Source | None = None) -> Source:
        """The bundle."""
        if self.failure is not None:
            raise self.failure
        return memory_source(BUNDLE)


class RecordingSink:
    """Counts lines. The first one does what `at_first` says, before anything else is done."""

    def __init__(self, at_first: Callable[[], None] = lambda: None) -> None:
        self.lines = 0
        self._at_first = at_first

    def write(self, line: Line, remaining: Remaining | None = None) -> None:
        """Count the line."""
        self.lines += 1
        if self.lines == 1:
            self._at_first()

    def write_all(self, lines: Iterable[str], remaining: Remaining | None = None) -> None:
        """Each as `write` does."""
        for line in lines:
            self.write(line, remaining)

    def status(self) -> SinkStatus:
        """Nothing goes wrong."""
        return SinkStatus()

    def close(self) -> None:
        """Nothing is held."""


class Clients(NamedTuple):
    """Clients of both services, and what answers the first."""

    decision: decision_service_pb2_grpc.DecisionServiceStub
    admin: admin_service_pb2_grpc.AdminServiceStub
    servicer: DecisionServicer


@contextmanager
def put_together(
    *,
    reader: BundleReader | None = None,
    sink: DecisionSink | None = None,
    ids: Callable[[], str] | None = None,
    degraded: Callable[[], list[str]] = list,
) -> Iterator[Clients]:
    """A server around these parts, and clients."""
    store = SnapshotStore(reader or MemoryReader(), Loader(AuthorizeOptions()), None, SourceLimits())
    store.start()
    limits, config = LimitsConfig(), ServerConfig(listen=("127.0.0.1:0",), drain_seconds=5.0)
    recorder = Recorder(sink or RecordingSink(), ids or decision_ids(), "hash")
    decision = DecisionServicer(store, recorder, limits, LiveDefinitions())
    admin = AdminServicer(store, Sandbox(SandboxOptions()), datetime.now(UTC), degraded)
    services = [
        Service(decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"], decision, "decide"),
        Service(admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"], admin, "admin"),
    ]
    server = Server(config.listen, services, config, limits, Admission(Callers(CallersConfig())))
    server.start()
    try:
        with connect(server.addresses[0]) as channel:
            yield Clients(
                decision_service_pb2_grpc.DecisionServiceStub(channel),
                admin_service_pb2_grpc.AdminServiceStub(channel),
                decision,
            )
    finally:
        server.stop()
