"""Records to a collector, by OTLP over gRPC."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import grpc

from pdp import __version__
from pdp.decision_log.backlog import Batch
from pdp.decision_log.chain import stated
from pdp.decision_log.draining import OpenExporter
from pdp.decision_log.exporting import ExportError, RefusedError, RejectedError
from pdp.decision_log.otlp_messages import AnyValue, ExportRequest, ExportResponse, KeyValue, LogRecord
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError

_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_TIMEOUT_SECONDS = 4.0
#: `SEVERITY_NUMBER_INFO`.
_INFO = 9
#: What servers answer to a message that is too large for them: grpc's C core and Go, Java, .NET, and tonic. The same
#: code is otherwise that of a quota, which is about all records.
_TOO_LARGE = re.compile("larger than max|exceeds (?:the )?maximum|length too large", re.IGNORECASE)
_TOO_LARGE_CODES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE)
#: Times are numbers of 64 bits.
_END_OF_TIME_NS = 2**64
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 0.5, 30.0
#: What of a record becomes an attribute, beside being in the body.
_ATTRIBUTES = ("kind", "decision", "code", "decision_id", "caller", "revision", "request_id", "session_id")


class OtlpExporter:
    """Each record is one LogRecord: its line is the body, so whoever has the bodies can verify the chain.

    The protocol has nothing that tells a record that is sent again from another; `log.record.uid` does.
    """

    def __init__(self, channel: grpc.Channel, headers: Mapping[str, str]) -> None:
        self._channel = channel
        self._export = channel.unary_unary(_METHOD, ExportRequest.SerializeToString, ExportResponse.FromString)
        self._headers = tuple(headers.items())
        self._retry_at = 0.0
        self._retry_seconds = _FIRST_RETRY_SECONDS

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        if time.monotonic() < self._retry_at:
            raise ExportError("the collector is asked again later")
        try:
            answer = self._export(_request(batch), timeout=_TIMEOUT_SECONDS, metadata=self._headers)
        except grpc.RpcError as error:
            text = f"the collector answers {error.code().name}: {str(error.details())[:200]}"
            if _is_for_ever(error):
                raise RefusedError(text) from error
            self._retry_at = time.monotonic() + self._retry_seconds
            self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)
            raise ExportError(text) from error
        self._retry_seconds, self._retry_at = _FIRST_RETRY_SECONDS, 0.0
        if (rejected := answer.partial_success.rejected_log_records) > 0:
            # The protocol forbids to send them again.
            reason = answer.partial_success.error_message[:200]
            raise RejectedError(rejected, f"the collector rejected {rejected} records: {reason}")

    def sync(self) -> None:
        """Nothing to be done: the collector has answered."""

    def close(self) -> None:
        """As in `Exporter`."""
        self._channel.close()


def _is_for_ever(error: Any) -> bool:
    if error.code() in _TOO_LARGE_CODES:
        return _TOO_LARGE.search(str(error.details())) is not None
    return bool(error.code() is grpc.StatusCode.INVALID_ARGUMENT)


def opener(config: DecisionLogConfig) -> OpenExporter:
    """What opens the exporter that a configuration asks for. Raises ConfigError."""
    parts = urlsplit(config.otlp_endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/") or parts.query:
        problem = f"`decision_log.otlp_endpoint`: `{config.otlp_endpoint}` is not `https://host:port`"
        raise ConfigError([problem])
    target = parts.netloc if parts.port is not None else f"{parts.netloc}:4317"
    headers = {name: value.get_secret_value() for name, value in config.otlp_headers.items()}
    options = (("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 5_000))
    if parts.scheme == "http":
        return lambda slot: OtlpExporter(grpc.insecure_channel(target, options), headers)
    credentials = grpc.ssl_channel_credentials(_certificates(config))
    return lambda slot: OtlpExporter(grpc.secure_channel(target, credentials, options), headers)


def _certificates(config: DecisionLogConfig) -> bytes | None:
    if config.otlp_ca is None:
        return None
    try:
        return config.otlp_ca.read_bytes()
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise ConfigError([f"`decision_log.otlp_ca`: `{config.otlp_ca}` cannot be read: {cause}"]) from error


def _request(batch: Batch) -> Any:
    request = ExportRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.extend([_text("service.name", "pdp"), _text("service.version", __version__)])
    scope = resource.scope_logs.add()
    scope.scope.name = "pdp.decision_log"
    now = time.time_ns()
    scope.log_records.extend(_log_record(line, now) for line in batch.lines)
    return request


def _log_record(line: bytes, now: int) -> Any:
    text = line.decode("ascii", "backslashreplace")
    record = LogRecord(observed_time_unix_nano=now, severity_number=_INFO, severity_text="INFO")
    record.body.string_value = text
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):  # damaged in the spool; the collector gets it as it is
        content = {}
    record.time_unix_nano = _unix_ns(content.get("time"))
    record.attributes.extend(
        _text(f"pdp.{name}", value) for name in _ATTRIBUTES if isinstance(value := content.get(name), str) and value
    )
    if (link := stated(line)) is not None:
        record.attributes.append(_text("log.record.uid", f"{link.writer}:{link.seq}"))
    return record


def _unix_ns(moment: Any) -> int:
    """Since the epoch; 0 for what is no time, or none that the protocol can tell."""
    try:
        found = int(datetime.fromisoformat(moment).timestamp() * 1e6) * 1_000
    except (TypeError, ValueError, OverflowError):
        return 0
    return found if 0 <= found < _END_OF_TIME_NS else 0


def _text(key: str, value: str) -> Any:
    # Half of a character, which an escape with damage can be, has no form in UTF-8.
    text = value.encode("utf-8", "backslashreplace").decode()
    return KeyValue(key=key, value=AnyValue(string_value=text))
