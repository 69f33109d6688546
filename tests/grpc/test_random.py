"""Random questions over the wire: never a bug, and never an allow that the core would not give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdp import wire
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.authorize import Authorizer
from pdp.cedar.model import Authorization
from pdp.errors import InvalidRequestError, InvalidTokenError
from tests.bundles import entity, load, manifest, tool
from tests.grpc.service import Service, denial, error_info, serving

SCHEMA = """
entity Group in [Group];
entity Agent in [Group] { age?: Long, boss?: Agent } tags String;
entity Server;
entity Doc in [Group] { owner?: Agent };
action read, "odd name" appliesTo { principal: Agent, resource: Doc, context: { n?: Long, who?: Agent, mfa?: Bool } };
"""
POLICIES = """
@id("group") permit(principal in Group::"g", action, resource);
@id("small") permit(principal, action in Action::"call_tool", resource)
when { context.input has n && context.input.n < 5 };
@id("boss") permit(principal is Agent, action, resource) when { principal has boss && principal.boss == Agent::"b" };
@id("mfa") forbid(principal, action, resource) when { context has mfa && !context.mfa };
@id("x") forbid(principal == Agent::"x", action, resource);
@enforcement("shadow") @id("trial") forbid(principal, action in Action::"destructive", resource);
"""
PROPERTIES = {
    "n": {"type": "integer"},
    "amount": {"type": "number"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "any": {},
    "deep": {"type": "object", "properties": {"n": {"type": "integer"}}},
}
FREE = {
    "bundle.toml": '[context]\nmfa = "Bool"',
    "policies/a.cedar": POLICIES,
    "entities/a.json": json.dumps(
        [
            entity("Agent", "a", ("Group", "g")),
            entity("Agent", "b", age=5),
            entity("Agent", "c", boss={"__entity": {"type": "Agent", "id": "b"}}),
            entity("Group", "g", ("Group", "h")),
        ]
    ),
    "tools/srv.json": manifest(
        tool("read", PROPERTIES, annotations={"readOnlyHint": True}), tool("odd name", PROPERTIES)
    ),
}
Pair = tuple[Service, Authorizer]

BUNDLES = {"free": FREE, "typed": {**FREE, "schema.cedarschema": SCHEMA}}


@pytest.fixture(scope="module", params=BUNDLES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A service, and the core with the same bundle that nobody else asks."""
    files = BUNDLES[request.param]
    with serving(tmp_path_factory.mktemp("service"), files) as service:
        yield service, load(files).authorizer


# --- questions -------------------------------------------------------------------------------------------------------

_TEXTS = st.sampled_from(["", "a", "b", "x", "g", "\0", '"', "\n", "é", "\U0001f600", "\u2028"]) | st.text(max_size=5)
_TYPES = st.sampled_from(["Agent", "Group", "Doc", "Server", "Action", "A::B", "", "not a type", "if", "__cedar"])
_IDS = st.sampled_from(["a", "b", "c", "x", "g", "h", "read", "srv", "srv/read", "odd name"]) | _TEXTS
_UIDS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional={"type": _TYPES, "id": _IDS})
_KEYS = st.sampled_from(["n", "amount", "tags", "any", "deep", "mfa", "who", "input", "__entity", "__extn", "type"])
_ESCAPES: st.SearchStrategy[Any] = _UIDS.map(lambda uid: {"__entity": uid}) | st.sampled_from(
    [{"__extn": {"fn": "ip", "arg": "::1"}}, {"__extn": {"fn": "nope", "arg": 1}}, {"__expr": "1"}, {"__entity": 5}]
)
_NUMBERS = st.integers(-10, 10) | st.sampled_from([2**63, -(2**63), 2**70, 1.5, 1e300, 0.00001, -0.0])
_SCALARS: st.SearchStrategy[Any] = st.none() | st.booleans() | _NUMBERS | _TEXTS | _ESCAPES
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | _TEXTS, inner, max_size=3),
    max_leaves=6,
)
_BROKEN = st.sampled_from([b" ", b"{", b"[", b"\xff", b'{"n":1,"n":1}', b'{"n":NaN}', b"{}x", b"null", b"[]", b"{}"])


def _mostly(good: st.SearchStrategy[Any], *others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`good` four times of five: with every part odd, no question would get far."""
    return st.integers(0, 4).flatmap(lambda number: good if number else st.one_of(*others))


def _documents(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """JSON texts of these values, now and then broken or cut off."""
    texts = values.map(lambda value: json.dumps(value).encode())
    cut = st.tuples(texts, st.integers(0, 40)).map(lambda pair: pair[0][: pair[1]])
    return _mostly(texts, _BROKEN, cut, st.binary(max_size=6))


_OBJECTS = st.dictionaries(_KEYS, _VALUES, max_size=3)
_SMALL = st.fixed_dictionaries({"n": st.integers(0, 9)})
_FACTS = st.fixed_dictionaries({}, optional={"mfa": st.booleans()})
_ENTITIES = st.lists(
    st.fixed_dictionaries(
        {"uid": _UIDS, "attrs": _mostly(st.just({}), _OBJECTS), "parents": st.lists(_UIDS, max_size=2)},
        optional={"tags": _OBJECTS},
    ),
    max_size=2,
)
_AGENTS = st.sampled_from(["a", "b", "c", "d", "x"]).map(lambda name: {"entity": {"type": "Agent", "id": name}})
_TOKENS = _TEXTS.map(lambda token: {"token": token})
_SUBJECTS = _mostly(_AGENTS, _UIDS.map(lambda uid: {"entity": uid}), _TOKENS, st.just({}))
_CALLS = st.fixed_dictionaries(
    {
        "server": _mostly(st.just("srv"), _IDS),
        "tool": _mostly(st.sampled_from(["read", "odd name"]), _IDS),
        "arguments_json": _mostly(_documents(_SMALL), _documents(_OBJECTS), st.just(b"")),
    },
    optional={"session_id": _mostly(_TEXTS, st.just("s" * 300))},
)
_ACTIONS = st.fixed_dictionaries(
    {
        "action": _mostly(
            st.sampled_from(["read", "odd name"]).map(lambda name: {"type": "Action", "id": name}), _UIDS
        ),
        "resource": _mostly(st.just({"type": "Doc", "id": "d"}), _UIDS),
    }
)
_TARGETS = _mostly(
    _CALLS.map(lambda call: {"tool_call": call}) | _ACTIONS.map(lambda asked: {"action_on_resource": asked}),
    st.just({}),
)
_CONTEXTS = _mostly(_documents(_FACTS), _documents(_OBJECTS))
_MORE = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"context_json": _CONTEXTS}, optional={"request_id": _TEXTS}),
    st.fixed_dictionaries({"entities_json": _documents(_ENTITIES)}, optional={"context_json": _CONTEXTS}),
)


def _build(subject: Any, target: dict[str, Any], more: dict[str, Any]) -> pb.AuthorizeRequest:
    return pb.AuthorizeRequest(subject=subject, **target, **more)


REQUESTS = st.builds(_build, _SUBJECTS, _TARGETS, _MORE)


# --- answers ---------------------------------------------------------------------------------------------------------


def _expected(authorizer: Authorizer, request: pb.AuthorizeRequest) -> Authorization | InvalidRequestError | None:
    """What the core says; None where nobody is established who could ask."""
    try:
        return authorizer.authorize(wire.read_authorize(request))
    except InvalidRequestError as error:
        return error
    except InvalidTokenError:
        return None


def _check_response(response: pb.AuthorizeResponse, expected: Authorization | InvalidRequestError | None) -> None:
    if expected is None:
        assert denial(response) == "INVALID_TOKEN"
        return
    assert isinstance(expected, Authorization)
    written = pb.AuthorizeResponse()
    wire.write_authorization(expected, response.decision_id, response.revision, written)
    assert response == written
    assert (response.decision == decision_pb2.DECISION_ALLOW) == expected.allowed


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(request=REQUESTS)
def test_random_questions_are_answered_as_the_core_would(pair: Pair, request: pb.AuthorizeRequest) -> None:
    """Any message gets the core's own answer, or INVALID_ARGUMENT for the very field that the core refuses."""
    service, authorizer = pair
    expected = _expected(authorizer, request)
    try:
        response = service.authorize(request)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, (error.code(), error.details())  # noqa: PT017
        assert isinstance(expected, InvalidRequestError)
        assert error_info(error).metadata["field"] == expected.field  # noqa: PT017
        return
    _check_response(response, expected)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(requests=st.lists(REQUESTS, max_size=12))
def test_random_batches_are_answered_as_the_core_would(pair: Pair, requests: list[pb.AuthorizeRequest]) -> None:
    """In a batch as well, each item gets the core's own answer, whatever stands beside it."""
    service, authorizer = pair
    results = service.batch(*requests).results
    for request, result in zip(requests, results, strict=True):
        expected = _expected(authorizer, request)
        if isinstance(expected, InvalidRequestError):
            assert (result.WhichOneof("result"), result.error.field) == ("error", expected.field)
        else:
            _check_response(result.response, expected)


def test_the_random_questions_are_worth_asking(pair: Pair) -> None:
    """The questions meet every kind of end often enough to prove something."""
    ends: dict[str, int] = {}
    _, authorizer = pair

    @settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
    @given(request=REQUESTS)
    def count(request: pb.AuthorizeRequest) -> None:
        expected = _expected(authorizer, request)
        if isinstance(expected, Authorization):
            end = expected.denial.code.name if expected.denial else "ALLOW"
        else:
            end = "token" if expected is None else expected.field.partition(".")[0]
        ends[end] = ends.get(end, 0) + 1

    count()
    wanted = {"ALLOW", "NO_MATCHING_POLICY", "FORBIDDEN", "INVALID_ARGUMENTS", "UNKNOWN_TOOL", "token", "subject"}
    wanted |= {"target", "context_json", "entities_json", "tool_call", "action_on_resource"}
    assert wanted <= ends.keys(), ends
    assert ends["ALLOW"] >= 10, ends
