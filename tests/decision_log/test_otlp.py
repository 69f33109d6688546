"""Records to a collector: the protocol's own service, on a free port, that can fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp.decision_log import otlp_exporter
from pdp.decision_log.opening import open_sink
from pdp.decision_log.otlp_messages import ExportRequest, ExportResponse
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError
from tests.waiting import wait_until

LINE = (
    '{"kind":"authorize","time":"2026-01-02T03:04:05.678901Z","decision_id":"d%d","decision":"DENY","code":"FORBIDDEN"}'
)

#: Made with opentelemetry-proto itself.
GOLDEN_REQUEST = (
    "0a4d0a170a150a0c736572766963652e6e616d6512050a0370647012320a060a017312013112280901000000000000001009"
    "1a04494e464f2a020a0032080a016b12030a0176590200000000000000"
)
GOLDEN_RESPONSE = "0a0708071203776879"


class Collector:
    """Keeps what it is sent, unless it is told to fail."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.metadata: dict[str, str] = {}
        self.failures: list[grpc.StatusCode] = []
        self.rejected = 0

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The one method."""
        if self.failures:
            context.abort(self.failures.pop(0), "not now")
        self.metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.requests.append(request)
        answer = ExportResponse()
        answer.partial_success.rejected_log_records = self.rejected
        answer.partial_success.error_message = "too old" if self.rejected else ""
        return answer

    @property
    def records(self) -> list[Any]:
        """Every record, in order."""
        scopes = [scope for request in self.requests for logs in request.resource_logs for scope in logs.scope_logs]
        return [record for scope in scopes for record in scope.log_records]


@pytest.fixture
def collector() -> Collector:
    """One that takes everything."""
    return Collector()


@pytest.fixture
def address(collector: Collector) -> Iterator[str]:
    """Where it listens."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    method = grpc.unary_unary_rpc_method_handler(
        collector.Export, ExportRequest.FromString, ExportResponse.SerializeToString
    )
    name = "opentelemetry.proto.collector.logs.v1.LogsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def sink(tmp_path: Path, endpoint: str, problems: list[str], **more: Any) -> Iterator[DecisionSink]:
    """A sink to that collector."""
    config = DecisionLogConfig(sink="otlp", otlp_endpoint=endpoint, spool_dir=str(tmp_path / "spool"), **more)
    opened = open_sink(config, {}, problems.append)
    try:
        yield opened
    finally:
        opened.close()


def test_records_arrive(tmp_path: Path, collector: Collector, address: str) -> None:
    """Each record arrives once, with its line as the body, its time, its attributes and the headers that were given."""
    problems: list[str] = []
    with sink(tmp_path, address, problems, otlp_headers={"authorization": "Bearer x"}) as opened:
        for number in range(500):
            opened.write(LINE % number)
        wait_until(lambda: len(collector.records) == 500, "all arrive")
    record = collector.records[0]
    assert record.time_unix_nano == 1_767_323_045_678_901_000
    attributes = {each.key: each.value.string_value for each in record.attributes}
    uid = attributes.pop("log.record.uid")
    assert attributes == {
        "pdp.kind": "authorize", "pdp.decision": "DENY", "pdp.code": "FORBIDDEN", "pdp.decision_id": "d0"
    }  # fmt: skip
    body = json.loads(record.body.string_value)
    assert uid == f"{body['writer']}:1"
    assert [json.loads(each.body.string_value)["seq"] for each in collector.records] == list(range(1, 501))
    resource = {
        each.key: each.value.string_value for each in collector.requests[0].resource_logs[0].resource.attributes
    }
    assert resource["service.name"] == "pdp"
    assert collector.metadata["authorization"] == "Bearer x"
    assert problems == []


def test_a_collector_that_fails_is_asked_again(
    tmp_path: Path, collector: Collector, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it answers, the batch comes again until it is taken, and no call fails meanwhile."""
    monkeypatch.setattr(otlp_exporter, "_FIRST_RETRY_SECONDS", 0.01)
    collector.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED]
    problems: list[str] = []
    with sink(tmp_path, address, problems) as opened:
        opened.write(LINE % 1)
        wait_until(lambda: len(collector.records) == 1, "it arrives")
    assert any("the collector answers unavailable" in problem for problem in problems)


def test_rejected_records_are_told_and_not_sent_again(tmp_path: Path, collector: Collector, address: str) -> None:
    """A partial success is final, as the protocol has it; the service's own log hears of it."""
    collector.rejected = 1
    problems: list[str] = []
    with sink(tmp_path, address, problems) as opened:
        opened.write(LINE % 1)
        wait_until(lambda: problems, "it is told")
    assert problems[0] == "the collector rejected 1 records: too old"
    assert len([each for each in collector.records if "d1" in each.body.string_value]) == 1


def test_a_collector_that_is_not_there(tmp_path: Path) -> None:
    """Records wait in the spool, and stopping does not wait for it."""
    problems: list[str] = []
    with sink(tmp_path, "http://127.0.0.1:1", problems) as opened:
        opened.write(LINE % 1)
        wait_until(lambda: opened.status().failing, "it fails")
    assert "records wait in the spool" in problems[-1]


def test_messages_are_those_of_the_protocol() -> None:
    """A request is, byte for byte, what the protocol's own messages (opentelemetry-proto 1.45) make of the same."""
    request = ExportRequest()
    logs = request.resource_logs.add()
    logs.resource.attributes.add(key="service.name").value.string_value = "pdp"
    scope = logs.scope_logs.add()
    scope.scope.name, scope.scope.version = "s", "1"
    record = scope.log_records.add(time_unix_nano=1, severity_number=9, severity_text="INFO", observed_time_unix_nano=2)
    record.body.string_value = ""
    record.attributes.add(key="k").value.string_value = "v"
    assert request.SerializeToString().hex() == GOLDEN_REQUEST
    answer = ExportResponse.FromString(bytes.fromhex(GOLDEN_RESPONSE))
    assert (answer.partial_success.rejected_log_records, answer.partial_success.error_message) == (7, "why")


@pytest.mark.parametrize("endpoint", ["collector:4317", "ftp://x", "http://", "http://h:1/path", "https://h?x"])
def test_an_endpoint_that_is_none(tmp_path: Path, endpoint: str) -> None:
    """What is no endpoint is a wrong configuration."""
    with pytest.raises(ConfigError, match="otlp_endpoint"), sink(tmp_path, endpoint, []):
        pass
