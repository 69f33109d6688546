"""`Decide` over the wire: both layers in one round trip."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pdp._gen.pdp.v1 import decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.model import EntityUid
from pdp.decide import DecideQuery
from pdp.decide import decide as both_layers
from pdp.sandbox.reply import Envelope
from pdp.turns import Turn
from tests.bundles import Files, manifest, tool
from tests.grpc.service import TIMEOUT_SECONDS, Service, error_info, failure, serving, tool_call
from tests.modules import answering, binding, deny, looping, transform

ALLOW, DENY = decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY

POLICIES = """
@id("small") permit(principal, action, resource) when { context.input has n && context.input.n < 10 };
@id("calm") forbid(principal, action in Action::"srv", resource)
    when { context has interceptors && context.interceptors has "risk.score" &&
           context.interceptors["risk.score"] has risk && context.interceptors["risk.score"].risk > 50 };
@id("named") @message("the name is taken") forbid(principal, action, resource)
    when { context.input has name && context.input.name == "root" };
@id("later") @enforcement("shadow") forbid(principal, action == Action::"srv/plain", resource);
"""
NUMBERED = {"n": {"type": "integer"}, "name": {"type": "string"}}
NAMES = ("plain", "raised", "lowered", "renamed", "risky", "calm", "denied", "broken", "slow", "watched")
SCHEMA = "entity Agent;"

FILES: Files = {
    "schema.cedarschema": SCHEMA,
    "policies/a.cedar": POLICIES,
    "tools/srv.json": manifest(*(tool(name, NUMBERED) for name in NAMES)),
    "bundle.toml": "".join(
        [
            binding("raised", tools=["srv/raised"], may_transform=True),
            binding("lowered", tools=["srv/lowered"], may_transform=True),
            binding("renamed", tools=["srv/renamed"], may_transform=True),
            binding("risk.score", tools=["srv/risky"], annotations={"risk": "Long"}).replace(
                "risk.score.wasm", "risky.wasm"
            ),
            binding("calm", tools=["srv/calm"], annotations={"risk": "Long"}),
            binding("denied", tools=["srv/denied", "*/unknown"]),
            binding("broken", tools=["srv/broken"], fuel=100_000, on_error="allow"),
            binding("slow", tools=["srv/slow"], timeout_ms=5_000, fuel=10**15),
            binding("watcher", tools=["srv/watched"], mode="shadow", annotations={"risk": "Long"}),
        ]
    ),
    "interceptors/raised.wasm": answering(transform(arguments={"n": 99})),
    "interceptors/lowered.wasm": answering(transform(arguments={"n": 1})),
    "interceptors/renamed.wasm": answering(transform(arguments={"n": 1, "name": "root"})),
    "interceptors/risky.wasm": answering(json.dumps({"verdict": "pass", "annotations": {"risk": 51}})),
    "interceptors/calm.wasm": answering(json.dumps({"verdict": "pass", "annotations": {"risk": 99}})),
    "interceptors/denied.wasm": answering(deny("not this one")),
    "interceptors/broken.wasm": looping(),
    "interceptors/slow.wasm": looping(),
    "interceptors/watcher.wasm": answering(json.dumps({"verdict": "deny", "annotations": {"risk": 99}})),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with policies and interceptors."""
    with serving(tmp_path_factory.mktemp("decide"), FILES) as running:
        yield running


def request(name: str, arguments: bytes = b'{"n":5}', **more: Any) -> pb.DecideRequest:
    """May agent `a` call this tool?"""
    fields: dict[str, Any] = {
        "subject": {"entity": {"type": "Agent", "id": "a"}},
        "tool_call": {"server": "srv", "tool": name, "arguments_json": arguments},
        **more,
    }
    return pb.DecideRequest(**fields)


def decide(service: Service, name: str, arguments: bytes = b'{"n":5}', **more: Any) -> pb.DecideResponse:
    """The answer of the service."""
    return service.decision.Decide(request(name, arguments, **more), timeout=TIMEOUT_SECONDS)


def policies(answer: pb.DecideResponse) -> list[str]:
    """The policies that decided."""
    return [policy.policy_id for policy in answer.determining_policies]


@pytest.mark.parametrize(
    "arguments", [b'{"n":5}', b'{"n":50}', b'{ "n" : 5, "name": "root" }', b"{", b'{"n":"x"}', b""]
)
def test_without_interceptors_it_is_authorize(service: Service, arguments: bytes) -> None:
    """For a tool that no interceptor is bound to, the answer is Authorize's, and the arguments are those that came."""
    answer = decide(service, "plain", arguments)
    same = service.authorize(tool_call(arguments, name="plain"))
    assert (answer.decision, answer.denial) == (same.decision, same.denial)
    assert list(answer.determining_policies) == list(same.determining_policies)
    assert list(answer.policy_errors) == list(same.policy_errors)
    assert answer.shadow == same.shadow
    assert (answer.mutated, list(answer.interceptors)) == (False, [])
    assert answer.arguments_json == ((arguments or b"{}") if answer.decision == ALLOW else b"")


def test_cedar_sees_what_the_interceptors_left(service: Service) -> None:
    """A call is decided by the arguments that the tool will get, not by those that the agent sent."""
    raised = decide(service, "raised", b'{"n":5}')
    assert (raised.decision, raised.denial.code) == (DENY, decision_pb2.DENIAL_CODE_NO_MATCHING_POLICY)
    assert raised.arguments_json == b""
    lowered = decide(service, "lowered", b'{"n":50}')
    assert (lowered.decision, lowered.mutated, lowered.arguments_json) == (ALLOW, True, b'{"n": 1}')
    assert policies(lowered) == ["small"]
    renamed = decide(service, "renamed")
    assert (renamed.denial.code, renamed.denial.message) == (decision_pb2.DENIAL_CODE_FORBIDDEN, "the name is taken")


def test_what_is_authorized_is_what_is_returned(service: Service) -> None:
    """The returned arguments, authorized again, give the same decision: nothing was changed after Cedar saw them."""
    for name in NAMES[:4]:
        answer = decide(service, name, b'{"n":3}')
        if answer.decision == ALLOW:
            again = service.authorize(tool_call(answer.arguments_json, name="plain"))
            assert again.decision == ALLOW


def test_policies_read_what_interceptors_state(service: Service) -> None:
    """A declared fact of one interceptor is under its name; another's is not taken for it."""
    risky = decide(service, "risky")
    assert (risky.decision, policies(risky)) == (DENY, ["calm"])
    assert risky.interceptors[0].annotations_json == b'{"risk":51}'
    assert decide(service, "calm").decision == ALLOW


def test_nobody_but_interceptors_states_facts(service: Service) -> None:
    """A caller cannot give what interceptors state, and an agent's argument of that name is only an argument."""
    error = failure(
        service.decision.Decide, request("plain", context_json=b'{"interceptors":{"risk.score":{"risk":0}}}')
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(error).metadata["field"] == "context_json"
    arguments = b'{"n":5,"interceptors":{"risk.score":{"risk":0}}}'
    assert decide(service, "risky", arguments).decision == DENY


def test_a_deny_of_an_interceptor_ends_it(service: Service) -> None:
    """Cedar is not asked about a call that an interceptor denied."""
    answer = decide(service, "denied")
    assert (answer.denial.code, answer.denial.message) == (
        decision_pb2.DENIAL_CODE_INTERCEPTOR_DENIED,
        "not this one",
    )
    assert policies(answer) == []


def test_an_unknown_tool_is_denied_first(service: Service) -> None:
    """No interceptor is asked about a tool that is not pinned."""
    answer = decide(service, "unknown")
    assert answer.denial.code == decision_pb2.DENIAL_CODE_UNKNOWN_TOOL
    assert list(answer.interceptors) == []


def test_a_tolerated_failure_still_asks_cedar(service: Service) -> None:
    """Where a failure is allowed, the policies decide about the call as it was."""
    long = b'{"n":5,"name":"' + b"x" * 100 + b'"}'
    answer = decide(service, "broken", long)
    assert (answer.decision, answer.arguments_json) == (ALLOW, long)
    assert answer.interceptors[0].error_class == interceptor_pb2.ERROR_CLASS_FUEL
    assert decide(service, "broken", long.replace(b'"n":5', b'"n":50')).decision == DENY


def test_the_callers_deadline_bounds_both(service: Service) -> None:
    """A caller whose time is over gets no answer."""
    question = request("slow", b'{"n":5,"name":"' + b"x" * 100 + b'"}')
    with pytest.raises(grpc.RpcError) as caught:
        service.decision.Decide(question, timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(("name", "told"), [("denied", True), ("plain", False)])
def test_nobody_waits_for_an_interceptor(service: Service, name: str, told: bool) -> None:
    """Calls that the same thread has answered are told before interceptors run, and need not be where none do."""
    turn, heard = Turn(), list[str]()
    turn.begin()
    turn.put(lambda: heard.append("told"), lambda: heard.append("again"))
    turn.end()
    turn.begin()
    snapshot = service.app.store.current()
    query = DecideQuery(Envelope(EntityUid("Agent", "a"), "srv", name), b'{"n":5}')
    decided = both_layers(snapshot.authorizer, snapshot.chain, query, time.monotonic_ns() + 10**10)
    turn.end()
    assert heard == ["told"] * told
    assert decided.authorization.allowed is not told


def test_a_shadow_interceptor_is_reported(service: Service) -> None:
    """What a shadow interceptor would have done is in the report; its facts are for no policy."""
    answer = decide(service, "watched")
    assert answer.decision == ALLOW
    assert answer.shadow.would_be_decision == DENY
    assert [outcome.name for outcome in answer.shadow.interceptors] == ["watcher"]
    assert list(answer.shadow.flipping_policies) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": {}}, "subject"),
        ({"subject": {"entity": {"type": "Robot", "id": "x"}}}, "subject.entity.type"),
        ({"tool_call": {"tool": "t"}}, "tool_call.server"),
        ({"tool_call": {"server": "s"}}, "tool_call.tool"),
        ({"request_id": "x" * 257}, "request_id"),
        ({"context_json": b"[]"}, "context_json"),
        ({"context_json": b'{"unknown":1}'}, "context_json"),
        ({"entities_json": b"{"}, "entities_json"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["plain", "lowered"])
def test_a_malformed_request_names_its_field(service: Service, name: str, change: dict[str, Any], field: str) -> None:
    """What the caller got wrong is INVALID_ARGUMENT with the field, with interceptors and without."""
    error = failure(service.decision.Decide, request(name, **change))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(error).metadata["field"] == field


def test_a_token_that_establishes_nobody_is_a_denial(service: Service) -> None:
    """A subject that is a token is denied, since no issuer is configured."""
    answer = decide(service, "plain", subject=decision_pb2.Subject(token="x.y.z"))
    assert answer.denial.code == decision_pb2.DENIAL_CODE_INVALID_TOKEN


def test_both_layers_are_one_record(service: Service) -> None:
    """A decision is one line: what was asked, what the policies said, and what each interceptor did."""
    answer = decide(service, "lowered", b'{"n":50}', request_id="r-1")
    record = service.record_of(answer.decision_id)
    assert (record["kind"], record["decision"], record["policies"]) == ("decide", "ALLOW", ["small"])
    assert record["arguments_sha256"] == hashlib.sha256(b'{"n":50}').hexdigest()
    assert (record["mutated"], record["request_id"]) == (True, "r-1")
    assert record["payload_sha256"] == hashlib.sha256(b'{"n": 1}').hexdigest()
    assert [entry["verdict"] for entry in record["interceptors"]] == ["transform"]
