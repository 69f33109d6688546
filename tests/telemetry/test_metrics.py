"""What `/metrics` says after calls that are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pdp import __version__
from pdp._gen.pdp.v1 import admin_service_pb2
from pdp.telemetry.catalogue import FAMILIES
from tests.grpc.service import TIMEOUT_SECONDS, Client, Service, connect, failure, hold_reloads, serving, tool_call
from tests.telemetry.world import ISSUER, everything, families, limited_callers, observed, value
from tests.waiting import wait_until

#: What only several workers have, and what only callers with a rate have.
NOT_HERE = {name for name in FAMILIES if "worker" in name or "rate_limited" in name}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service after a call of everything."""
    with everything(tmp_path_factory.mktemp("metrics")) as running:
        yield running


def test_every_metric_is_there_with_its_labels(service: Service) -> None:
    """Each metric of the catalogue has figures, all labels that it should have, its kind and its meaning."""
    found = families(service.app.telemetry_address)
    for name in FAMILIES.keys() - NOT_HERE:
        family = FAMILIES[name]
        metric = found[name.removesuffix("_total")]
        assert (metric.type, metric.documentation) == (family.kind, family.help)
        assert metric.samples, name
        for sample in metric.samples:
            assert sample.labels.keys() - {"le"} == set(family.labels), sample


def test_nothing_else_is_there(service: Service) -> None:
    """What is exported stands in the catalogue, so it is documented."""
    known = {name.removesuffix("_total") for name in FAMILIES}
    assert families(service.app.telemetry_address).keys() <= known


@pytest.mark.parametrize(
    ("sample", "labels", "count"),
    [
        ("pdp_decisions_total", {"kind": "authorize", "decision": "ALLOW", "code": ""}, 4),
        ("pdp_decisions_total", {"kind": "authorize", "decision": "DENY", "code": "FORBIDDEN"}, 1),
        ("pdp_decisions_total", {"kind": "authorize", "decision": "DENY", "code": "UNKNOWN_TOOL"}, 1),
        ("pdp_decisions_total", {"kind": "authorize", "decision": "DENY", "code": "INVALID_TOKEN"}, 1),
        ("pdp_decisions_total", {"kind": "decide", "decision": "ALLOW", "code": ""}, 2),
        ("pdp_decisions_total", {"kind": "decide", "code": "INTERCEPTOR_DENIED"}, 1),
        ("pdp_decisions_total", {"kind": "decide", "code": "INTERCEPTOR_FAILED"}, 1),
        ("pdp_decisions_total", {"kind": "intercept"}, 1),
        ("pdp_rpc_duration_seconds_count", {"rpc": "DecisionService.Authorize"}, 6),
        ("pdp_rpc_duration_seconds_count", {"rpc": "DecisionService.Decide"}, 4),
        ("pdp_rpc_duration_seconds_count", {"rpc": "ExtMcp.CheckRequest"}, 1),
        ("pdp_rpc_errors_total", {"rpc": "DecisionService.Authorize", "code": "INVALID_ARGUMENT"}, 1),
        ("pdp_layer_duration_seconds_count", {"layer": "interceptors"}, 4),
        ("pdp_layer_duration_seconds_count", {"layer": "policies"}, 6),
        ("pdp_interceptor_outcomes_total", {"interceptor": "asked", "verdict": "pass", "mode": "enforce"}, 2),
        ("pdp_interceptor_outcomes_total", {"interceptor": "denied", "verdict": "deny"}, 1),
        ("pdp_interceptor_outcomes_total", {"interceptor": "broken", "verdict": "failed", "error_class": "fuel"}, 1),
        ("pdp_interceptor_duration_seconds_count", {"interceptor": "asked"}, 2),
        ("pdp_tokens_refused_total", {}, 1),
        ("pdp_gateway_denials_total", {"gateway": "ExtMcp", "reason": "invalid"}, 1),
        ("pdp_reloads_total", {"result": "changed"}, 1),
        ("pdp_reloads_total", {"result": "unchanged"}, 1),
        ("pdp_reloads_total", {"result": "failed"}, 0),
        ("pdp_snapshot_info", {}, 1),
        ("pdp_build_info", {"version": __version__}, 1),
        ("pdp_calls_shed_total", {}, 0),
        ("pdp_ready", {}, 1),
        ("pdp_degraded_reasons", {}, 0),
    ],
)
def test_figures(service: Service, sample: str, labels: dict[str, str], count: float) -> None:
    """Known calls give known figures."""
    assert value(service.app.telemetry_address, sample, **labels) == count


def test_caches_tell_what_they_found(service: Service) -> None:
    """The second of two equal questions is a hit, and all others are misses."""
    address = service.app.telemetry_address
    assert value(address, "pdp_cache_hits_total", cache="decision") >= 1
    assert value(address, "pdp_cache_misses_total", cache="decision") >= 4
    assert value(address, "pdp_cache_misses_total", cache="slice") >= 1


def test_ages_are_young(service: Service) -> None:
    """The snapshot and the keys have just been read."""
    address = service.app.telemetry_address
    assert 0 <= value(address, "pdp_snapshot_age_seconds") < 600
    assert 0 <= value(address, "pdp_issuer_keys_age_seconds", issuer=ISSUER) < 600


def test_counters_outlive_a_reload(tmp_path: Path) -> None:
    """What interceptors said and caches found goes on counting when another revision is in force."""
    with observed(tmp_path) as service:
        service.authorize(tool_call())
        (service.bundle / "policies" / "more.cedar").write_text("forbid(principal, action, resource);\n")
        assert service.app.reload().changed
        service.authorize(tool_call())
        address = service.app.telemetry_address
        assert value(address, "pdp_cache_misses_total", cache="decision") == 2
        assert value(address, "pdp_reloads_total", result="changed") == 2


def test_a_failed_reload_counts(tmp_path: Path) -> None:
    """A bundle that does not load counts as failed, and degrades."""
    with observed(tmp_path) as service:
        (service.bundle / "policies" / "bad.cedar").write_text("permit(")
        service.app.reload()
        address = service.app.telemetry_address
        assert value(address, "pdp_reloads_total", result="failed") == 1
        assert value(address, "pdp_degraded_reasons") == 1
        assert value(address, "pdp_ready") == 1


def test_strangers_count(tmp_path: Path) -> None:
    """A call of somebody unknown counts as such, and as an error of its RPC."""
    caller = {"name": "gateway", "keys_sha256": ["0" * 64]}
    with observed(tmp_path, callers={"caller": [caller]}) as service:
        failure(service.decision.Authorize, tool_call())
        address = service.app.telemetry_address
        assert value(address, "pdp_callers_unauthenticated_total") == 1
        assert value(address, "pdp_rpc_errors_total", code="UNAUTHENTICATED") == 1


UNKNOWN = ["/pdp.v1.DecisionService/Nope", "/pdp.v1.NoService/Decide", "/a/b", "/x", "/" + "y" * 5_000, "//", "/a/b/c"]


def test_calls_of_what_is_not_served_count(tmp_path: Path) -> None:
    """Whatever name is called that is not served, it counts, under one name for all."""
    with observed(tmp_path, server={"reflection": False}) as service:
        address = service.app.telemetry_address
        for path in (*UNKNOWN, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"):
            error = failure(service.channel.unary_unary(path), b"")
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert value(address, "pdp_rpc_errors_total", rpc="unknown", code="UNIMPLEMENTED") == len(UNKNOWN) + 1
        assert value(address, "pdp_rpc_errors_total") == len(UNKNOWN) + 1
        assert service.authorize(tool_call()).decision_id


@pytest.mark.parametrize("method", ["Authorize", "AuthorizeBatch", "Intercept", "Decide", "FilterTools"])
def test_bytes_that_are_no_message_count(tmp_path: Path, method: str) -> None:
    """A call with bytes that are no message counts as an error of its RPC."""
    with observed(tmp_path) as service:
        failure(service.channel.unary_unary(f"/pdp.v1.DecisionService/{method}"), b"\xff\xff\xff")
        errors = {"rpc": f"DecisionService.{method}", "code": "INVALID_ARGUMENT"}
        assert value(service.app.telemetry_address, "pdp_rpc_errors_total", **errors) == 1


def test_rate_limited_calls_count(tmp_path: Path) -> None:
    """Calls that come sooner than their caller's rate allows count for that caller, and for no other name."""
    with observed(tmp_path, callers=limited_callers()) as service:
        address = service.app.telemetry_address
        assert _by_caller(address) == {"slow": 0, "quick": 0}
        codes = [_code_of(service, name) for name in ("slow", "quick", "free", "nobody") for _ in range(4)]
        limited = [grpc.StatusCode.OK, *[grpc.StatusCode.RESOURCE_EXHAUSTED] * 3]
        assert codes == [*limited, *[grpc.StatusCode.OK] * 8, *[grpc.StatusCode.UNAUTHENTICATED] * 4]
        assert _by_caller(address) == {"slow": 3, "quick": 0}


def _code_of(service: Service, caller: str) -> grpc.StatusCode:
    metadata = (("authorization", f"Bearer key of {caller}"),)
    try:
        service.decision.Authorize(tool_call(), timeout=TIMEOUT_SECONDS, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _by_caller(address: str) -> dict[str, float]:
    [metric] = [each for each in families(address).values() if each.name == "pdp_calls_rate_limited"]
    return {sample.labels["caller"]: sample.value for sample in metric.samples}


def test_shed_calls_count(tmp_path: Path) -> None:
    """A call for which the queue has no place is refused, and counted; those that are there are told of."""
    with observed(tmp_path, server={"threads": 1}, limits={"queued_calls": 1, "queue_ms": 60_000}) as service:
        address = service.app.telemetry_address
        held = hold_reloads(service)
        reload = service.admin.Reload.future(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)
        assert held.entered.wait(TIMEOUT_SECONDS)
        assert value(address, "pdp_calls_in_flight") == 1
        with connect(service.address) as other:
            waiting = Client(other).decision.Authorize.future(tool_call(), timeout=TIMEOUT_SECONDS)
            wait_until(lambda: value(address, "pdp_calls_in_flight") == 2, "the call waits")
            for number in (1, 2):
                error = failure(Client(other).decision.Authorize, tool_call())
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert value(address, "pdp_calls_shed_total") == number
            held.release.set()
            assert waiting.result().decision_id
        assert reload.result().revision


def test_calls_whose_time_is_over_count(tmp_path: Path) -> None:
    """A call whose caller gives up while it waits for a thread is counted, and not among those that were shed."""
    with observed(tmp_path, server={"threads": 1}, limits={"queue_ms": 60_000}) as service:
        address = service.app.telemetry_address
        held = hold_reloads(service)
        reload = service.admin.Reload.future(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)
        assert held.entered.wait(TIMEOUT_SECONDS)
        with connect(service.address) as other:
            waiting = Client(other).decision.Authorize.future(tool_call(), timeout=TIMEOUT_SECONDS)
            wait_until(lambda: value(address, "pdp_calls_in_flight") == 2, "the call waits")
            waiting.cancel()
        held.release.set()
        assert reload.result().revision
        wait_until(lambda: value(address, "pdp_calls_expired_total") == 1, "the call is dropped")
        assert value(address, "pdp_calls_shed_total") == 0


def test_without_an_address_nobody_listens(tmp_path: Path) -> None:
    """The listener is off unless it is configured."""
    with serving(tmp_path) as service:
        assert service.app.telemetry_address == ""
