"""Questions over the wire: what is refused, what is denied, and that a batch is as its questions alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import entity, manifest, tool
from tests.grpc.service import (
    Service,
    denial,
    error_info,
    failure,
    question,
    refused_field,
    serving,
    tool_call,
)

SCHEMA = """
entity Group in [Group];
entity Agent in [Group] { age?: Long };
entity Server;
entity Doc { owner?: Agent };
action read appliesTo { principal: Agent, resource: Doc, context: { n?: Long, who?: Agent } };
"""
POLICIES = """
@id("all") permit(principal, action, resource);
@id("big") @message("too big") @advice("ask") forbid(principal, action in Action::"call_tool", resource)
when { context.input has n && context.input.n > 100 };
"""
PROPERTIES = {
    "n": {"type": "integer"},
    "amount": {"type": "number"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "deep": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]},
}
FILES = {
    "bundle.toml": '[context]\nmfa = "Bool"',
    "policies/a.cedar": POLICIES,
    "entities/a.json": json.dumps([entity("Agent", "a", ("Group", "g")), entity("Group", "g")]),
    "tools/srv.json": manifest(tool("read", PROPERTIES), tool("write", {"path": {"type": "string"}})),
}


@pytest.fixture(scope="module", params=["free", "typed"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that permits all but large numbers, with and without a schema."""
    files = FILES if request.param == "free" else {**FILES, "schema.cedarschema": SCHEMA}
    with serving(tmp_path_factory.mktemp("service"), files) as running:
        yield running


# --- what the caller got wrong ---------------------------------------------------------------------------------------


def _without(request: pb.AuthorizeRequest, *path: str) -> pb.AuthorizeRequest:
    """A copy of the request without the field at `path`."""
    copy = pb.AuthorizeRequest()
    copy.CopyFrom(request)
    inner: Any = copy
    for name in path[:-1]:
        inner = getattr(inner, name)
    inner.ClearField(path[-1])
    return copy


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.AuthorizeRequest(), "target"),
        (_without(tool_call(), "subject"), "subject"),
        (_without(tool_call(), "tool_call"), "target"),
        (_without(tool_call(), "subject", "entity", "type"), "subject.entity.type"),
        (_without(tool_call(), "subject", "entity", "id"), "subject.entity.id"),
        (_without(tool_call(), "tool_call", "server"), "tool_call.server"),
        (_without(tool_call(), "tool_call", "tool"), "tool_call.tool"),
        (_without(question(), "action_on_resource", "action"), "action_on_resource.action.type"),
        (_without(question(), "action_on_resource", "action", "id"), "action_on_resource.action.id"),
        (_without(question(), "action_on_resource", "resource"), "action_on_resource.resource.type"),
        (_without(question(), "action_on_resource", "resource", "id"), "action_on_resource.resource.id"),
    ],
)
def test_missing_fields_are_named(service: Service, request_: pb.AuthorizeRequest, field: str) -> None:
    """What is missing is INVALID_ARGUMENT with the reason MISSING_FIELD and the path, alone and in a batch."""
    error = failure(service.decision.Authorize, request_)
    assert refused_field(error) == field
    assert error_info(error).reason == "MISSING_FIELD"
    [result] = service.batch(request_).results
    assert (result.error.field, result.error.reason, result.error.code) == (field, "MISSING_FIELD", 3)
    assert result.error.message == error.details()


BAD_JSON = [b"\xff", b" ", b"{", b"nope", b'{"a":1,"a":1}', b'{"a":{"b":[{"c":1,"c":2}]}}', b'{"a":NaN}', b"{}x"]
BAD_JSON += [b'{"a":' * 40 + b"1" + b"}" * 40, b"\xef\xbb\xbf{}", b'{"a":"\\ud800"}', b"null", b"5", b'"x"']
BAD_CONTEXTS = [*BAD_JSON, b"[]", b'{"mfa":1.5}', b'{"mfa":null}', b'{"mfa":{"__entity":5}}', b'{"__expr":"1"}']
BAD_CONTEXTS += [b'{"n":1e400}', b'{"x":{"__extn":{"fn":"nope","arg":"1"}}}', b'{"n":99999999999999999999}']
RESERVED = ["input", "undeclared", "session_id", "interceptors", "on_behalf_of"]


@pytest.mark.parametrize("context", BAD_CONTEXTS)
def test_malformed_contexts_are_the_callers_mistake(service: Service, context: bytes) -> None:
    """A context that is not one strict JSON object of values that Cedar has is refused, for both kinds of question."""
    for request in (tool_call(context_json=context), question(context_json=context)):
        assert refused_field(failure(service.decision.Authorize, request)) == "context_json"


@pytest.mark.parametrize("key", RESERVED)
def test_what_the_service_fills_in_cannot_be_sent(service: Service, key: str) -> None:
    """A caller cannot play the agent's arguments, nor an interceptor's facts."""
    error = failure(service.decision.Authorize, tool_call(context_json=json.dumps({key: {"n": 1}}).encode()))
    assert refused_field(error) == "context_json"
    assert error.details() == f"`{key}` is filled in by the service and cannot be given"


def _entities(*forms: Any) -> bytes:
    return json.dumps(forms).encode()


BAD_ENTITIES = [
    *BAD_JSON,
    b"{}",
    b"[1]",
    _entities({"uid": 5}),
    _entities({"uid": {"type": "Agent", "id": "x"}}),
    _entities(entity("no type", "x")),
    _entities(entity("Agent", "x", age=1.5)),
    _entities(entity("Agent", "x", age=None)),
    _entities(entity("Agent", "x", age={"__entity": ["Agent", "x"]})),
    _entities({**entity("Agent", "x"), "parents": 5}),
    _entities({**entity("Agent", "x"), "parents": [{"type": "Group", "id": "g", "more": 1.5}]}),
    _entities({**entity("Agent", "x"), "uid": {"type": "Agent", "id": "x", "more": 1.5}}),
    _entities({**entity("Agent", "x"), "more": 1.5}, entity("Agent", "x")),
    _entities(entity("Action", "srv/read")),
    _entities(entity("Action", "mine", ("Action", "call_tool"))),
    _entities(entity("Agent", "a")),  # has another parent in the bundle
    _entities(entity("Group", "g", ("Group", "root"))),
    _entities(entity("Group", "x", ("Group", "x"))),
    _entities(entity("Group", "x", ("Group", "y")), entity("Group", "y", ("Group", "x"))),
]


@pytest.mark.parametrize("entities", BAD_ENTITIES)
def test_malformed_entities_are_the_callers_mistake(service: Service, entities: bytes) -> None:
    """Entities that are malformed, twice there, actions, cyclic, or not as the bundle has them are refused."""
    for request in (tool_call(entities_json=entities), question(entities_json=entities)):
        assert refused_field(failure(service.decision.Authorize, request)) == "entities_json"


@pytest.mark.parametrize("where", ["request_id", "session_id"])
def test_ids_are_bounded(service: Service, where: str) -> None:
    """An id that would be copied into every log line is refused where it is overlong."""
    fields: dict[str, Any] = {where: "x" * 257}
    error = failure(service.decision.Authorize, tool_call(**fields))
    assert refused_field(error) == {"session_id": "tool_call.session_id"}.get(where, where)
    assert error_info(error).reason == "TOO_LONG"


@pytest.mark.parametrize("kind", ["not a type", "x" * 100_000, "\U0001f600" * 30_000, "\n" * 50_000])
def test_errors_fit_into_trailers(service: Service, kind: str) -> None:
    """An error that repeats what was sent still arrives, with its field, however long that was."""
    request = tool_call()
    request.subject.entity.type = kind
    error = failure(service.decision.Authorize, request)
    assert refused_field(error) == "subject.entity.type"
    assert len(error.details()) < 1_100


# --- what the agent got wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "x", "eyJhbGciOiJub25lIn0.e30."])
def test_a_token_is_denied_while_no_issuer_is_trusted(service: Service, token: str) -> None:
    """A token establishes nobody: a denial, whatever else the question says, and nothing of the token comes back."""
    for request in (tool_call(), question(), tool_call(name="nope")):
        request.subject.token = token
        response = service.authorize(request)
        assert denial(response) == "INVALID_TOKEN"
        assert response.denial.message == "the token does not establish who is asking"
        assert response.revision == service.app.store.current().revision


@pytest.mark.parametrize(("server", "name"), [("srv", "nope"), ("nope", "read"), ("SRV", "read"), ("srv", "read ")])
def test_an_unknown_tool_is_denied(service: Service, server: str, name: str) -> None:
    """Only the exact names that the bundle pins are known."""
    response = service.authorize(tool_call(server=server, name=name))
    assert denial(response) == "UNKNOWN_TOOL"
    assert response.denial.message == "this tool is not known to the policy service"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (b"\xff", "(arguments): is not UTF-8 at byte 0"),
        (b" ", "(arguments): is empty"),
        (b"[]", "(arguments): must be a JSON object, not an array"),
        (b'{"n":1,"n":2}', "/n: the key `n` is given twice"),
        (b'{"n":"1"}', "/n: must be an integer, not a string"),
        (b'{"n":1.5}', "/n: must be an integer, not a fraction"),
        (b'{"n":99999999999999999999}', "/n: is out of range for an integer of 64 bits"),
        (b'{"amount":1.00001}', "/amount: has more than four decimal places, and is never rounded"),
        (b'{"amount":NaN}', "/amount: `NaN` is not JSON"),
        (b'{"amount":1e999999999999999999999}', "/amount: the number's exponent is out of range"),
        (b'{"tags":["a",5]}', "/tags/1: must be a string, not a number"),
        (b'{"deep":{}}', "/deep/x: is required and missing"),
        (b'{"deep":{"x":null}}', "/deep/x: must be a boolean, not null"),
        (
            b'{"n":{"__entity":{"type":"Group","id":"admin"}}}',
            "/n/__entity: the key `__entity` has a meaning of its own in Cedar and cannot be an argument",
        ),
        (
            b'{"other":[{"\\u005f_extn":1}]}',
            "/other/0/__extn: the key `__extn` has a meaning of its own in Cedar and cannot be an argument",
        ),
    ],
)
def test_arguments_that_cannot_be_represented_are_denied(service: Service, arguments: bytes, message: str) -> None:
    """The agent's arguments are data: what is not representable is a denial that names the path, never an error."""
    response = service.authorize(tool_call(arguments))
    assert denial(response) == "INVALID_ARGUMENTS"
    assert response.denial.message == message
    [result] = service.batch(tool_call(arguments)).results
    assert result.response.denial == response.denial


def test_a_forbid_brings_its_words(service: Service) -> None:
    """The author's message reaches the agent, and annotations reach the caller."""
    response = service.authorize(tool_call(b'{"n":101}'))
    assert denial(response) == "FORBIDDEN"
    assert response.denial.message == "too big"
    [policy] = response.determining_policies
    assert dict(policy.annotations) == {"id": "big", "message": "too big", "advice": "ask"}
    assert policy.effect == decision_pb2.EFFECT_FORBID


# --- batches ---------------------------------------------------------------------------------------------------------


def _many() -> list[pb.AuthorizeRequest]:
    """Questions of every kind, good and bad."""
    token = tool_call()
    token.subject.token = "x"
    return [
        tool_call(b'{"n":1}'),
        tool_call(b'{"n":101}'),
        tool_call(context_json=b"["),
        question(),
        question(context_json=b'{"n":1}'),
        question(context_json=b'{"n":1.5}'),
        question(entities_json=b"[1]"),
        tool_call(name="nope"),
        tool_call(b'{"n":"x"}'),
        token,
        pb.AuthorizeRequest(),
        tool_call(agent="b", name="write"),
        tool_call(entities_json=_entities(entity("Agent", "b", ("Group", "g"))), agent="b"),
        tool_call(b'{"n":1}'),
    ]


def _outcome(service: Service, request: pb.AuthorizeRequest) -> pb.AuthorizeBatchResult:
    """What a question gets alone, in the form of a batch's result, without what is its own."""
    try:
        response = service.authorize(request)
    except grpc.RpcError as error:
        info = error_info(error)
        code, field, message = error.code().value[0], info.metadata["field"], error.details() or ""
        return pb.AuthorizeBatchResult(error=pb.BatchError(code=code, message=message, reason=info.reason, field=field))
    response.ClearField("decision_id")
    return pb.AuthorizeBatchResult(response=response)


@pytest.mark.parametrize("times", [1, 20])
def test_a_batch_answers_as_its_questions_alone(service: Service, times: int) -> None:
    """Each result is what the question gets as a call of its own, in order, and a bad one spoils no other."""
    requests = _many() * times
    alone = [_outcome(service, request) for request in requests]
    together = list(service.batch(*requests).results)
    ids = [result.response.decision_id for result in together if result.HasField("response")]
    assert len(ids) == len(set(ids)) == 10 * times
    for result in together:
        if result.HasField("response"):
            result.response.ClearField("decision_id")
    assert [str(result) for result in together] == [str(result) for result in alone]


def test_an_empty_batch_has_an_empty_answer(service: Service) -> None:
    """No questions, no results."""
    assert list(service.batch().results) == []


def test_every_call_has_its_own_decision_id(service: Service) -> None:
    """Also where the answer was worked out before."""
    ids = {service.authorize(tool_call(b'{"n":7}')).decision_id for _ in range(20)}
    assert len(ids) == 20
