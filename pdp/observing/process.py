"""How this process is: read where it is known, at the moment when somebody asks, so that calls pay nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from prometheus_client import ProcessCollector

from pdp import __version__
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.store import SnapshotStore
from pdp.call import Admission
from pdp.cedar.options import AuthorizeCounts
from pdp.decision_log.sinks import DecisionSink, NullSink
from pdp.identity.keys import KeyRing
from pdp.identity.rates import CallerRates
from pdp.observing.health import STOPPING, Health
from pdp.server import Server
from pdp.telemetry import catalogue
from pdp.telemetry.catalogue import FAMILIES, Family
from pdp.telemetry.metrics import Metrics
from pdp.telemetry.readings import Reading, series, single

_STARTING = "the service is starting"
_PROCESS = tuple(family.name for family in (catalogue.CPU, catalogue.MEMORY, catalogue.FILES, catalogue.STARTED))


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service that is up consists of, as far as it has something to say. `degraded` lists what is wrong."""

    store: SnapshotStore
    sink: DecisionSink
    ring: KeyRing
    admission: Admission
    servers: Sequence[Server]
    counts: AuthorizeCounts
    degraded: Callable[[], list[str]]
    #: Whether calls are answered also where the sink has no room for their records.
    answers_without_room: bool
    rates: CallerRates


class Process:
    """This process, from its start to its end."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._collector = ProcessCollector(registry=None)
        self._parts: Parts | None = None
        self._stopping = False
        #: Where this is told over HTTP, `host:port`; empty where it is not.
        self.address = ""

    def up(self, parts: Parts) -> None:
        """Everything is there, and calls are answered."""
        self._parts = parts

    def stop(self) -> None:
        """No further calls should come."""
        self._stopping = True

    def health(self) -> Health:
        """Whether calls should come here, and what is wrong."""
        parts = self._parts
        degraded = (*parts.store.status.degraded, *parts.degraded()) if parts is not None else ()
        return Health(tuple(self.blocking()), degraded)

    def blocking(self) -> list[str]:
        """Why no calls should come here."""
        parts = self._parts
        if parts is None:
            return [STOPPING if self._stopping else _STARTING]
        blocking = [STOPPING] if self._stopping else []
        if (problem := parts.store.problem) is not None:
            blocking.append(problem)
        if parts.sink.status().full and not parts.answers_without_room:
            blocking.append("the decision log has no room for further records")
        return blocking

    def readings(self) -> list[Reading]:
        """All metrics of this process."""
        health = self.health()
        found = [
            *self._metrics.readings(),
            *self._of_system(),
            single(catalogue.BUILD, 1.0, __version__),
            single(catalogue.READY, float(health.ready)),
            single(catalogue.DEGRADED, float(len(health.degraded))),
        ]
        if self._parts is not None:
            found += _of_service(self._parts)
        return found

    def _of_system(self) -> Iterator[Reading]:
        for metric in self._collector.collect():
            for sample in metric.samples:
                if sample.name in _PROCESS:
                    yield single(FAMILIES[sample.name], sample.value)


def _of_service(parts: Parts) -> Iterator[Reading]:
    queues = [server.queue for server in parts.servers]
    yield single(catalogue.IN_FLIGHT, float(sum(queue.queued + queue.in_flight for queue in queues)))
    yield single(catalogue.SHED, float(sum(queue.shed for queue in queues)))
    yield single(catalogue.EXPIRED, float(sum(queue.expired for queue in queues)))
    yield single(catalogue.UNAUTHENTICATED, float(parts.admission.unauthenticated))
    refused = {series(catalogue.RATE_LIMITED, (caller,)): float(n) for caller, n in parts.rates.refused().items()}
    yield Reading(catalogue.RATE_LIMITED.name, refused)
    yield from _of_core(parts.counts)
    yield from _of_log(parts.sink)
    yield from _of_bundle(parts.store)
    ages = {series(catalogue.KEYS_AGE, (issuer,)): age for issuer, age in parts.ring.ages().items()}
    yield Reading(catalogue.KEYS_AGE.name, ages)


def _of_core(counts: AuthorizeCounts) -> Iterator[Reading]:
    evaluators = counts.evaluators
    caches = {each.name: getattr(counts, each.name) for each in fields(counts) if each.name != "evaluators"}

    def reading(family: Family, count: str) -> Reading:
        figures = {series(family, (name,)): float(getattr(cache, count)) for name, cache in caches.items()}
        return Reading(family.name, figures)

    yield reading(catalogue.CACHE_HITS, "hits")
    yield reading(catalogue.CACHE_MISSES, "misses")
    evaluated = {"compiled": evaluators.compiled, "cedar": evaluators.cedar}
    figures = {series(catalogue.EVALUATIONS, (name,)): float(count) for name, count in evaluated.items()}
    yield Reading(catalogue.EVALUATIONS.name, figures)
    yield single(catalogue.DISPUTED, float(evaluators.disputed))


def _of_log(sink: DecisionSink) -> Iterator[Reading]:
    if isinstance(sink, NullSink):
        return
    status = sink.status()
    yield single(catalogue.LOG_WAITING, float(status.lag_records))
    yield single(catalogue.LOG_DROPPED, float(status.dropped))
    yield single(catalogue.LOG_FAILING, float(status.failing is not None))


def _of_bundle(store: SnapshotStore) -> Iterator[Reading]:
    status, reloads = store.status, store.reloads
    figures = {series(catalogue.RELOADS, (result,)): float(count) for result, count in reloads.items()}
    yield Reading(catalogue.RELOADS.name, figures)
    if status.snapshot is None:
        return
    yield single(catalogue.SNAPSHOT, 1.0, status.snapshot.revision)
    yield single(catalogue.SNAPSHOT_AGE, store.age_seconds)
    yield single(catalogue.UNHEALTHY, float(_unhealthy(status.snapshot)))
    if status.loaded_at is not None:
        yield single(catalogue.SNAPSHOT_LOADED, status.loaded_at.timestamp())


def _unhealthy(snapshot: Snapshot) -> int:
    return sum(not interceptor.counters.counts().healthy for interceptor in snapshot.chain.interceptors)
