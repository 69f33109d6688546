"""`[telemetry]`: the service's own log, what scrapers and probes may ask, and where traces go."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pdp.addresses import host_of, is_local
from pdp.named_path import NamedPath

_ALLOW_NETWORK = "set `telemetry.allow_network = true` if that is meant"


class TelemetryConfig(BaseModel):
    """`[telemetry]`: the service's own log, metrics, probes and traces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: What is less than this is not written.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `auto` writes for people on a terminal and JSON elsewhere.
    log_format: Literal["auto", "json", "console"] = "auto"
    #: Where `/metrics`, `/livez` and `/readyz` are served over plain HTTP to everyone who can connect: `host:port` or
    #: `[v6]:port`. Empty: nowhere.
    listen: str = ""
    #: Take connections from other machines there, and send traces to other machines without TLS. Metrics name
    #: revisions, interceptors and issuers, `/readyz` what is wrong; traces name tools too.
    allow_network: bool = False
    #: Where traces go, OTLP over gRPC: `http://host:port`, or `https://host:port` for TLS. Empty: nowhere.
    otlp_endpoint: str = ""
    #: Certificates, PEM, one of which must have signed that of the collector. Unset: those that grpc knows.
    otlp_ca: NamedPath | None = None
    #: A file with headers for the collector, `name: value` in each line, that others cannot read.
    otlp_headers_file: NamedPath | None = None
    #: Calls that are traced of those whose callers say nothing about a trace. What callers say is followed.
    trace_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    #: Whether traces name who asks.
    trace_subjects: bool = False

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if address and host_of(address).startswith("unix:"):
            raise ValueError("write `host:port` or `[v6]:port`")
        return address

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_an_endpoint(cls, endpoint: str) -> str:
        if not endpoint:
            return endpoint
        parts = urlsplit(endpoint)
        beyond = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        # Reading the port raises ValueError where it is no number.
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.port or beyond:
            raise ValueError("write `http://host:port` or `https://host:port`")
        return endpoint

    @model_validator(mode="after")
    def _goes_together(self) -> TelemetryConfig:
        if not self.otlp_endpoint and (self.otlp_ca or self.otlp_headers_file):
            raise ValueError("`otlp_ca` and `otlp_headers_file` go with `otlp_endpoint`")
        if self.otlp_ca is not None and not self.otlp_endpoint.startswith("https:"):
            raise ValueError("`otlp_ca` goes with an `https://` endpoint")
        return self

    @model_validator(mode="after")
    def _stays_here(self) -> TelemetryConfig:
        if self.allow_network:
            return self
        if self.listen and not is_local(host_of(self.listen)):
            raise ValueError(f"other machines can reach `{self.listen}`; {_ALLOW_NETWORK}")
        host = urlsplit(self.otlp_endpoint).hostname or ""
        if self.otlp_endpoint.startswith("http:") and not is_local(host):
            raise ValueError(f"traces would go to `{host}` without TLS; {_ALLOW_NETWORK}")
        return self
