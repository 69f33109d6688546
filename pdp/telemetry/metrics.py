"""What is counted while calls are answered. Everything else is read where it is, when somebody asks."""

from __future__ import annotations

from pdp.telemetry import catalogue
from pdp.telemetry.readings import Reading
from pdp.telemetry.tallies import Counts, Timings


class Metrics:
    """The counters and histograms of one process. Safe to share between threads."""

    def __init__(self) -> None:
        self.decisions = Counts(catalogue.DECISIONS)
        self.rpc_seconds = Timings(catalogue.RPC_SECONDS)
        self.rpc_errors = Counts(catalogue.RPC_ERRORS)
        self.layer_seconds = Timings(catalogue.LAYER_SECONDS)
        self.tokens_refused = Counts(catalogue.TOKENS_REFUSED)
        self.spans_lost = Counts(catalogue.SPANS_LOST)
        self.gateway_denials = Counts(catalogue.GATEWAY_DENIALS)
        self.interceptors = Counts(catalogue.INTERCEPTORS)
        self.interceptor_seconds = Timings(catalogue.INTERCEPTOR_SECONDS)

    def readings(self) -> list[Reading]:
        """All of them at this moment."""
        return [
            self.decisions.reading(),
            self.rpc_seconds.reading(),
            self.rpc_errors.reading(),
            self.layer_seconds.reading(),
            self.tokens_refused.reading(),
            self.spans_lost.reading(),
            self.gateway_denials.reading(),
            self.interceptors.reading(),
            self.interceptor_seconds.reading(),
        ]
