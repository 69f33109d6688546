"""`pdp.v1.AdminService`."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from pdp import __version__, wire
from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.bundle.edits import put_interceptor, remove_interceptor
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.store import SnapshotStore, StoreStatus
from pdp.call import RpcCall
from pdp.candidate import Candidate
from pdp.errors import NotFoundError, Problem
from pdp.sandbox.sandbox import Sandbox
from pdp.servicers.fellows import ALONE, Fellows, joined
from pdp.servicers.interceptor_admin import read_put, require_loadable, write_interceptor, write_statuses
from pdp.servicers.shadow_status import write_shadow

#: A watcher that has nothing to tell looks after this time whether its caller, and the rest of the service, are there.
_WATCH_SECONDS = 1.0

_SEVERITIES = {"error": pb.SEVERITY_ERROR, "warning": pb.SEVERITY_WARNING}


class AdminServicer:
    """Tells and changes the state of the service. `degraded` lists reasons from outside the bundle store."""

    def __init__(
        self,
        store: SnapshotStore,
        sandbox: Sandbox,
        started_at: datetime,
        degraded: Callable[[], list[str]],
        candidate: Candidate | None = None,
        fellows: Fellows = ALONE,
    ) -> None:
        self._store = store
        self._sandbox = sandbox
        self._started_at = started_at
        self._degraded = degraded
        self._candidate = candidate
        self._fellows = fellows

    def GetStatus(self, request: pb.GetStatusRequest, call: RpcCall) -> pb.GetStatusResponse:
        """What is served, since when, and what is wrong, by all workers together."""
        return joined(self.own_status(), self._fellows.statuses(), self._fellows.problems())

    def own_status(self) -> pb.GetStatusResponse:
        """The same of this process alone."""
        status = self._store.status
        reasons = [*status.degraded, *self._degraded()]
        state = _state(status.snapshot, reasons)
        response = _described(status.snapshot)
        response.MergeFrom(_loading(status))
        response.state = state
        response.degraded_reasons.extend(reasons)
        response.shadow.CopyFrom(write_shadow(status.snapshot, self._candidate))
        response.workers.append(self._worker(response.revision, state))
        response.version = __version__
        response.started_at.FromDatetime(self._started_at)
        return response

    def _worker(self, revision: str, state: pb.ServiceState.ValueType) -> pb.Worker:
        return pb.Worker(pid=os.getpid(), revision=revision, state=state, started_at=_timestamp(self._started_at))

    def Reload(self, request: pb.ReloadRequest, call: RpcCall) -> pb.ReloadResponse:
        """Read the bundle again now; a bad one is an answer with problems."""
        result = self._store.reload()
        self._fellows.reload()
        problems = write_problems(self._store.status.problems)
        return pb.ReloadResponse(changed=result.changed, revision=result.revision, problems=problems)

    def ListInterceptors(self, request: pb.ListInterceptorsRequest, call: RpcCall) -> pb.ListInterceptorsResponse:
        """The interceptors of the snapshot in force."""
        snapshot = self._store.current()
        interceptors = map(write_interceptor, snapshot.chain.interceptors)
        return pb.ListInterceptorsResponse(interceptors=interceptors, revision=snapshot.revision)

    def PutInterceptor(self, requests: Iterator[pb.PutInterceptorRequest], call: RpcCall) -> pb.PutInterceptorResponse:
        """Put an interceptor into the bundle, if it loads."""
        self._store.current()
        binding, module = read_put(requests, self._sandbox.options.max_component_bytes)
        require_loadable(binding, module, self._sandbox)
        result = self._store.edit(lambda source: put_interceptor(source, binding, module))
        assert result is not None
        self._fellows.reload()
        digest = hashlib.sha256(module).hexdigest()
        problems = write_problems(result.problems)
        return pb.PutInterceptorResponse(
            changed=result.changed, revision=result.revision, problems=problems, sha256=digest
        )

    def DeleteInterceptor(self, request: pb.DeleteInterceptorRequest, call: RpcCall) -> pb.DeleteInterceptorResponse:
        """Take an interceptor out of the bundle."""
        self._store.current()
        wire.require(request.name, "name")
        result = self._store.edit(lambda source: remove_interceptor(source, request.name))
        if result is None:
            raise NotFoundError(f"there is no interceptor `{request.name}`")
        self._fellows.reload()
        problems = write_problems(result.problems)
        return pb.DeleteInterceptorResponse(changed=result.changed, revision=result.revision, problems=problems)

    def WatchRevisions(self, request: pb.WatchRevisionsRequest, call: RpcCall) -> Iterator[pb.WatchRevisionsResponse]:
        """The revision and the state now, and each time that one of them changes."""
        sent: pb.WatchRevisionsResponse | None = None
        status = self._store.status
        while call.is_active():
            message = self._revision_message(status, sent.revision if sent is not None else "")
            if sent is None or _news(message) != _news(sent):
                sent = message
                yield message
            status = self._store.wait_for_news(status, _WATCH_SECONDS)

    def _revision_message(self, status: StoreStatus, previous: str) -> pb.WatchRevisionsResponse:
        reasons = [*status.degraded, *self._degraded()]
        revision = status.snapshot.revision if status.snapshot is not None else ""
        return pb.WatchRevisionsResponse(
            revision=revision,
            previous_revision=previous,
            state=_state(status.snapshot, reasons),
            loaded_at=_timestamp(status.loaded_at),
            degraded_reasons=reasons,
        )


def _news(message: pb.WatchRevisionsResponse) -> tuple[object, ...]:
    return message.revision, message.state, tuple(message.degraded_reasons)


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
        interceptors=write_statuses(snapshot.chain.interceptors),
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
