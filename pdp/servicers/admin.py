"""`pdp.v1.AdminService`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NoReturn

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from pdp import __version__
from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.store import SnapshotStore, StoreStatus
from pdp.errors import NotImplementedYetError, Problem

_SEVERITIES = {"error": pb.SEVERITY_ERROR, "warning": pb.SEVERITY_WARNING}


class AdminServicer:
    """Tells and changes the state of the service. `degraded` lists reasons from outside the bundle store."""

    def __init__(self, store: SnapshotStore, started_at: datetime, degraded: Callable[[], list[str]]) -> None:
        self._store = store
        self._started_at = started_at
        self._degraded = degraded

    def GetStatus(self, request: pb.GetStatusRequest, context: grpc.ServicerContext) -> pb.GetStatusResponse:
        """What is served, since when, and what is wrong."""
        status = self._store.status
        reasons = [*status.degraded, *self._degraded()]
        state = _state(status.snapshot, reasons)
        response = _described(status.snapshot)
        response.MergeFrom(_loading(status))
        response.state = state
        response.degraded_reasons.extend(reasons)
        response.workers.append(self._worker(response.revision, state))
        response.version = __version__
        response.started_at.FromDatetime(self._started_at)
        return response

    def _worker(self, revision: str, state: pb.ServiceState.ValueType) -> pb.Worker:
        return pb.Worker(pid=os.getpid(), revision=revision, state=state, started_at=_timestamp(self._started_at))

    def Reload(self, request: pb.ReloadRequest, context: grpc.ServicerContext) -> pb.ReloadResponse:
        """Read the bundle again now; a bad one is an answer with problems."""
        result = self._store.reload()
        problems = write_problems(self._store.status.problems)
        return pb.ReloadResponse(changed=result.changed, revision=result.revision, problems=problems)

    def ListInterceptors(
        self, request: pb.ListInterceptorsRequest, context: grpc.ServicerContext
    ) -> pb.ListInterceptorsResponse:
        """Not answered by this version."""
        _not_implemented("ListInterceptors")

    def PutInterceptor(
        self, requests: Iterator[pb.PutInterceptorRequest], context: grpc.ServicerContext
    ) -> pb.PutInterceptorResponse:
        """Not answered by this version."""
        _not_implemented("PutInterceptor")

    def DeleteInterceptor(
        self, request: pb.DeleteInterceptorRequest, context: grpc.ServicerContext
    ) -> pb.DeleteInterceptorResponse:
        """Not answered by this version."""
        _not_implemented("DeleteInterceptor")

    def WatchRevisions(
        self, request: pb.WatchRevisionsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchRevisionsResponse]:
        """Not answered by this version."""
        _not_implemented("WatchRevisions")


def _state(snapshot: Snapshot | None, reasons: list[str]) -> pb.ServiceState.ValueType:
    if snapshot is None:
        return pb.SERVICE_STATE_NOT_READY
    return pb.SERVICE_STATE_DEGRADED if reasons else pb.SERVICE_STATE_SERVING


def _described(snapshot: Snapshot | None) -> pb.GetStatusResponse:
    """What there is to say about the bundle in force."""
    if snapshot is None:
        return pb.GetStatusResponse()
    return pb.GetStatusResponse(
        revision=snapshot.revision,
        bundle_name=snapshot.name,
        source=snapshot.origin,
        counts=pb.BundleCounts(**dataclasses.asdict(snapshot.counts)),
    )


def _loading(status: StoreStatus) -> pb.GetStatusResponse:
    """What there is to say about loading it."""
    return pb.GetStatusResponse(
        loaded_at=_timestamp(status.loaded_at),
        problems=write_problems(status.problems),
        last_reload_attempt=_timestamp(status.attempted_at),
    )


def write_problems(problems: Iterable[Problem]) -> list[pb.BundleProblem]:
    """Problems for the wire."""
    return [
        pb.BundleProblem(
            path=problem.path,
            line=problem.line,
            column=problem.column,
            message=problem.message,
            severity=_SEVERITIES[problem.severity],
        )
        for problem in problems
    ]


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _not_implemented(name: str) -> NoReturn:
    raise NotImplementedYetError(f"{name} is not implemented by this version")
