"""What is evaluated and not enforced: shadow policies, a whole bundle, a candidate bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import PERMIT_ALL, Files, manifest, memory_source, tool, write_bundle
from tests.grpc.service import TIMEOUT_SECONDS, Service, serving, tool_call
from tests.modules import answering, binding, deny, transform
from tests.waiting import wait_until

ALLOW, DENY = decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY
TOOLS = manifest(*(tool(name, {"n": {"type": "integer"}}) for name in ("free", "guarded", "changed")))
SMALL = '@id("small") permit(principal, action, resource) when { context.input has n && context.input.n < 10 };'
WATCH = '@id("watch") @enforcement("shadow") forbid(principal, action == Action::"srv/free", resource);'


def status(service: Service) -> admin_service_pb2.ShadowStatus:
    """What the service says is not enforced."""
    answer = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
    return answer.shadow


def flips(counted: Any) -> dict[str, tuple[int, int]]:
    """Flips and matches by policy."""
    return {policy.policy_id: (policy.flips, policy.matches) for policy in counted}


def decide(service: Service, name: str, arguments: bytes) -> pb.DecideResponse:
    """The answer of both layers."""
    call = tool_call(arguments, name=name)
    question = pb.DecideRequest(subject=call.subject, tool_call=call.tool_call)
    return service.decision.Decide(question, timeout=TIMEOUT_SECONDS)


# --- shadow policies -------------------------------------------------------------------------------------------------


def test_flips_are_counted(tmp_path: Path) -> None:
    """`GetStatus` tells how often a shadow policy matched, and how often it would have changed the decision."""
    with serving(tmp_path, {"policies/a.cedar": SMALL + WATCH, "tools/srv.json": TOOLS}) as service:
        for number in (1, 2, 99):
            service.authorize(tool_call(f'{{"n":{number}}}'.encode(), name="free"))
        decide(service, "free", b'{"n":1}')
        service.batch(tool_call(b'{"n":1}', name="free"), tool_call(b'{"n":1}', name="guarded"))
        assert flips(status(service).policies) == {"watch": (4, 5)}
        assert not status(service).nothing_enforced


# --- a whole bundle --------------------------------------------------------------------------------------------------

IN_SHADOW: Files = {
    "bundle.toml": 'enforcement = "shadow"\n'
    + binding("deny", tools=["srv/guarded"], phases=("request", "response"))
    + binding("new", tools=["srv/changed"], may_transform=True),
    "policies/a.cedar": SMALL,
    "tools/srv.json": TOOLS,
    "interceptors/deny.wasm": answering(deny("no"), deny("no")),
    "interceptors/new.wasm": answering(transform(arguments={"n": 99})),
}


@pytest.fixture
def shadowed(tmp_path: Path) -> Iterator[Service]:
    """A service whose bundle is all in shadow mode."""
    with serving(tmp_path, IN_SHADOW) as service:
        yield service


@pytest.mark.parametrize("arguments", [b'{"n":1}', b'{"n":99}', b'{"n":"x"}', b"{", b""])
@pytest.mark.parametrize("name", ["free", "unknown"])
def test_everything_is_allowed_and_reported(shadowed: Service, name: str, arguments: bytes) -> None:
    """In a bundle that is all in shadow mode every call is allowed; the report has what would have been decided."""
    call = tool_call(arguments, name=name)
    would_allow = (name, arguments) == ("free", b'{"n":1}')
    batched = shadowed.batch(call).results[0].response
    for answer in (shadowed.authorize(call), batched, decide(shadowed, name, arguments)):
        assert (answer.decision, answer.HasField("denial")) == (ALLOW, False)
        assert answer.shadow.would_be_decision == (ALLOW if would_allow else DENY)
        assert answer.shadow.HasField("would_be_denial") is not would_allow
    record = shadowed.records(1)[0]
    assert record["decision"] == "ALLOW"
    assert record["shadow"]["would_be_decision"] == ("ALLOW" if would_allow else "DENY")


def test_interceptors_change_nothing(shadowed: Service) -> None:
    """Denials and transforms of interceptors are reported, and the payload goes on as it came."""
    denied = decide(shadowed, "guarded", b'{ "n":1}')
    assert (denied.decision, denied.mutated, denied.arguments_json) == (ALLOW, False, b'{ "n":1}')
    assert denied.shadow.would_be_denial.code == decision_pb2.DENIAL_CODE_INTERCEPTOR_DENIED
    changed = decide(shadowed, "changed", b'{"n":1}')
    assert (changed.mutated, changed.arguments_json) == (False, b'{"n":1}')
    assert changed.shadow.would_be_decision == DENY
    for phase, more in (
        (interceptor_pb2.PHASE_REQUEST, {}),
        (interceptor_pb2.PHASE_RESPONSE, {"result_json": b'["x" ]'}),
    ):
        call = tool_call(b'{"n":1}', name="guarded")
        fields: dict[str, Any] = {"subject": call.subject, "tool_call": call.tool_call, **more}
        answer = shadowed.decision.Intercept(pb.InterceptRequest(phase=phase, **fields), timeout=TIMEOUT_SECONDS)
        assert (answer.decision, answer.mutated) == (ALLOW, False)
        assert (answer.result_json or answer.arguments_json) == (more.get("result_json") or b'{"n":1}')
        assert answer.interceptors[0].verdict == interceptor_pb2.VERDICT_DENY


def test_a_shadowed_bundle_says_so(shadowed: Service) -> None:
    """The status and the bundle's warnings tell that nothing is enforced; lists are complete."""
    assert status(shadowed).nothing_enforced
    answer = shadowed.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
    assert ["every call is allowed" in problem.message for problem in answer.problems] == [True]
    request = pb.FilterToolsRequest(server="srv", tools=[pb.ListedTool(name="free"), pb.ListedTool(name="unknown")])
    request.subject.CopyFrom(tool_call().subject)
    assert list(shadowed.decision.FilterTools(request, timeout=TIMEOUT_SECONDS).allowed) == ["free", "unknown"]


# --- a candidate bundle ----------------------------------------------------------------------------------------------

LIVE: Files = {"policies/a.cedar": SMALL, "tools/srv.json": TOOLS}
STRICTER = """
@id("big") permit(principal, action, resource) when { context.input has n && context.input.n > 90 };
@id("guard") forbid(principal, action == Action::"srv/guarded", resource);
"""
NEXT: Files = {
    "bundle.toml": 'name = "next"\n' + binding("new", tools=["srv/changed"], may_transform=True),
    "policies/a.cedar": SMALL.replace("< 10", "< 5") + STRICTER,
    "tools/srv.json": TOOLS,
    "interceptors/new.wasm": answering(transform(arguments={"n": 2})),
}


def compared(service: Service, count: int) -> admin_service_pb2.CandidateStatus:
    """The candidate's status, once so many calls were compared."""
    wait_until(lambda: status(service).candidate.compared >= count, f"{count} calls are compared")
    return status(service).candidate


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Service]:
    """A service with a candidate bundle beside its own."""
    write_bundle(tmp_path / "next", NEXT)
    with serving(tmp_path, LIVE, bundle={"candidate": str(tmp_path / "next"), "candidate_share": 1.0}) as service:
        yield service


def test_a_candidate_is_compared_and_never_enforced(both: Service) -> None:
    """Each way in which a candidate answers differently is counted and written, and callers get the old answers."""
    before = memory_source(LIVE).revision
    asked = [("free", 1, ALLOW), ("free", 7, ALLOW), ("free", 95, DENY), ("guarded", 1, ALLOW)]
    for name, number, decision in asked:
        answer = both.authorize(tool_call(f'{{"n":{number}}}'.encode(), name=name))
        assert (answer.decision, answer.revision) == (decision, before)
    changed = decide(both, "changed", b'{"n":1}')
    assert (changed.decision, changed.mutated) == (ALLOW, False)
    counted = compared(both, 5)
    assert (counted.revision, counted.bundle_name) == (memory_source(NEXT).revision, "next")
    assert (counted.newly_allowed, counted.newly_denied, counted.otherwise_different) == (1, 2, 1)
    assert flips(counted.policies) == {"big": (1, 1), "small": (2, 2), "guard": (1, 1)}


def test_differences_are_written(both: Service) -> None:
    """A difference is a line of the decision log that names the decision and both revisions."""
    answer = both.authorize(tool_call(b'{"n":95}', name="free"))
    compared(both, 1)
    (record,) = [record for record in both.records(2) if record["kind"] == "candidate"]
    assert (record["for_decision_id"], record["revision"]) == (answer.decision_id, answer.revision)
    assert record["candidate_revision"] == memory_source(NEXT).revision
    assert (record["difference"], record["decision"], record["policies"]) == ("newly_allowed", "ALLOW", ["big"])
    assert record["action"]["id"] == "srv/free"


def test_a_candidate_that_does_not_load_stops_nothing(tmp_path: Path) -> None:
    """The service answers and tells why nothing is compared; once the candidate loads, it is."""
    write_bundle(tmp_path / "next", {"policies/a.cedar": "nonsense;"})
    candidate = {"candidate": str(tmp_path / "next"), "watch": True, "debounce_ms": 0}
    with serving(tmp_path, LIVE, bundle=candidate) as service:
        assert service.authorize(tool_call(b'{"n":1}', name="free")).decision == ALLOW
        assert "does not load" in status(service).candidate.degraded_reasons[0]
        assert service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS).state == (
            admin_service_pb2.SERVICE_STATE_SERVING
        )
        mended: Files = {"policies/a.cedar": PERMIT_ALL, "tools/srv.json": TOOLS}
        write_bundle(tmp_path / "next", mended)
        # What is there before the last file is written may load too.
        whole = memory_source(mended).revision
        wait_until(lambda: status(service).candidate.revision == whole, "the candidate loads")
        service.authorize(tool_call(b'{"n":99}', name="free"))
        assert compared(service, 1).newly_allowed == 1


def test_what_is_too_much_is_skipped(tmp_path: Path) -> None:
    """Calls beyond the candidate's share are not compared and are counted, and nobody waits for them."""
    write_bundle(tmp_path / "next", NEXT)
    candidate = {"candidate": str(tmp_path / "next"), "candidate_share": 0.001}
    with serving(tmp_path, LIVE, bundle=candidate) as service:
        batch = [tool_call(f'{{"n":{number}}}'.encode(), name="free") for number in range(2_500)]
        assert len(service.batch(*batch).results) == 2_500
        counted = status(service).candidate
        assert counted.skipped >= 1_000
        assert counted.compared + counted.skipped <= 2_500
