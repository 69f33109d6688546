"""Traces: joined to the caller's, and to the decision log and the service's own log by their ids."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from pdp import logs
from pdp.errors import ConfigError
from pdp.telemetry import otlp
from pdp.telemetry.metrics import Metrics
from pdp.telemetry.observer import Observer, Told
from pdp.telemetry.otlp_wire import SpanRecord
from pdp.telemetry.scope import current
from pdp.telemetry.traceparent import Parent, parse
from pdp.telemetry_config import TelemetryConfig
from tests.certificates import Authority
from tests.gateways.authzen_service import EVALUATION, AuthZenClient, asked
from tests.grpc.service import TIMEOUT_SECONDS, Service, configuration, failure, tool_call
from tests.telemetry.collector import Collector, attributes, collecting
from tests.telemetry.world import LONG, decide, observed, value
from tests.waiting import wait_until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Where spans go."""
    with collecting() as found:
        yield found


@pytest.fixture
def service(tmp_path: Path, collector: Collector) -> Iterator[Service]:
    """A service that traces what its callers trace, and nothing else."""
    with observed(tmp_path, telemetry={"otlp_endpoint": collector.address, "trace_share": 0.0}) as running:
        yield running


@pytest.mark.parametrize(
    ("text", "parent"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", Parent(TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-03", Parent(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", Parent(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01", Parent(TRACE, SPAN, True)),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"00-{TRACE}-{SPAN}-01x", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-0g", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        (f"00-{TRACE[:-1]}٣-{SPAN}-01", None),
        ("", None),
        ("00", None),
        ("-" * 1_048_576, None),
        (f"cc-{TRACE}-{SPAN}-01-" + "a" * 1_048_576, None),
    ],
)
def test_traceparent(text: str, parent: Parent | None) -> None:
    """A well-formed parent is read, what is not well-formed is passed over, whatever its size."""
    assert parse(text) == parent


def ask(service: Service, request: Any, *metadata: tuple[str, str]) -> Any:
    """Decide, with metadata."""
    return service.decision.Decide(request, timeout=TIMEOUT_SECONDS, metadata=metadata)


def test_a_call_is_a_part_of_its_callers_trace(service: Service, collector: Collector) -> None:
    """The span of a call has the caller's as its parent, says what was decided, and has its layers within it."""
    answer = ask(service, decide("asked", request_id="r-1"), ("traceparent", f"00-{TRACE}-{SPAN}-01"))
    collector.wait_for(3)
    span = collector.named("DecisionService.Decide")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    told = attributes(span)
    assert told == {
        "rpc.service": "DecisionService",
        "rpc.method": "Decide",
        "pdp.status": "OK",
        "pdp.request_id": "r-1",
        "pdp.kind": "decide",
        "pdp.decision": "ALLOW",
        "pdp.decision_id": answer.decision_id,
        "pdp.revision": answer.revision,
        "pdp.server": "srv",
        "pdp.tool": "asked",
    }
    layers = [collector.named(name) for name in ("interceptors", "policies")]
    for layer in layers:
        assert (layer.trace_id, layer.parent_span_id) == (span.trace_id, span.span_id)
        assert span.start_time_unix_nano <= layer.start_time_unix_nano <= layer.end_time_unix_nano
        assert layer.end_time_unix_nano <= span.end_time_unix_nano
    [event] = layers[0].events
    assert attributes(event)["pdp.interceptor"] == "asked"
    assert attributes(event)["pdp.verdict"] == "pass"
    record = service.record_of(answer.decision_id)
    assert (record["trace_id"], record["span_id"]) == (TRACE, span.span_id.hex())


def test_nothing_secret_is_told(service: Service, collector: Collector) -> None:
    """Neither arguments nor who asks are in a span, unless the configuration says that the latter may be."""
    secret = secrets.token_hex(16)
    request = decide("read", f'{{"n": "{secret}"}}'.encode())
    request.subject.entity.id = f"agent-{secret}"
    ask(service, request, ("traceparent", f"00-{TRACE}-{SPAN}-01"))
    collector.named("DecisionService.Decide")
    assert secret not in str(collector.spans)


def test_who_asks_may_be_told(tmp_path: Path, collector: Collector) -> None:
    """With `trace_subjects` a span names who asks; with a share of 1 every call has one."""
    settings = {"otlp_endpoint": collector.address, "trace_share": 1.0, "trace_subjects": True}
    with observed(tmp_path, telemetry=settings) as service:
        service.authorize(tool_call())
    assert attributes(collector.named("DecisionService.Authorize"))["pdp.subject"] == 'Agent::"a"'


@pytest.mark.parametrize(
    ("metadata", "trace_id"),
    [
        ((), None),
        ((("traceparent", f"00-{TRACE}-{SPAN}-00"),), TRACE),
        ((("traceparent", "00-nonsense"),), None),
        ((("traceparent", "x" * 8_000),), None),
    ],
)
def test_what_is_not_sampled_is_not_sent(
    service: Service, collector: Collector, metadata: tuple[tuple[str, str], ...], trace_id: str | None
) -> None:
    """Without a parent that is recorded there is no span; the log names the caller's trace all the same."""
    answer = ask(service, decide("read"), *metadata)
    record = service.record_of(answer.decision_id)
    assert record.get("trace_id") == trace_id
    assert "span_id" not in record
    ask(service, decide("read"), ("traceparent", f"00-{TRACE}-{SPAN}-01"))
    collector.named("DecisionService.Decide")
    assert {span.name for span in collector.spans} <= {"DecisionService.Decide", "policies"}


def test_a_megabyte_of_traceparent(service: Service) -> None:
    """Metadata beyond what grpc takes ends the call, and the next one is answered."""
    error = failure(service.decision.Decide, decide("read"), metadata=(("traceparent", "0" * 1_048_576),))
    assert error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
    assert service.authorize(tool_call()).decision_id


def test_authzen_joins_too(tmp_path: Path, collector: Collector) -> None:
    """A question over HTTP is a part of its caller's trace, and is timed and counted like any other."""
    settings = {"otlp_endpoint": collector.address, "trace_share": 0.0}
    with observed(tmp_path, telemetry=settings, authzen={"listen": "127.0.0.1:0"}) as service:
        client = AuthZenClient(service.app.authzen_address)
        answer = client.ask(EVALUATION, asked(), traceparent=f"00-{TRACE}-{SPAN}-01", X_Request_ID="r-9")
        assert answer.decision is True
        assert client.ask(EVALUATION, b"nothing").status == 400
        assert client.ask("/nowhere", b"{}").status == 404
        span = collector.named("AuthZEN.evaluation")
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
        assert attributes(span)["pdp.request_id"] == "r-9"
        [record] = service.records(1)
        assert (record["trace_id"], record["span_id"]) == (TRACE, span.span_id.hex())
        address = service.app.telemetry_address
        assert value(address, "pdp_rpc_duration_seconds_count", rpc="AuthZEN.evaluation") == 2
        assert value(address, "pdp_rpc_errors_total", rpc="AuthZEN.evaluation", code="400") == 1
        assert value(address, "pdp_rpc_errors_total", rpc="AuthZEN", code="404") == 1


def test_errors_are_on_the_span(service: Service, collector: Collector) -> None:
    """A call that ends with an error has a span that says which."""
    failure(service.decision.Decide, decide("read").__class__(), metadata=(("traceparent", f"00-{TRACE}-{SPAN}-01"),))
    span = collector.named("DecisionService.Decide")
    assert attributes(span)["pdp.status"] == "INVALID_ARGUMENT"


def test_names_in_spans_are_bounded(service: Service, collector: Collector) -> None:
    """What a caller or an agent writes is in a span only up to a length."""
    request = decide("x" * 100_000, LONG, request_id="y" * 256)
    ask(service, request, ("traceparent", f"00-{TRACE}-{SPAN}-01"))
    told = attributes(collector.named("DecisionService.Decide"))
    assert max(len(str(value)) for value in told.values()) <= 256


def test_headers_for_the_collector(tmp_path: Path, collector: Collector) -> None:
    """Headers of a file go with what is sent; a file that is wrong is a mistake that repeats no secret."""
    file = tmp_path / "headers"
    file.touch(0o600)
    file.write_text("Authorization: Bearer abc\n\nx-tenant: t\n")
    settings = {"otlp_endpoint": collector.address, "trace_share": 1.0, "otlp_headers_file": str(file)}
    with observed(tmp_path / "a", telemetry=settings) as service:
        service.authorize(tool_call())
    collector.wait_for(1)
    assert collector.metadata["authorization"] == "Bearer abc"
    assert collector.metadata["x-tenant"] == "t"
    file.write_text("hunter2\n")
    with pytest.raises(ConfigError) as caught, observed(tmp_path / "b", telemetry=settings):
        pass
    assert "line 1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_traces_over_tls(tmp_path: Path) -> None:
    """With the right authority spans arrive; with a wrong one none is sent, they are counted, and no call fails."""
    authority = Authority("right")
    for name, each in (("right", authority), ("wrong", Authority("wrong"))):
        (tmp_path / f"{name}.pem").write_bytes(each.pem)
    with collecting(authority.issue("127.0.0.1")) as collector:
        for name in ("wrong", "right"):
            ca = str(tmp_path / f"{name}.pem")
            settings = {"otlp_endpoint": collector.address, "otlp_ca": ca, "trace_share": 1.0}
            directory = tmp_path / f"with-{name}"
            directory.mkdir()
            with observed(directory, telemetry=settings) as service:
                service.authorize(tool_call())
                if name == "right":
                    collector.named("DecisionService.Authorize")
                else:
                    address = service.app.telemetry_address
                    lost = partial(value, address, "pdp_spans_lost_total")
                    wait_until(lambda lost=lost: lost() >= 1, "spans that are lost")  # type: ignore[misc]
                    assert collector.spans == []


def test_a_collector_that_is_not_there(tmp_path: Path) -> None:
    """Calls are answered and the service stops in time where nobody takes its traces."""
    settings = {"otlp_endpoint": "http://127.0.0.1:9", "trace_share": 1.0}
    with observed(tmp_path, telemetry=settings) as service:
        assert service.authorize(tool_call()).decision_id
        address = service.app.telemetry_address
        wait_until(lambda: value(address, "pdp_spans_lost_total") >= 1, "spans that are lost")


def test_a_slow_collector_holds_up_nobody(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the service all spans together get the time of one export; what is left then is lost, and told."""
    monkeypatch.setattr(otlp, "_SEND_SECONDS", 60)
    monkeypatch.setattr(otlp, "_LAST_EXPORT_SECONDS", 0.2)
    collector.delay_seconds = 0.05
    metrics = Metrics()
    exporter = otlp.OtlpExporter(collector.address, None, (), "1", metrics.spans_lost)
    for _ in range(8_192):
        exporter.send(SpanRecord("1" * 32, "2" * 16, "", "span", 2, 1, 2, {}))
    exporter.close()
    (lost,) = metrics.spans_lost.reading().figures.values()
    assert 0 < lost < 8_192
    assert lost + len(collector.spans) >= 8_192


@pytest.mark.parametrize(
    "settings",
    [
        {"otlp_endpoint": "http://collector.example.com:4317"},
        {"otlp_endpoint": "collector:4317"},
        {"otlp_endpoint": "http://127.0.0.1"},
        {"otlp_endpoint": "http://127.0.0.1:4317/v1/traces"},
        {"otlp_endpoint": "http://user:password@127.0.0.1:4317"},
        {"otlp_ca": "/ca.pem"},
        {"otlp_endpoint": "http://127.0.0.1:4317", "otlp_ca": "/ca.pem"},
        {"trace_share": 1.1},
    ],
)
def test_mistakes(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An endpoint that is none, or to which traces would go in clear over a network, is refused."""
    with pytest.raises(ConfigError):
        configuration(tmp_path, {"telemetry": settings})


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the service's own log goes."""
    found = io.StringIO()
    logs.configure(TelemetryConfig(log_format="json"), found, {})
    yield found
    structlog.reset_defaults()


def test_one_decision_is_joined_by_its_ids(service: Service, collector: Collector, stream: io.StringIO) -> None:
    """The span, the line of the decision log and an event of the service's own log have the same ids."""
    request = decide("read", request_id="r-7")
    request.subject.token = "no.token.atall"
    answer = ask(service, request, ("traceparent", f"00-{TRACE}-{SPAN}-01"))
    span = collector.named("DecisionService.Decide")
    record = service.record_of(answer.decision_id)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    [event] = [event for event in events if event["event"] == "token refused"]
    ids = {"trace_id": TRACE, "span_id": span.span_id.hex(), "request_id": "r-7"}
    assert ids.items() <= record.items()
    assert ids.items() <= event.items()
    assert attributes(span)["pdp.decision_id"] == record["decision_id"] == answer.decision_id
    assert attributes(span)["pdp.request_id"] == "r-7"


def test_between_calls_there_is_no_call() -> None:
    """A scope ends with its call, also one that fails, and between two answers of a stream there is none."""
    observer = Observer(Metrics())
    with pytest.raises(ValueError, match="no"):
        observer.answered("A.B", Told(), lambda: int("no"), lambda: "INTERNAL")
    assert current() is None

    def answers() -> Iterator[bool]:
        yield current() is not None
        yield current() is not None

    for within in observer.streamed("A.C", Told(), answers(), lambda: "INTERNAL"):
        assert within
        assert current() is None
    [errors] = [reading for reading in observer.metrics.readings() if reading.name == "pdp_rpc_errors_total"]
    assert errors.figures == {("pdp_rpc_errors_total", ("A.B", "INTERNAL")): 1.0}
