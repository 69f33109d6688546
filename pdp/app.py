"""The composition root: builds every object from the configuration, closes them in reverse."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp.bundle.archive import open_source
from pdp.bundle.last_good import LastGood, default_directory
from pdp.bundle.loader import Loader
from pdp.bundle.source import SourceLimits
from pdp.bundle.store import ReloadResult, SnapshotStore, StoreStatus
from pdp.bundle.watch import Watcher
from pdp.bundle.writing import open_writer
from pdp.call import Admission
from pdp.candidate import Candidate
from pdp.cedar.options import AuthorizeCounts, AuthorizeOptions
from pdp.config import AuthorizeConfig, BundleConfig, Config, InterceptorsConfig
from pdp.decision_log.masking import masking
from pdp.decision_log.opening import open_sink
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import BundleError, ConfigError
from pdp.identity.callers import Callers
from pdp.identity.keys import KeyRing, make_key_ring
from pdp.identity.rates import CallerRates
from pdp.identity.subjects import subject_verifier
from pdp.identity.tokens import TokenVerifier
from pdp.listening import make_authzen, make_authzen_server, make_certificate, make_servers, start_all
from pdp.live_definitions import LiveDefinitions
from pdp.observing.probes import observed
from pdp.observing.process import Parts, Process
from pdp.observing.serving import telling
from pdp.observing.tracing import make_tracer
from pdp.private_directory import state_directory
from pdp.sandbox.artifacts import ArtifactDirectory
from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import SandboxOptions
from pdp.sandbox.sandbox import Sandbox
from pdp.server import Server
from pdp.servicers.admin import AdminServicer
from pdp.servicers.decision import DecisionServicer
from pdp.servicers.fellows import ALONE, Fellows
from pdp.servicers.gateways.authzen_server import HttpServer
from pdp.servicers.ids import decision_ids
from pdp.servicers.recorder import Recorder
from pdp.telemetry.metrics import Metrics
from pdp.telemetry.observer import Observer
from pdp.tls import ServerCertificate

_log = structlog.get_logger("pdp")

_MIB = 1024 * 1024
_MAX_LOG_TEXT_BYTES = 4_096

#: Threads get this much stack whatever `ulimit -s` and the C library say.
_THREAD_STACK_BYTES = 4 * _MIB

#: How long a thread that wants the interpreter waits for one that keeps it. A call that comes back from a guest waits
#: this long for each busy thread, so the usual 5 ms would let a guest overrun its time by a multiple of that.
_SWITCH_SECONDS = 0.001

#: Objects made since the last collection, and younger collections before an older one. A call makes a hundred objects
#: and keeps none of them, so the interpreter's 700 would have it look for cycles every few calls.
_COLLECTOR = (50_000, 20, 20)


class App:
    """The running service: the addresses that it really listens on.

    `addresses` are DecisionService's, `admin_addresses` those of a listener that AdminService has for itself.
    """

    def __init__(
        self,
        store: SnapshotStore,
        servers: list[Server],
        administering: AdminServicer,
        process: Process,
        authzen: HttpServer | None = None,
    ) -> None:
        self.store = store
        self.process = process
        self._administering = administering
        self._servers = servers
        self.addresses = servers[0].addresses
        self.admin_addresses = servers[1].addresses if len(servers) > 1 else ()
        #: The calls that wait for threads, for each server, with what is counted about them.
        self.queues = tuple(server.queue for server in servers)
        #: Where AuthZEN is served, `host:port`; empty where it is not.
        self.authzen_address = authzen.address if authzen is not None else ""
        #: Where probes and scrapers are answered, `host:port`; empty where they are not.
        self.telemetry_address = process.address

    def reload(self) -> ReloadResult:
        """Read the bundle again now."""
        return self.store.reload()

    def own_status(self) -> pb.GetStatusResponse:
        """How this process is, without the others."""
        return self._administering.own_status()


@contextmanager
def running(config: Config, environ: Mapping[str, str], fellows: Fellows = ALONE) -> Iterator[App]:
    """The service, started; leaving the context drains and stops it. `fellows` are the other workers, if there are any.

    Raises ConfigError, or BundleError if there is neither a bundle that loads nor a last good copy of one.
    """
    prepare_process()
    counts = AuthorizeCounts()
    with ExitStack() as stack:
        observer, process = _observing(config, stack)
        sandbox = make_sandbox(config.interceptors, environ)
        store = _store(config, sandbox, environ, counts)
        store.start()
        sink = open_sink(config.decision_log, environ, _tell_log, str(config.bundle.source))
        stack.callback(sink.close)
        recorder = _recorder(sink, config.decision_log)
        candidate = _candidate(config, sandbox, recorder, stack)
        live = LiveDefinitions(fellows.changed_tools())
        ring = make_key_ring(config.identity, _report_keys)
        ring.start()
        stack.callback(ring.stop)
        verify = subject_verifier(TokenVerifier(config.identity, ring))
        admission = Admission(Callers(config.callers))
        certificate = make_certificate(config.server)
        rates = CallerRates(config.callers, config.server.workers)
        answering = DecisionServicer(store, recorder, config.limits, live, candidate, verify, rates)
        answers_without_room = config.decision_log.answers_without_room
        reasons = _degraded(partial(_log_reasons, sink, answers_without_room), store, live, ring, certificate)
        administering = AdminServicer(store, sandbox, datetime.now(UTC), reasons, candidate, fellows)
        servers = make_servers(config, answering, administering, admission, certificate, observer)
        authzen = make_authzen_server(config, certificate)
        made = partial(make_authzen, config, answering, store, admission.callers, observer)
        start_all(stack, servers, authzen, made)
        _watch(config.bundle, [store] if candidate is None else [store, candidate.store], stack)
        process.up(Parts(store, sink, ring, admission, servers, counts, reasons, answers_without_room, rates))
        stack.enter_context(telling(process.blocking, servers))
        stack.callback(process.stop)
        yield App(store, servers, administering, process, authzen)


def _observing(config: Config, stack: ExitStack) -> tuple[Observer, Process]:
    """What observes calls, and this process, which answers probes and scrapers until everything else has stopped."""
    metrics = Metrics()
    observer = Observer(metrics, make_tracer(config.telemetry, metrics, stack))
    process = Process(metrics)
    # Of several workers the supervisor answers them.
    if config.server.workers == 1:
        process.address = stack.enter_context(observed(config.telemetry.listen, process))
    return observer, process


def prepare_process() -> None:
    """Set what holds for the whole interpreter; before any thread is made."""
    gc.set_threshold(*_COLLECTOR)
    # A guest may use 256 KiB of the stack of the thread that calls it, beside what the calls need.
    threading.stack_size(_THREAD_STACK_BYTES)
    sys.setswitchinterval(_SWITCH_SECONDS)


def authorize_options(config: AuthorizeConfig, counts: AuthorizeCounts | None = None) -> AuthorizeOptions:
    """The core's options for a configuration."""
    return AuthorizeOptions(
        decision_cache=config.decision_cache,
        slice_cache=config.slice_cache,
        shape_cache=config.shape_cache,
        strict_policy_errors=config.on_forbid_error == "deny",
        evaluator=config.evaluator,
        counts=counts or AuthorizeCounts(),
    )


def source_limits(config: BundleConfig) -> SourceLimits:
    """The limits on a bundle's files for a configuration."""
    return SourceLimits(
        max_files=config.max_files,
        max_file_bytes=config.max_file_mib * _MIB,
        max_total_bytes=config.max_total_mib * _MIB,
    )


def make_sandbox(config: InterceptorsConfig, environ: Mapping[str, str]) -> Sandbox:
    """The sandbox for a configuration."""
    options = SandboxOptions(
        compile_seconds=config.compile_seconds,
        compile_bytes=config.compile_memory_mib * _MIB,
        max_instances=config.instances,
    )
    if config.cache_dir == "":
        return Sandbox(options)
    kept = Path(config.cache_dir) if config.cache_dir else state_directory(environ) / "modules"
    return Sandbox(options, ArtifactDirectory(kept))


def _tell_guest_log(name: str, level: int, text: str) -> None:
    tell = (_log.debug, _log.info, _log.warning, _log.error)[level]
    tell("interceptor", name=name, text=bounded(text, _MAX_LOG_TEXT_BYTES))


def _store(config: Config, sandbox: Sandbox, environ: Mapping[str, str], counts: AuthorizeCounts) -> SnapshotStore:
    source = config.bundle.source
    if source is None:
        raise ConfigError(["`bundle.source` is missing: name a bundle with `--bundle DIR`"])
    limits = source_limits(config.bundle)
    reader = open_source(source, limits)
    return SnapshotStore(
        reader,
        Loader(authorize_options(config.authorize, counts), sandbox, _tell_guest_log),
        _last_good(config.bundle, source, environ),
        limits,
        _report_reload,
        open_writer(source, reader),
        max_age_seconds=config.server.max_snapshot_age_seconds,
    )


def _last_good(config: BundleConfig, source: Path, environ: Mapping[str, str]) -> LastGood | None:
    if config.last_good_dir == "":
        return None
    return LastGood(Path(config.last_good_dir) if config.last_good_dir else default_directory(source, environ))


def _report_reload(result: ReloadResult, status: StoreStatus) -> None:
    if status.snapshot is None:
        return  # at the start: the last good copy comes next, and this is called again, or an error with the problems
    for problem in (*result.problems, *(status.snapshot.warnings if result.changed else ())):
        tell = _log.error if problem.severity == "error" else _log.warning
        tell("bundle problem", place=str(problem))
    for reason in status.degraded:
        _log.error("degraded", reason=reason, revision=result.revision)
    snapshot = status.snapshot
    if not (result.changed or result.problems or status.degraded):
        _log.info("the bundle loads again", revision=result.revision)
    if result.changed and snapshot is not None:
        # A snapshot lives long and can hold millions of objects: the collector must not walk them again and again.
        gc.freeze()
        _log.info(
            "bundle loaded",
            revision=snapshot.revision,
            policies=snapshot.counts.policies,
            entities=snapshot.counts.entities,
            tools=snapshot.counts.tools,
            interceptors=snapshot.counts.interceptors,
            files_parsed=len(snapshot.parsed),
        )


def _recorder(sink: DecisionSink, config: DecisionLogConfig) -> Recorder:
    return Recorder(sink, decision_ids(), config.arguments, masking(config.mask))


def _tell_log(problem: str) -> None:
    _log.error("decision log", failed=problem)


def _report_keys(issuer: str, problems: Sequence[str]) -> None:
    for problem in problems:
        _log.warning("issuer keys", issuer=issuer, problem=problem)


def _degraded(
    log_reasons: Callable[[], list[str]],
    store: SnapshotStore,
    live: LiveDefinitions,
    ring: KeyRing,
    certificate: ServerCertificate | None,
) -> Callable[[], list[str]]:
    def reasons() -> list[str]:
        too_old = [store.problem] if store.problem is not None else []
        others = (*_tool_reasons(store, live), *ring.problems(), *_tls_reasons(certificate))
        return [*too_old, *log_reasons(), *others]

    return reasons


def _tls_reasons(certificate: ServerCertificate | None) -> list[str]:
    if certificate is None:
        return []
    certificate.refresh()
    return certificate.problems


def _log_reasons(sink: DecisionSink, answers_without_room: bool) -> list[str]:
    status = sink.status()
    found = [f"the decision log cannot be written: {status.failing}"] if status.failing else []
    if status.full and answers_without_room:
        found.append("the decision log has no room, and calls are answered without their records")
    return [*found, f"{status.dropped} decision log lines were dropped"] if status.dropped else found


def _tool_reasons(store: SnapshotStore, live: LiveDefinitions) -> list[str]:
    snapshot = store.status.snapshot
    changed = live.changed(snapshot.authorizer.model.tools) if snapshot is not None else []
    return [f"`{server}/{tool}` is not the tool that was pinned; its calls are denied" for server, tool in changed]


def _candidate(config: Config, sandbox: Sandbox, recorder: Recorder, stack: ExitStack) -> Candidate | None:
    """The candidate bundle, if there is one; `stack` closes it. One that does not load stops nothing."""
    path = config.bundle.candidate
    if path is None:
        return None
    limits = source_limits(config.bundle)
    loader = Loader(authorize_options(config.authorize), sandbox, _tell_guest_log)
    store = SnapshotStore(open_source(path, limits), loader, None, limits, _report_candidate)
    store.reload()
    candidate = Candidate(store, config.bundle.candidate_share, recorder.difference)
    stack.callback(candidate.close)
    return candidate


def _report_candidate(result: ReloadResult, status: StoreStatus) -> None:
    for problem in result.problems:
        _log.warning("candidate bundle problem", place=str(problem))
    if result.changed:
        _log.info("candidate bundle loaded", revision=result.revision)


def _watch(config: BundleConfig, stores: Sequence[SnapshotStore], stack: ExitStack) -> None:
    """Keep the stores fresh, if that is configured."""
    for store in stores if config.watch else ():
        watcher = _watcher(config, store)
        watcher.start()
        stack.callback(watcher.stop)


def _watcher(config: BundleConfig, store: SnapshotStore) -> Watcher:
    def reload() -> None:
        with contextlib.suppress(BundleError):
            store.reload()

    return Watcher(
        store.watch_paths,
        reload,
        debounce_ms=config.debounce_ms,
        rescan_seconds=config.rescan_seconds,
        force_polling=config.force_polling,
        on_error=lambda error: _log.warning("watching the bundle failed", error=str(error)),
    )
