"""Records to a collector: the protocol's own service, on a free port, that can fail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from pdp.decision_log import otlp_exporter, sieve
from pdp.decision_log.opening import open_sink
from pdp.decision_log.otlp_messages import ExportRequest, ExportResponse
from pdp.decision_log.sinks import DecisionSink
from pdp.decision_log.verifying import Finding, Verification
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError
from tests.certificates import Authority, Pair
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
        #: What is answered to a request, by its text; None takes it.
        self.judge: Callable[[str], grpc.StatusCode | None] = lambda text: None

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        """The one method."""
        if self.failures:
            context.abort(self.failures.pop(0), "not now")
        if (code := self.judge(str(request))) is not None:
            context.abort(code, "no")
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


@contextmanager
def served(collector: Collector, pair: Pair | None, options: tuple[tuple[str, int], ...] = ()) -> Iterator[str]:
    """Where it listens; with TLS if it has a certificate."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0), *options])
    method = grpc.unary_unary_rpc_method_handler(
        collector.Export, ExportRequest.FromString, ExportResponse.SerializeToString
    )
    name = "opentelemetry.proto.collector.logs.v1.LogsService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": method}),))
    if pair is None:
        address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)])
        address = f"https://127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield address
    finally:
        server.stop(None).wait()


@pytest.fixture
def address(collector: Collector) -> Iterator[str]:
    """Where it listens."""
    with served(collector, None) as found:
        yield found


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


@pytest.mark.parametrize(
    ("sound", "damaged"),
    [
        ("2026-01-02T03", "0026-01-02T03"),
        ("2026-01-02T03", "9999-01-02T03"),
        ("2026-01-02T03:04:05.678901Z", "0001-01-01"),
        ('"d%d"', '"\\ud83d"'),
        ('"code":', '"code":' + "[" * 50_000),
    ],
)
def test_a_record_with_damage_holds_up_no_other(
    tmp_path: Path, collector: Collector, address: str, sound: str, damaged: str
) -> None:
    """What a record says may have no form in the protocol: it arrives as the line that it is, and others after it."""
    problems: list[str] = []
    with sink(tmp_path, address, problems) as opened:
        opened.write(LINE.replace(sound, damaged))
        opened.write(LINE % 1)
        wait_until(lambda: len(collector.records) == 2, "both arrive")
    assert collector.records[0].body.string_value.startswith(LINE.replace(sound, damaged)[:-1])
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
    """A partial success is final, says the protocol; it is counted and told. A rejected gap makes no further gap."""
    collector.rejected = 1
    problems: list[str] = []
    with sink(tmp_path, address, problems) as opened:
        opened.write(LINE % 1)
        wait_until(lambda: opened.status().dropped == 2, "it is counted, and so is the gap")
    assert any(problem.endswith("the collector rejected 1 records: too old") for problem in problems)
    assert kinds(collector) == ["authorize", "gap"]
    assert bodies(collector)[1]["refused"]["first_seq"] == bodies(collector)[1]["refused"]["last_seq"] == 1


def bodies(collector: Collector) -> list[dict[str, Any]]:
    """What the collector has."""
    return [json.loads(each.body.string_value) for each in collector.records]


def kinds(collector: Collector) -> list[str]:
    """Which kinds of records the collector has."""
    return [record["kind"] for record in bodies(collector)]


def verified(collector: Collector) -> tuple[list[Finding], int, int]:
    """What is wrong with what the collector has, and how many records were refused and lost."""
    verification = Verification()
    for number, record in enumerate(collector.records, start=1):
        verification.feed("collector", number, record.body.string_value.encode() + b"\n")
    findings = verification.finish()
    [writer] = verification.writers.values()
    return findings, writer.refused, writer.lost


def test_a_record_that_is_too_large_for_the_collector(tmp_path: Path, collector: Collector) -> None:
    """With a real limit of a server all other records arrive; the large one is counted, told, and in the chain."""
    problems: list[str] = []
    limit = (("grpc.max_receive_message_length", 60_000),)
    with served(collector, None, limit) as address:  # noqa: SIM117 - the server ends last
        with sink(tmp_path, address, problems) as opened:
            for number in range(300):
                large = number == 150
                opened.write((LINE % number)[:-1] + f',"filler":"{"x" * (100_000 if large else 300)}"}}')
            wait_until(lambda: opened.status().lag_records == 0, "all is delivered")
            status = opened.status()
    assert (status.dropped, status.failing) == (1, None)
    assert {f"d{number}" for number in range(300)} - {record.get("decision_id") for record in bodies(collector)} == {
        "d150"
    }
    assert Counter(kinds(collector)) == {"authorize": 299, "refused": 1, "gap": 1}
    assert verified(collector) == ([], 1, 1)
    [told] = [problem for problem in problems if "refuses what it will never take" in problem]
    assert "the record 151 of" in told
    assert "RESOURCE_EXHAUSTED" in told


def test_a_record_that_the_collector_finds_invalid(tmp_path: Path, collector: Collector, address: str) -> None:
    """`INVALID_ARGUMENT` for one record keeps no other record."""
    collector.judge = lambda text: grpc.StatusCode.INVALID_ARGUMENT if '"d7"' in text else None
    with sink(tmp_path, address, []) as opened:
        for number in range(20):
            opened.write(LINE % number)
        wait_until(lambda: opened.status().lag_records == 0, "all is delivered")
    assert Counter(kinds(collector)) == {"authorize": 19, "refused": 1, "gap": 1}
    assert verified(collector) == ([], 1, 1)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
    ],
)
def test_a_collector_that_answers_everything_so_loses_nothing(
    tmp_path: Path, collector: Collector, address: str, code: grpc.StatusCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is answered to every record is about none of them: nothing is lost, and all arrive when it is mended."""
    monkeypatch.setattr(otlp_exporter, "_FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(sieve, "_FIRST_WAIT_SECONDS", 0.01)
    collector.judge = lambda text: code
    with sink(tmp_path, address, []) as opened:
        for number in range(20):
            opened.write(LINE % number)
        wait_until(lambda: opened.status().failing, "it fails")
        assert opened.status().dropped == 0
        collector.judge = lambda text: None
        wait_until(lambda: opened.status().lag_records == 0, "all is delivered")
        assert opened.status().dropped == 0
    assert kinds(collector) == ["authorize"] * 20


def test_a_quota_is_not_about_a_record(
    tmp_path: Path, collector: Collector, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`RESOURCE_EXHAUSTED` that says nothing of a size is answered to whatever comes too early: it comes again."""
    monkeypatch.setattr(otlp_exporter, "_FIRST_RETRY_SECONDS", 0.01)
    left = iter(range(3))
    collector.judge = lambda text: (
        grpc.StatusCode.RESOURCE_EXHAUSTED if "d1" in text and next(left, None) is not None else None
    )
    with sink(tmp_path, address, []) as opened:
        opened.write(LINE % 1)
        wait_until(lambda: opened.status().lag_records == 0, "it is delivered")
        assert opened.status().dropped == 0
    assert kinds(collector) == ["authorize"]


def test_tls_with_the_right_and_a_wrong_authority(tmp_path: Path, collector: Collector) -> None:
    """With a wrong authority nothing is sent, the failure is told and nothing lost; with the right one all arrives."""
    authority, stranger = Authority("right"), Authority("wrong")
    paths = {}
    for name, each in (("right", authority), ("wrong", stranger)):
        paths[name] = tmp_path / f"{name}.pem"
        paths[name].write_bytes(each.pem)
    problems: list[str] = []
    with served(collector, authority.issue("127.0.0.1")) as address:
        with sink(tmp_path, address, problems, otlp_ca=paths["wrong"]) as opened:
            opened.write(LINE % 1)
            wait_until(lambda: opened.status().failing, "it fails")
            status = opened.status()
            assert (status.lag_records, status.dropped) == (1, 0)
        with sink(tmp_path, address, problems) as opened:  # the system's authorities do not know it either
            wait_until(lambda: opened.status().failing, "it fails")
        assert collector.records == []
        assert "1 records wait in the spool" in problems
        headers = {"authorization": "Bearer secret"}
        with sink(tmp_path, address, problems, otlp_ca=paths["right"], otlp_headers=headers) as opened:
            opened.write(LINE % 2)
            wait_until(lambda: opened.status().lag_records == 0, "all is delivered")
    assert [record["decision_id"] for record in bodies(collector)] == ["d1", "d2"]
    assert collector.metadata["authorization"] == "Bearer secret"
    assert "secret" not in "".join(problems)


def test_tls_for_another_name(tmp_path: Path, collector: Collector) -> None:
    """A certificate of the right authority for somebody else is none."""
    authority = Authority()
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    with served(collector, authority.issue("collector.example")) as address:  # noqa: SIM117 - the server ends last
        with sink(tmp_path, address, [], otlp_ca=path) as opened:
            opened.write(LINE % 1)
            wait_until(lambda: opened.status().failing, "it fails")
    assert collector.records == []


def test_an_authority_that_is_not_there(tmp_path: Path) -> None:
    """Certificates that cannot be read are a wrong configuration."""
    more = {"otlp_ca": tmp_path / "absent"}
    with pytest.raises(ConfigError, match="otlp_ca"), sink(tmp_path, "https://h:1", [], **more):
        pass


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
