"""What AuthZEN questions become, and what becomes of the answers."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.strict_json import parse_object
from pdp.errors import InvalidRequestError
from pdp.servicers.gateways.authzen_answers import decision, failed_item
from pdp.servicers.gateways.authzen_mapping import MappingOptions, question
from pdp.servicers.gateways.authzen_requests import read_evaluation, read_evaluations
from tests.gateways.authzen_service import asked, called


def request_of(document: Any, **options: Any) -> Any:
    """The request that a document becomes."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return question(read_evaluation(parse_object(text)), MappingOptions(**options), "r-1")


def refused(document: Any, **options: Any) -> InvalidRequestError:
    """Why a document becomes none."""
    with pytest.raises(InvalidRequestError) as caught:
        request_of(document, **options)
    return caught.value


def entities(request: Any) -> Any:
    return json.loads(request.entities_json)


# --- Cedar's own questions -------------------------------------------------------------------------------------------


def test_types_are_entity_types() -> None:
    """Types, ids and the action's name go into the Cedar question as they are."""
    request = request_of(asked("read", "d", agent='a"::'))
    assert isinstance(request, pb.AuthorizeRequest)
    assert request.subject.entity == decision_pb2.EntityUid(type="Agent", id='a"::')
    assert request.action_on_resource.action == decision_pb2.EntityUid(type="Action", id="read")
    assert request.action_on_resource.resource == decision_pb2.EntityUid(type="Doc", id="d")
    assert request.request_id == "r-1"
    assert request.context_json == b""
    assert request.entities_json == b""


def test_types_can_be_renamed() -> None:
    """A type that is configured becomes the entity type that is named; so does the type of actions."""
    request = request_of(asked(kind="identity"), entity_types={"identity": "Acme::User"}, action_type="Acme::Action")
    assert request.subject.entity.type == "Acme::User"
    assert request.action_on_resource.action.type == "Acme::Action"
    assert request.action_on_resource.resource.type == "Doc"


def test_properties_are_attributes() -> None:
    """Properties of subject and resource are attributes of their entities, those of the action are in the context."""
    document = asked(context={"ip": "::1"})
    document["subject"]["properties"] = {"role": "admin"}
    document["resource"]["properties"] = {"tags": ["a"]}
    document["action"]["properties"] = {"soft": True}
    request = request_of(document)
    assert entities(request) == [
        {"uid": {"type": "Agent", "id": "a"}, "attrs": {"role": "admin"}, "parents": []},
        {"uid": {"type": "Doc", "id": "d"}, "attrs": {"tags": ["a"]}, "parents": []},
    ]
    assert json.loads(request.context_json) == {"ip": "::1", "action_properties": {"soft": True}}


def test_properties_can_be_ignored() -> None:
    """Where it is configured, properties are no attributes and no context."""
    document = asked()
    for part in ("subject", "resource", "action"):
        document[part]["properties"] = {"role": "admin"}
    request = request_of(document, properties="ignore")
    assert (request.entities_json, request.context_json) == (b"", b"")


def test_two_sources_of_action_properties_are_refused() -> None:
    """A context cannot pass something off as the action's properties while these are given too."""
    document = asked(context={"action_properties": {"soft": True}})
    document["action"]["properties"] = {"soft": False}
    assert refused(document).field == "context.action_properties"


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "9007199254740993", "9" * 30])
def test_numbers_are_exact(number: str) -> None:
    """Integers of 64 bits and digits beyond them have the value that was sent."""
    document = json.dumps(asked(context={"n": "here"})).replace('"here"', number).encode()
    assert json.loads(request_of(document).context_json, parse_float=Decimal)["n"] == int(number)


# --- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tool", "mcp-tool"])
@pytest.mark.parametrize("name", ["tools/call", "read"])
def test_a_tool_is_decided_about(kind: str, name: str) -> None:
    """A resource that is a tool makes the question a tool call, named by the protocol's method or by the tool."""
    document = called("srv/read", arguments={"n": 1}, context={"session_id": "s", "ip": "::1"})
    document["resource"]["type"] = kind
    document["action"]["name"] = name
    request = request_of(document)
    assert isinstance(request, pb.DecideRequest)
    call = request.tool_call
    assert (call.server, call.tool, call.arguments_json, call.session_id) == ("srv", "read", b'{"n":1}', "s")
    assert json.loads(request.context_json) == {"ip": "::1"}
    assert request.request_id == "r-1"


SERVERS: dict[str, tuple[str, dict[str, Any], str, tuple[str, str]]] = {
    "in the id": ("srv/read", {}, "", ("srv", "read")),
    "in the id, before the first slash": ("srv/a/b", {}, "", ("srv", "a/b")),
    "configured": ("read", {}, "srv", ("srv", "read")),
    "configured, so that a slash is the tool's": ("a/b", {}, "srv", ("srv", "a/b")),
    "beside the id": ("a/b", {"server": "srv"}, "", ("srv", "a/b")),
    "beside the id, over the configured one": ("read", {"server": "srv"}, "other", ("srv", "read")),
}


@pytest.mark.parametrize("case", SERVERS)
def test_servers(case: str) -> None:
    """The server is the one beside the id, else the configured one, else what stands before the id's first slash."""
    name, properties, configured, expected = SERVERS[case]
    request = request_of(called(name, properties={"arguments": {}, **properties}), server=configured)
    assert (request.tool_call.server, request.tool_call.tool) == expected


@pytest.mark.parametrize("name", ["read", "/read", "srv/", "/"])
def test_a_tool_without_server_is_refused(name: str) -> None:
    """A tool of no server is nothing that can be decided about."""
    assert refused(called(name)).field == "resource.id"


@pytest.mark.parametrize("server", ["", 1, None, ["srv"]])
def test_an_unclear_server_is_refused(server: Any) -> None:
    """A server that is no name does not give way to another one."""
    error = refused(called("srv/read", properties={"arguments": {}, "server": server}), server="srv")
    assert error.field == "resource.properties.server"


PLACES = ("resource", "action", "context")


def placed(*places: str) -> dict[str, Any]:
    document = called("srv/read", properties={})
    for place in places:
        if place == "context":
            document["context"] = {"arguments": {"n": 1}}
        else:
            document[place].setdefault("properties", {})["arguments"] = {"n": 1}
    return document


@pytest.mark.parametrize("place", PLACES)
def test_places_of_arguments(place: str) -> None:
    """Arguments are found where gateways put them, and are nowhere else in the question."""
    request = request_of(placed(place))
    assert request.tool_call.arguments_json == b'{"n":1}'
    assert request.context_json == b""


@pytest.mark.parametrize("places", [("resource", "action"), ("resource", "context"), ("action", "context")])
def test_arguments_given_twice_are_refused(places: tuple[str, str]) -> None:
    """Two sets of arguments, equal or not, are refused: the tool might get the one that nobody looked at."""
    assert refused(placed(*places)).reason == "UNEXPECTED_FIELD"


def test_missing_arguments_are_refused() -> None:
    """A question about a call says with which arguments, unless it is configured that it need not."""
    assert refused(placed()).reason == "MISSING_FIELD"
    assert request_of(placed(), require_arguments=False).tool_call.arguments_json == b""


@pytest.mark.parametrize("arguments", [None, [], "x", 1])
def test_odd_arguments_are_the_agents_mistake(arguments: Any) -> None:
    """What an agent sent in the place of arguments is passed on, for the core to deny."""
    assert json.loads(request_of(called(arguments=arguments)).tool_call.arguments_json) == arguments


@pytest.mark.parametrize("name", ["tools/list", "read ", "READ", "write", "call"])
def test_other_actions_on_tools_are_refused(name: str) -> None:
    """What is no call of the tool is not taken for one, nor for a question that policies about calls do not see."""
    document = called("srv/read")
    document["action"]["name"] = name
    assert refused(document).field == "action.name"


def test_what_is_said_about_a_tool_does_not_count() -> None:
    """Only the bundle says what a tool is; its live definition is handed over to be compared."""
    properties = {"arguments": {}, "annotations": {"readOnlyHint": True}, "definition": {"name": "read"}}
    request = request_of(called("srv/read", properties=properties))
    assert request.entities_json == b""
    assert request.definition_json == b'{"name":"read"}'
    assert not request_of(called("srv/read")).HasField("definition_json")


# --- who asks --------------------------------------------------------------------------------------------------------


def test_tokens() -> None:
    """A subject of the token type is a token that the service verifies, and nothing else is said about it."""
    document = asked(kind="jwt", agent="h.p.s")
    assert request_of(document, token_type="jwt").subject == decision_pb2.Subject(token="h.p.s")
    document["subject"]["properties"] = {"role": "admin"}
    assert refused(document, token_type="jwt").field == "subject.properties"


def test_agents_act_for_subjects() -> None:
    """Where agents are configured, the agent asks on behalf of the subject, who has the properties."""
    document = called("srv/read", agent="alice", context={"agent": "bot", "ip": "::1"})
    document["subject"] |= {"type": "identity", "properties": {"level": 3}}
    request = request_of(document, agent_type="Agent", entity_types={"identity": "User"})
    assert request.subject.entity == decision_pb2.EntityUid(type="Agent", id="bot")
    assert request.subject.on_behalf_of == decision_pb2.EntityUid(type="User", id="alice")
    assert entities(request)[0]["uid"] == {"type": "User", "id": "alice"}
    assert json.loads(request.context_json) == {"ip": "::1"}


@pytest.mark.parametrize("context", [{}, {"agent": ""}, {"agent": 1}, {"agent": None}, {"agent": ["bot"]}])
def test_a_lost_agent_is_refused(context: dict[str, Any]) -> None:
    """A question without its agent is not answered as if the user had asked alone."""
    assert refused(asked(context=context), agent_type="Agent").field == "context.agent"


def test_without_agents_the_context_is_whole() -> None:
    """Where no agents are configured, `context.agent` is a part of the context like any other."""
    assert json.loads(request_of(asked(context={"agent": "bot"})).context_json) == {"agent": "bot"}


# --- documents -------------------------------------------------------------------------------------------------------


def test_defaults_are_replaced_whole() -> None:
    """An item's member replaces the default of that name; nothing of the default is left."""
    document = {
        **asked(context={"a": 1}),
        "evaluations": [
            {"context": {"b": 2}},
            {"resource": {"type": "Doc"}},
            {"subject": {"type": "Agent", "id": "b"}},
        ],
    }
    document["subject"]["properties"] = {"role": "admin"}
    found = read_evaluations(document, 3)
    assert found is not None
    first, second, third = found.items
    assert not isinstance(first, InvalidRequestError)
    assert first.context == {"b": 2}
    assert isinstance(second, InvalidRequestError)
    assert second.field == "resource.id"
    assert not isinstance(third, InvalidRequestError)
    assert (third.subject.id, third.subject.properties) == ("b", {})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "evaluations is an object": ({"evaluations": {}}, "evaluations"),
    "evaluations is null": ({"evaluations": None}, "evaluations"),
    "unknown semantic": ({"options": {"evaluations_semantic": "all"}}, "options.evaluations_semantic"),
    "semantic is an array": ({"options": {"evaluations_semantic": []}}, "options.evaluations_semantic"),
    "options is a string": ({"options": "execute_all"}, "options"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_lists(case: str) -> None:
    """A list that is none, or that nobody knows how to go through, is refused as a whole."""
    more, field = WRONG[case]
    with pytest.raises(InvalidRequestError) as caught:
        read_evaluations({**asked(), "evaluations": [{}], **more}, 10)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("subject", None),
        ("subject", []),
        ("subject.type", 1),
        ("subject.id", True),
        ("subject.properties", []),
        ("action", "read"),
        ("action.name", ""),
        ("action.properties", "x"),
        ("resource.id", {}),
        ("resource.properties", None),
        ("context", None),
        ("context", "x"),
    ],
)
def test_wrong_members(path: str, value: Any) -> None:
    """A member of the wrong type, or an empty identity, is named by its path."""
    document = asked()
    parent, _, name = path.rpartition(".")
    (document[parent] if parent else document)[name] = value
    assert refused(document).field == path


# --- answers ---------------------------------------------------------------------------------------------------------


def answered(**fields: Any) -> pb.DecideResponse:
    return pb.DecideResponse(decision_id="d", revision="r", **fields)


@pytest.mark.parametrize("code", [decision_pb2.DECISION_UNSPECIFIED, decision_pb2.DECISION_DENY, 7])
def test_only_an_allow_allows(code: Any) -> None:
    """Whatever is not DECISION_ALLOW is a denial."""
    assert decision(answered(decision=code), MappingOptions())["decision"] is False


def test_reasons() -> None:
    """A denial has its code, its text, and the policies that decided with their annotations."""
    denial = decision_pb2.Denial(code=decision_pb2.DENIAL_CODE_FORBIDDEN, message="no")
    policy = decision_pb2.DeterminingPolicy(
        policy_id="p", effect=decision_pb2.EFFECT_FORBID, annotations={"advice": "ask"}
    )
    found = decision(
        answered(decision=decision_pb2.DECISION_DENY, denial=denial, determining_policies=[policy]), MappingOptions()
    )
    assert found == {
        "decision": False,
        "context": {
            "decision_id": "d",
            "revision": "r",
            "code": "FORBIDDEN",
            "reason": "no",
            "policies": [{"id": "p", "effect": "forbid", "annotations": {"advice": "ask"}}],
        },
    }


def test_changed_arguments_deny() -> None:
    """An allow of other arguments is a denial, since who does not look for them would use those that were sent."""
    answer = answered(decision=decision_pb2.DECISION_ALLOW, mutated=True, arguments_json=b'{"n":9007199254740993}')
    assert decision(answer, MappingOptions())["decision"] is False
    assert decision(answer, MappingOptions())["context"]["code"] == "ARGUMENTS_CHANGED"
    returned = decision(answer, MappingOptions(changed_arguments="return"))
    assert returned["decision"] is True
    assert returned["context"]["arguments"] == {"n": 9007199254740993}


def test_failed_items() -> None:
    """A malformed item is a denial that says what is wrong, in AuthZEN's names."""
    error = InvalidRequestError("subject.entity.type", "odd", "INVALID_FIELD")
    assert failed_item(error, MappingOptions()) == {
        "decision": False,
        "context": {"error": {"status": 400, "reason": "INVALID_FIELD", "message": "odd", "field": "subject.type"}},
    }
