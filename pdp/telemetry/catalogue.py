"""Every metric that the service has, by name; `docs/reference/metrics.md` is made of this."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
#: How the figures of several workers become one.
Joined = Literal["sum", "max", "min"]

#: Seconds. A decision takes tenths of a millisecond, a chain of interceptors a few.
BUCKETS: Final = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)


class Family(NamedTuple):
    """One metric: its name as Prometheus shows it (without `_bucket` and the like), its labels, and what it means."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    joined: Joined = "sum"


DECISIONS = Family(
    "pdp_decisions_total",
    "counter",
    "Decisions, as the decision log has them; `code` is empty for those that allow.",
    ("kind", "decision", "code"),
)
RPC_SECONDS = Family(
    "pdp_rpc_duration_seconds",
    "histogram",
    "Time to answer a call, in a thread of its own; streams are not timed.",
    ("rpc",),
)
RPC_ERRORS = Family(
    "pdp_rpc_errors_total",
    "counter",
    "Calls that ended with a gRPC status other than OK; `rpc` is `unknown` for what is not served.",
    ("rpc", "code"),
)
LAYER_SECONDS = Family(
    "pdp_layer_duration_seconds",
    "histogram",
    "Time in one layer of a call: `interceptors` or `policies`. Batches are not divided.",
    ("layer",),
)
IN_FLIGHT = Family("pdp_calls_in_flight", "gauge", "Calls that are being answered or wait for a thread.")
SHED = Family(
    "pdp_calls_shed_total",
    "counter",
    "Calls refused before anybody looked at them, because too many waited or they would have waited for too long.",
)
EXPIRED = Family(
    "pdp_calls_expired_total", "counter", "Calls that nobody looked at, because their callers waited no longer."
)
UNAUTHENTICATED = Family(
    "pdp_callers_unauthenticated_total", "counter", "gRPC calls refused because nobody knows who makes them."
)
RATE_LIMITED = Family(
    "pdp_calls_rate_limited_total",
    "counter",
    "Calls refused because their caller asks more often than `calls_per_second`; of callers that have such a limit.",
    ("caller",),
)
TOKENS_REFUSED = Family("pdp_tokens_refused_total", "counter", "Tokens that did not establish a subject.")
GATEWAY_DENIALS = Family(
    "pdp_gateway_denials_total",
    "counter",
    "What was refused to gateways, by why: `denied`, `invalid`, `exhausted` or `internal`.",
    ("gateway", "reason"),
)
INTERCEPTORS = Family(
    "pdp_interceptor_outcomes_total",
    "counter",
    "What interceptors said; `error_class` is empty for those that did not fail.",
    ("interceptor", "mode", "verdict", "error_class"),
)
INTERCEPTOR_SECONDS = Family(
    "pdp_interceptor_duration_seconds", "histogram", "Time in one interceptor.", ("interceptor",)
)
UNHEALTHY = Family(
    "pdp_interceptors_unhealthy", "gauge", "Interceptors that fail every time at the moment.", joined="max"
)
CACHE_HITS = Family("pdp_cache_hits_total", "counter", "Look-ups that found something.", ("cache",))
CACHE_MISSES = Family("pdp_cache_misses_total", "counter", "Look-ups that found nothing.", ("cache",))
EVALUATIONS = Family(
    "pdp_evaluations_total",
    "counter",
    "Questions that were evaluated, by who did it: `compiled` or `cedar`.",
    ("evaluator",),
)
DISPUTED = Family(
    "pdp_evaluations_disputed_total",
    "counter",
    "Calls that were denied because two evaluations of the policies did not agree.",
)
LOG_WAITING = Family("pdp_decision_log_waiting_lines", "gauge", "Lines of the decision log that are not written yet.")
LOG_DROPPED = Family("pdp_decision_log_dropped_lines_total", "counter", "Lines of the decision log that are lost.")
LOG_FAILING = Family("pdp_decision_log_failing", "gauge", "1 while the decision log cannot be written.", joined="max")
SNAPSHOT = Family(
    "pdp_snapshot_info", "gauge", "1 for the revision of the bundle in force.", ("revision",), joined="max"
)
SNAPSHOT_AGE = Family(
    "pdp_snapshot_age_seconds",
    "gauge",
    "Since the source of the bundle was last read successfully: what is served is at most this old.",
    joined="max",
)
SNAPSHOT_LOADED = Family(
    "pdp_snapshot_loaded_timestamp_seconds", "gauge", "When the revision in force was loaded, Unix time.", joined="min"
)
RELOADS = Family(
    "pdp_reloads_total",
    "counter",
    "Reads of the bundle, by result: `changed`, `unchanged` or `failed`.",
    ("result",),
)
KEYS_AGE = Family(
    "pdp_issuer_keys_age_seconds", "gauge", "Since the keys of an issuer were last read.", ("issuer",), joined="max"
)
DEGRADED = Family("pdp_degraded_reasons", "gauge", "Things that are wrong; `pdp status` names them.", joined="max")
READY = Family("pdp_ready", "gauge", "1 while calls should come here, as `/readyz` has it.", joined="min")
SPANS_LOST = Family("pdp_spans_lost_total", "counter", "Spans of traces that the collector did not take.")
BUILD = Family("pdp_build_info", "gauge", "1 for the version that runs.", ("version",), joined="max")
WORKERS = Family("pdp_workers", "gauge", "Processes that are to answer calls.")
WORKERS_UP = Family("pdp_workers_up", "gauge", "Processes that show that they live.")
RESTARTS = Family("pdp_worker_restarts_total", "counter", "Workers that ended and were started again.")
STUCK = Family("pdp_workers_stuck_total", "counter", "Workers killed because they showed no sign of life.")
CPU = Family("process_cpu_seconds_total", "counter", "CPU time, of all processes that answer calls.")
MEMORY = Family("process_resident_memory_bytes", "gauge", "Resident memory, of all processes that answer calls.")
FILES = Family("process_open_fds", "gauge", "Open file descriptors, of all processes that answer calls.")
STARTED = Family("process_start_time_seconds", "gauge", "When the oldest process was started, Unix time.", joined="min")

FAMILIES: Final = {
    family.name: family
    for family in (
        *(DECISIONS, RPC_SECONDS, RPC_ERRORS, LAYER_SECONDS, IN_FLIGHT, SHED, EXPIRED, UNAUTHENTICATED, RATE_LIMITED),
        *(TOKENS_REFUSED, GATEWAY_DENIALS, INTERCEPTORS, INTERCEPTOR_SECONDS, UNHEALTHY, CACHE_HITS, CACHE_MISSES),
        *(EVALUATIONS, DISPUTED),
        *(LOG_WAITING, LOG_DROPPED, LOG_FAILING, SNAPSHOT, SNAPSHOT_AGE, SNAPSHOT_LOADED, RELOADS, KEYS_AGE),
        *(SPANS_LOST, DEGRADED, READY, BUILD, WORKERS, WORKERS_UP, RESTARTS, STUCK, CPU, MEMORY, FILES, STARTED),
    )
}
