"""`Intercept` over the wire: a real service, real modules, real clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import PERMIT_ALL, Files, manifest, tool
from tests.grpc.service import READ, TIMEOUT_SECONDS, Service, error_info, failure, serving
from tests.modules import answering, binding, deny, looping, transform

ALLOW, DENY = decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY
REQUEST, RESPONSE = interceptor_pb2.PHASE_REQUEST, interceptor_pb2.PHASE_RESPONSE

NEW = transform(arguments={"owner": "new", "n": 2})
FILES: Files = {
    "policies/a.cedar": PERMIT_ALL,
    "tools/srv.json": manifest(
        READ, *(tool(name) for name in ("change", "deny", "broken", "tolerated", "slow", "facts"))
    ),
    "bundle.toml": "".join(
        [
            binding("pass", tools=["srv/*"], order=1),
            binding("new", tools=["srv/change"], may_transform=True),
            binding("unfit", tools=["srv/read"], may_transform=True, mode="shadow"),
            binding("deny", tools=["srv/deny"]),
            binding("mask", phases=("response",), may_transform=True),
            binding("broken", tools=["srv/broken"], fuel=100_000),
            binding("tolerated", tools=["srv/tolerated"], fuel=100_000, on_error="allow"),
            binding("slow", tools=["srv/slow"], timeout_ms=100, fuel=10**15),
            binding("facts", tools=["srv/facts"], annotations={"risk": "Long"}),
        ]
    ),
    "interceptors/pass.wasm": answering(),
    "interceptors/new.wasm": answering(NEW),
    "interceptors/unfit.wasm": answering(transform(arguments={"n": "seven"})),
    "interceptors/deny.wasm": answering(deny("not this one", "secret reason")),
    "interceptors/mask.wasm": answering(None, transform(result={"content": []})),
    "interceptors/broken.wasm": looping(),
    "interceptors/tolerated.wasm": looping(),
    "interceptors/slow.wasm": looping(),
    "interceptors/facts.wasm": answering(json.dumps({"verdict": "pass", "annotations": {"risk": 70, "é": 1}})),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with interceptors of every kind."""
    with serving(tmp_path_factory.mktemp("intercept"), FILES) as running:
        yield running


def request(name: str = "read", arguments: bytes = b'{"n":1}', **more: Any) -> pb.InterceptRequest:
    """A call, or with `result_json` a result."""
    fields: dict[str, Any] = {
        "phase": RESPONSE if "result_json" in more else REQUEST,
        "subject": {"entity": {"type": "Agent", "id": "a"}},
        "tool_call": {"server": "srv", "tool": name, "arguments_json": arguments},
        **more,
    }
    return pb.InterceptRequest(**fields)


def ask(service: Service, question: pb.InterceptRequest) -> pb.InterceptResponse:
    """The answer of the service."""
    return service.decision.Intercept(question, timeout=TIMEOUT_SECONDS)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_call_that_passes_goes_on_byte_for_byte(service: Service) -> None:
    """An allowed call comes back with its arguments as they were, and every outcome, in order."""
    answer = ask(service, request(arguments=b'{ "n" : 1 }'))
    assert (answer.decision, answer.mutated, answer.arguments_json) == (ALLOW, False, b'{ "n" : 1 }')
    assert not answer.HasField("denial")
    assert [(outcome.name, outcome.verdict, outcome.mode) for outcome in answer.interceptors] == [
        ("pass", interceptor_pb2.VERDICT_PASS, interceptor_pb2.INTERCEPTOR_MODE_ENFORCE),
        ("unfit", interceptor_pb2.VERDICT_FAILED, interceptor_pb2.INTERCEPTOR_MODE_SHADOW),
    ]
    assert answer.interceptors[1].error_class == interceptor_pb2.ERROR_CLASS_BAD_OUTPUT
    assert "/n" in answer.interceptors[1].reason
    assert answer.interceptors[0].duration.ToNanoseconds() > 0
    assert answer.revision == service.app.store.current().revision


def test_a_call_can_be_changed(service: Service) -> None:
    """A transform gives other arguments, as the module wrote them."""
    answer = ask(service, request("change"))
    assert (answer.decision, answer.mutated) == (ALLOW, True)
    assert answer.arguments_json == json.dumps({"owner": "new", "n": 2}).encode()


def test_a_call_can_be_denied(service: Service) -> None:
    """A deny has the module's message, no payload, and the reason beside it."""
    answer = ask(service, request("deny"))
    assert (answer.decision, answer.WhichOneof("payload")) == (DENY, None)
    assert answer.denial == decision_pb2.Denial(
        code=decision_pb2.DENIAL_CODE_INTERCEPTOR_DENIED, message="not this one"
    )
    assert answer.interceptors[-1].reason == "secret reason"


def test_a_result_can_be_changed(service: Service) -> None:
    """In the phase of results it is the result that goes through, and comes back."""
    answer = ask(service, request(result_json=b'{"content":[{"type":"text","text":"secret"}]}'))
    assert (answer.decision, answer.mutated, answer.WhichOneof("payload")) == (ALLOW, True, "result_json")
    assert json.loads(answer.result_json) == {"content": []}


def test_a_failure_denies(service: Service) -> None:
    """A module without fuel is a denial with a class, and its next neighbour is served as ever."""
    answer = ask(service, request("broken", b'{"n":"' + b"x" * 100 + b'"}'))
    assert answer.denial.code == decision_pb2.DENIAL_CODE_INTERCEPTOR_FAILED
    assert answer.interceptors[-1].error_class == interceptor_pb2.ERROR_CLASS_FUEL
    assert ask(service, request()).decision == ALLOW


def test_a_failure_may_be_tolerated(service: Service) -> None:
    """Where the binding allows it, a failure is reported and the call goes on."""
    arguments = b'{"n":"' + b"x" * 100 + b'"}'
    answer = ask(service, request("tolerated", arguments))
    assert (answer.decision, answer.arguments_json) == (ALLOW, arguments)
    assert answer.interceptors[-1].error_class == interceptor_pb2.ERROR_CLASS_FUEL


def test_a_slow_module_is_stopped(service: Service) -> None:
    """A module that never ends is stopped by its time, and that is the class of its failure."""
    answer = ask(service, request("slow", b'{"n":"' + b"x" * 100 + b'"}'))
    assert answer.denial.code == decision_pb2.DENIAL_CODE_INTERCEPTOR_FAILED
    assert answer.interceptors[-1].error_class == interceptor_pb2.ERROR_CLASS_DEADLINE


def test_the_callers_deadline_counts(service: Service) -> None:
    """A caller that does not wait as long gets DEADLINE_EXCEEDED, never an answer that was not checked."""
    question = request("slow", b'{"n":"' + b"x" * 100 + b'"}')
    with pytest.raises(grpc.RpcError) as caught:
        service.decision.Intercept(question, timeout=0.03)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_stated_facts_come_back(service: Service) -> None:
    """The declared facts that a module states are in its outcome, the others are not."""
    answer = ask(service, request("facts"))
    assert answer.interceptors[-1].annotations_json == b'{"risk":70}'


def test_unreadable_arguments_are_a_denial(service: Service) -> None:
    """What the agent got wrong is a denial with the place, not an error."""
    answer = ask(service, request(arguments=b'{"a":{"b":1,"b":2}}'))
    assert answer.denial.code == decision_pb2.DENIAL_CODE_INVALID_ARGUMENTS
    assert answer.denial.message.startswith("/a")


def test_a_token_that_establishes_nobody_is_a_denial(service: Service) -> None:
    """A subject that is a token is denied, since no issuer is configured."""
    question = request()
    question.subject.token = "x.y.z"
    assert ask(service, question).denial.code == decision_pb2.DENIAL_CODE_INVALID_TOKEN


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"phase": 0}, "phase"),
        ({"phase": 7}, "phase"),
        ({"subject": {}}, "subject"),
        ({"subject": {"entity": {"type": "Agent"}}}, "subject.entity.id"),
        ({"subject": {"entity": {"type": "no type", "id": "x"}}}, "subject.entity.type"),
        (
            {"subject": {"entity": {"type": "Agent", "id": "x"}, "on_behalf_of": {"type": "", "id": "x"}}},
            "subject.on_behalf_of.type",
        ),
        ({"tool_call": {"tool": "t"}}, "tool_call.server"),
        ({"tool_call": {"server": "s"}}, "tool_call.tool"),
        ({"tool_call": {"server": "s", "tool": "t", "session_id": "x" * 257}}, "tool_call.session_id"),
        ({"request_id": "x" * 257}, "request_id"),
        ({"decision_id": "x" * 257}, "decision_id"),
        ({"context_json": b"[]"}, "context_json"),
        ({"context_json": b'{"a":1,"a":1}'}, "context_json"),
        ({"phase": REQUEST, "result_json": b"1"}, "result_json"),
        ({"phase": REQUEST, "result_is_error": True}, "result_is_error"),
        ({"phase": RESPONSE}, "result_json"),
        ({"phase": RESPONSE, "result_json": b"{"}, "result_json"),
        ({"phase": RESPONSE, "result_json": b"\xff"}, "result_json"),
    ],
    ids=str,
)
def test_a_malformed_request_names_its_field(service: Service, change: dict[str, Any], field: str) -> None:
    """What the caller got wrong is INVALID_ARGUMENT with the field."""
    error = failure(service.decision.Intercept, request(**change))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(error).metadata["field"] == field


# --- the log and the counters ----------------------------------------------------------------------------------------


def test_every_run_is_recorded(service: Service) -> None:
    """A run of the chain is one line of the decision log, with what each interceptor did."""
    answer = ask(service, request("facts", request_id="r-9", decision_id="d-1"))
    record = service.record_of(answer.decision_id)
    assert record["kind"] == "intercept"
    assert (record["phase"], record["decision"], record["code"]) == ("request", "ALLOW", "")
    assert record["action"] == {"type": "Action", "id": "srv/facts"}
    assert (record["request_id"], record["for_decision_id"], record["mutated"]) == ("r-9", "d-1", False)
    assert [(entry["name"], entry["verdict"]) for entry in record["interceptors"]] == [
        ("pass", "pass"),
        ("facts", "pass"),
    ]
    assert record["interceptors"][1]["annotations"] == {"risk": 70}
    assert "arguments" not in record
    assert len(record["arguments_sha256"]) == 64


def test_results_are_never_written(service: Service) -> None:
    """Of a result the log has its digest and nothing else."""
    answer = ask(service, request(result_json=b'"very secret"'))
    record = service.record_of(answer.decision_id)
    assert len(record["result_sha256"]) == 64
    assert b"very secret" not in service.log.read_bytes()


def test_status_counts_what_interceptors_did(service: Service) -> None:
    """`GetStatus` has the counters of each interceptor, by name."""

    def counters() -> dict[str, admin_service_pb2.InterceptorStatus]:
        status = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        return {counted.name: counted for counted in status.interceptors}

    before = counters()
    for name in ("deny", "change", "broken"):
        ask(service, request(name, b'{"n":"' + b"x" * 100 + b'"}'))
    after = counters()
    assert list(after) == sorted(after)
    assert after["pass"].passed == before["pass"].passed + 3
    assert after["deny"].denied == before["deny"].denied + 1
    assert after["new"].transformed == before["new"].transformed + 1
    assert [failures.error_class for failures in after["broken"].failures] == [interceptor_pb2.ERROR_CLASS_FUEL]
    assert after["broken"].HasField("last_failure_at")


def test_a_module_that_keeps_failing_is_unhealthy(service: Service) -> None:
    """After failures in a row `GetStatus` calls an interceptor unhealthy, and the service still serves."""
    for _ in range(5):
        ask(service, request("broken", b'{"n":"' + b"x" * 100 + b'"}'))
    status = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
    assert {counted.name for counted in status.interceptors if not counted.healthy} >= {"broken"}
    assert status.state == admin_service_pb2.SERVICE_STATE_SERVING
