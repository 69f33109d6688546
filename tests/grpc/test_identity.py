"""Subjects from tokens over the wire: who asks, with what groups and attributes, and for whom."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import Files, entity, manifest, tool
from tests.grpc.service import TIMEOUT_SECONDS, Service, error_info, failure, serving
from tests.modules import answering, binding
from tests.unit.identity.making import Signer, key_set, signer

ALLOW, DENY = decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY
PEOPLE, AGENTS = "https://people.example.com/", "https://agents.example.com/"
AUDIENCE = "pdp"

POLICIES = """
@id("staff") permit(principal in Group::"staff", action == Action::"srv/read", resource);
@id("senior") permit(principal is User, action == Action::"srv/write", resource)
    when { principal has level && principal.level > 3 };
@id("both") permit(principal in Group::"bots", action == Action::"srv/act", resource)
    when { context has on_behalf_of && context.on_behalf_of in Group::"staff" };
"""
SCHEMA = """
entity Group in [Group];
entity User in [Group] { level?: Long, email?: String };
entity Agent in [Group];
"""
FILES: Files = {
    "schema.cedarschema": SCHEMA,
    "policies/a.cedar": POLICIES,
    "tools/srv.json": manifest(*(tool(name) for name in ("read", "write", "act", "seen"))),
    "entities/e.json": json.dumps(
        [
            {**entity("Agent", "bot"), "parents": [{"type": "Group", "id": "bots"}]},
            {**entity("User", "local"), "attrs": {"level": 9}},
        ]
    ),
    "bundle.toml": binding("seen", tools=["srv/seen"]),
    "interceptors/seen.wasm": answering(),
}


@pytest.fixture(scope="module")
def key() -> Signer:
    """The key of both issuers."""
    return signer("k1", "ES256")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, key: Signer) -> Iterator[Service]:
    """A service that believes an issuer of people, and one of agents that act for them."""
    directory = tmp_path_factory.mktemp("identity")
    keys = directory / "keys.json"
    keys.write_bytes(key_set(key))
    usual = {"jwks_file": str(keys), "audiences": [AUDIENCE], "algorithms": ["ES256"]}
    groups = {"groups_claim": "groups", "group_type": "Group"}
    people = {
        **usual,
        **groups,
        "issuer": PEOPLE,
        "principal_type": "User",
        "attributes": {"level": "Long", "email": "String"},
    }
    acting = {"source": "act", "user_type": "User", **groups}
    agents = {**usual, "issuer": AGENTS, "principal_type": "Agent", "on_behalf_of": acting}
    identity = {"issuer": [people, agents], "allow_shared_entity_types": True}
    with serving(directory, FILES, identity=identity) as running:
        yield running


def token(key: Signer, subject: str = "alice", issuer: str = PEOPLE, **more: Any) -> str:
    """A token of an issuer; `more` are its other claims."""
    now = int(time.time())
    return key.token({"iss": issuer, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600, **more})


def request(name: str, subject: dict[str, Any], **more: Any) -> pb.AuthorizeRequest:
    """May this subject call this tool?"""
    fields: dict[str, Any] = {"subject": subject, "tool_call": {"server": "srv", "tool": name}, **more}
    return pb.AuthorizeRequest(**fields)


def authorize(service: Service, name: str, text: str, **more: Any) -> pb.AuthorizeResponse:
    """The answer for a token's subject."""
    return service.authorize(request(name, {"token": text}, **more))


def policies(answer: pb.AuthorizeResponse | pb.DecideResponse) -> list[str]:
    """The policies that decided."""
    return [policy.policy_id for policy in answer.determining_policies]


# --- one subject -----------------------------------------------------------------------------------------------------


def test_groups_of_the_token_count(service: Service, key: Signer) -> None:
    """A subject is in the groups that its token names, and in no others."""
    staff = authorize(service, "read", token(key, groups=["staff"]))
    assert (staff.decision, policies(staff)) == (ALLOW, ["staff"])
    for groups in ([], ["other"], ["Staff"]):
        assert authorize(service, "read", token(key, groups=groups)).decision == DENY


def test_attributes_of_the_token_count(service: Service, key: Signer) -> None:
    """A chosen claim is an attribute of the subject."""
    assert authorize(service, "write", token(key, level=4)).decision == ALLOW
    assert authorize(service, "write", token(key, level=3)).decision == DENY
    assert authorize(service, "write", token(key)).decision == DENY


def test_the_bundles_facts_are_joined(service: Service, key: Signer) -> None:
    """What the bundle knows of a subject counts too; where the two disagree there is no subject."""
    assert authorize(service, "write", token(key, "local")).decision == ALLOW
    assert authorize(service, "write", token(key, "local", level=9, groups=["staff"])).decision == ALLOW
    conflict = authorize(service, "write", token(key, "local", level=1))
    assert conflict.denial.code == decision_pb2.DENIAL_CODE_INVALID_TOKEN
    assert "level" not in conflict.denial.message


@pytest.mark.parametrize(
    "claims",
    [{"exp": 1}, {"aud": "other"}, {"iss": "https://else.example.com/"}, {"level": "high"}, {"nbf": 2**40}],
    ids=str,
)
def test_a_bad_token_is_denied(service: Service, key: Signer, claims: dict[str, Any]) -> None:
    """A token that does not verify is a denial by every RPC, and nothing of it is in the answer."""
    text = token(key, groups=["staff"], **claims) if "iss" not in claims else token(key, issuer=claims["iss"])
    asked = request("read", {"token": text})
    listed = pb.FilterToolsRequest(server="srv", tools=[pb.ListedTool(name="read")], subject=asked.subject)
    intercept = pb.InterceptRequest(
        phase=interceptor_pb2.PHASE_REQUEST, subject=asked.subject, tool_call=asked.tool_call
    )
    denials = [
        service.authorize(asked).denial,
        service.batch(asked).results[0].response.denial,
        service.decision.Decide(
            pb.DecideRequest(subject=asked.subject, tool_call=asked.tool_call), timeout=TIMEOUT_SECONDS
        ).denial,
        service.decision.Intercept(intercept, timeout=TIMEOUT_SECONDS).denial,
        service.decision.FilterTools(listed, timeout=TIMEOUT_SECONDS).hidden[0].denial,
    ]
    assert {denial.code for denial in denials} == {decision_pb2.DENIAL_CODE_INVALID_TOKEN}
    assert {denial.message for denial in denials} == {"the token does not establish who is asking"}


def test_lists_are_the_subjects(service: Service, key: Signer) -> None:
    """A tool list is that of the token's subject, groups, attributes and whom it acts for included."""

    def listed(text: str) -> list[str]:
        tools = [pb.ListedTool(name=name) for name in ("read", "write", "act")]
        asked = pb.FilterToolsRequest(server="srv", tools=tools, subject=decision_pb2.Subject(token=text))
        return list(service.decision.FilterTools(asked, timeout=TIMEOUT_SECONDS).allowed)

    assert listed(token(key)) == []
    assert listed(token(key, groups=["staff"])) == ["read"]
    assert listed(token(key, groups=["staff"], level=5)) == ["read", "write"]
    assert listed(token(key, issuer=AGENTS, groups=["staff"], act={"sub": "bot"})) == ["act"]
    assert listed(token(key, issuer=AGENTS, groups=["other"], act={"sub": "bot"})) == []


def test_the_record_says_who(service: Service, key: Signer) -> None:
    """The log names the subject of a token and never the token."""
    text = token(key, "carol", issuer=AGENTS, groups=["staff"], act={"sub": "bot"})
    answer = authorize(service, "act", text)
    record = service.record_of(answer.decision_id)
    assert record["subject"] == {"type": "Agent", "id": "bot"}
    assert record["on_behalf_of"] == {"type": "User", "id": "carol"}
    assert text.encode() not in service.log.read_bytes()
    assert text.split(".")[1].encode() not in service.log.read_bytes()


# --- for somebody ----------------------------------------------------------------------------------------------------


def acting(key: Signer, agent: str, groups: list[str]) -> str:
    """The token of an agent that acts for somebody in these groups."""
    return token(key, "dave", issuer=AGENTS, groups=groups, act={"sub": agent})


def test_both_have_to_be_allowed(service: Service, key: Signer) -> None:
    """A policy can ask for the agent's groups and for those of the user that it acts for."""
    assert policies(authorize(service, "act", acting(key, "bot", ["staff"]))) == ["both"]
    assert authorize(service, "act", acting(key, "bot", ["guests"])).decision == DENY
    assert authorize(service, "act", acting(key, "stranger", ["staff"])).decision == DENY
    # The agent has nothing of the user's for itself.
    assert authorize(service, "read", acting(key, "bot", ["staff"])).decision == DENY


def test_a_trusted_caller_can_name_both(service: Service) -> None:
    """A caller that names the entity can name whom it acts for; the bundle's facts about both count."""
    staff = {"uid": {"type": "User", "id": "erin"}, "attrs": {}, "parents": [{"type": "Group", "id": "staff"}]}
    pair = {"entity": {"type": "Agent", "id": "bot"}, "on_behalf_of": {"type": "User", "id": "erin"}}
    known = json.dumps([staff]).encode()
    assert policies(service.authorize(request("act", pair, entities_json=known))) == ["both"]
    assert service.authorize(request("act", pair)).decision == DENY
    assert service.authorize(request("act", {"entity": pair["entity"]}, entities_json=known)).decision == DENY


BOT = {"type": "Agent", "id": "b"}


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        ({"token": "x", "on_behalf_of": {"type": "User", "id": "u"}}, "subject.on_behalf_of"),
        ({"entity": BOT, "on_behalf_of": {"type": "User"}}, "subject.on_behalf_of.id"),
        ({"entity": BOT, "on_behalf_of": {"type": "U V", "id": "u"}}, "subject.on_behalf_of.type"),
        ({"entity": BOT, "on_behalf_of": {"type": "Group", "id": "g"}}, "subject.on_behalf_of.type"),
    ],
)
def test_a_malformed_pair_names_its_field(service: Service, subject: dict[str, Any], field: str) -> None:
    """What is wrong with whom the subject acts for is the caller's mistake."""
    error = failure(service.decision.Authorize, request("act", subject))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(error).metadata["field"] == field


def test_callers_cannot_state_it_themselves(service: Service) -> None:
    """`on_behalf_of` in a caller's context is refused: only the subject says for whom it acts."""
    context = b'{"on_behalf_of":{"__entity":{"type":"User","id":"local"}}}'
    error = failure(
        service.decision.Authorize, request("act", {"entity": {"type": "Agent", "id": "bot"}}, context_json=context)
    )
    assert error_info(error).metadata["field"] == "context_json"


def test_decide_knows_both(service: Service, key: Signer) -> None:
    """Both layers see the subject and whom it acts for."""
    asked = request("act", {"token": acting(key, "bot", ["staff"])})
    answer = service.decision.Decide(
        pb.DecideRequest(subject=asked.subject, tool_call=asked.tool_call), timeout=TIMEOUT_SECONDS
    )
    assert policies(answer) == ["both"]


# --- the keys --------------------------------------------------------------------------------------------------------


def test_missing_keys_degrade(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A service whose issuer's keys cannot be read serves, refuses its tokens, and says why."""
    directory = tmp_path_factory.mktemp("missing")
    issuer = {"issuer": PEOPLE, "jwks_file": str(directory / "none"), "audiences": ["a"], "principal_type": "User"}
    with serving(directory, FILES, identity={"issuer": [issuer]}) as service:
        status = service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)
        assert status.state == admin_service_pb2.SERVICE_STATE_DEGRADED
        assert any(PEOPLE in reason for reason in status.degraded_reasons)
        assert service.authorize(request("read", {"entity": {"type": "User", "id": "local"}})).decision == DENY
