"""The tracer for a configuration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pdp import __version__
from pdp.errors import ConfigError
from pdp.secret_files import read_secret
from pdp.telemetry.metrics import Metrics
from pdp.telemetry.observer import NoTracer, Tracer
from pdp.telemetry.otlp import OtlpExporter, OtlpTracer
from pdp.telemetry_config import TelemetryConfig

_MAX_FILE_BYTES = 1024 * 1024


def make_tracer(config: TelemetryConfig, metrics: Metrics, stack: ExitStack) -> Tracer:
    """The tracer, which `stack` closes. Raises ConfigError where a file cannot be read."""
    if not config.otlp_endpoint:
        return NoTracer()
    ca = _read(config.otlp_ca, "otlp_ca", _read_any) if config.otlp_ca is not None else None
    headers = _headers(config.otlp_headers_file)
    exporter = OtlpExporter(config.otlp_endpoint, ca, headers, __version__, metrics.spans_lost)
    stack.callback(exporter.close)
    return OtlpTracer(exporter, share=config.trace_share, subjects=config.trace_subjects)


def _headers(path: Path | None) -> list[tuple[str, str]]:
    if path is None:
        return []
    found = []
    for number, line in enumerate(_read(path, "otlp_headers_file", read_secret).decode("latin-1").splitlines(), 1):
        name, colon, value = line.partition(":")
        # The line is not repeated: it is likely to hold a secret.
        if line.strip() and not (colon and name.strip()):
            raise ConfigError([f"`telemetry.otlp_headers_file`: line {number} is not `name: value`"])
        if line.strip():
            found.append((name.strip().lower(), value.strip()))
    return found


def _read_any(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most_bytes)


def _read(path: Path, key: str, read: Callable[[Path, int], bytes]) -> bytes:
    try:
        return read(path, _MAX_FILE_BYTES)
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise ConfigError([f"`telemetry.{key}`: `{path}` cannot be read: {cause}"]) from error
