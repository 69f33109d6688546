"""Claims to subjects: types, ids, groups, attributes, tags, and who acts for whom."""

from __future__ import annotations

from typing import Any

import pytest

from pdp.cedar.model import EntityUid
from pdp.errors import InvalidTokenError
from pdp.identity.claim_paths import ABSENT, claim_path, find_claim
from pdp.identity.config import IssuerConfig
from pdp.identity.subject_mapping import MappedSubject, SubjectMapping
from tests.unit.identity.making import ISSUER, claims, issuer


def _read(given: dict[str, Any], **configured: Any) -> MappedSubject:
    return SubjectMapping(IssuerConfig.model_validate(issuer(**configured))).read(given)


def _refusal(given: dict[str, Any], **configured: Any) -> str:
    with pytest.raises(InvalidTokenError) as caught:
        _read(given, **configured)
    return str(caught.value)


# --- where claims are ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sub", ("sub",)),
        ("https://example.com/roles", ("https://example.com/roles",)),
        ("cognito:groups", ("cognito:groups",)),
        ("a.b~c", ("a.b~c",)),
        ("/realm_access/roles", ("realm_access", "roles")),
        ("/a~1b/c~0d/~01", ("a/b", "c~d", "~1")),
        ("/", ("",)),
    ],
)
def test_paths(text: str, path: tuple[str, ...]) -> None:
    """A name is taken as it is, a text that begins with `/` as a JSON Pointer."""
    assert claim_path(text) == path


@pytest.mark.parametrize("text", ["", "/a~b", "/~", "/a~2"])
def test_what_is_no_path(text: str) -> None:
    """No text, and pointers with stray tildes, are mistakes."""
    with pytest.raises(ValueError, match=r"a claim has a name|is not a JSON Pointer"):
        claim_path(text)


def test_claims_are_found() -> None:
    """A claim is found by its path; null is a value, what is absent is not, and arrays and texts are not entered."""
    given = {"a": {"b": {"": 1}, "n": None}, "a/b": 2, "l": [{"x": 1}], "t": "text"}
    assert find_claim(given, ("a", "b", "")) == 1
    assert find_claim(given, ("a/b",)) == 2
    assert find_claim(given, ("a", "n")) is None
    assert find_claim(given, ("a", "x")) is ABSENT
    assert find_claim(given, ("x", "y")) is ABSENT
    for path in (("l", "0"), ("l", "x"), ("t", "0"), ("a", "n", "x")):
        with pytest.raises(InvalidTokenError):
            find_claim(given, path)


# --- one entity ------------------------------------------------------------------------------------------------------


def test_types_and_ids() -> None:
    """The principal has the configured type and the id of the configured claim, character by character."""
    subject = _read({"sub": "x", "azp": 'Å"\\\0 é'}, principal_type="Acme::Agent", principal_claim="azp")
    assert subject.principal.uid == EntityUid("Acme::Agent", 'Å"\\\0 é')
    assert subject.on_behalf_of is None


@pytest.mark.parametrize("name", [None, "", 1, True, ["alice"], {"id": "alice"}])
def test_ids_are_text(name: Any) -> None:
    """A claim for the id that is missing, empty or no string is refused."""
    assert "claim `sub`" in _refusal({"sub": name})
    assert "claim `sub`" in _refusal({})
    assert "claim `/user/name`" in _refusal({"user": {"name": name}}, principal_claim="/user/name")


GROUPS = {"groups_claim": "/realm/roles", "group_type": "Group"}


def test_groups_are_parents() -> None:
    """Groups are parents of the configured type, each once and in order; without the claim there are none."""
    form = _read({"sub": "a", "realm": {"roles": ["b", "a", "b"]}}, **GROUPS).principal.form
    assert form["parents"] == [{"type": "Group", "id": "a"}, {"type": "Group", "id": "b"}]
    for given in ({"sub": "a"}, {"sub": "a", "realm": {}}, {"sub": "a", "realm": {"roles": []}}):
        assert _read(given, **GROUPS).principal.form["parents"] == []


@pytest.mark.parametrize("groups", [None, "admins", 1, {"a": "b"}, ["a", 1], ["a", None], ["a", ["b"]], [""], [True]])
def test_groups_are_texts(groups: Any) -> None:
    """A claim for groups that is no array of strings is refused: leaving some out could leave out a prohibition."""
    assert "realm/roles" in _refusal({"sub": "a", "realm": {"roles": groups}}, **GROUPS)


FACTS = {
    "text": "String",
    "number": "Long",
    "flag": "Bool",
    "share": "decimal",
    "net": "ipaddr",
    "day": "datetime",
    "span": "duration",
    "labels": "Set<String>",
    "first": {"claim": "/name/given", "type": "String"},
    "https://example.com/team": "String",
}
GIVEN = {
    "sub": "a",
    "text": '{"__entity": 1}',
    "number": 7,
    "flag": False,
    "share": 12,
    "net": "10.0.0.0/8",
    "day": "2026-01-31",
    "span": "1h",
    "labels": ["x", "y"],
    "name": {"given": "Ada"},
    "https://example.com/team": "core",
    "unmapped": {"__entity": {"type": "Role", "id": "admin"}},
}


@pytest.mark.parametrize(("place", "part"), [("attributes", "attrs"), ("tags", "tags")])
def test_facts_are_typed(place: str, part: str) -> None:
    """Chosen claims become attributes or tags of their types, in explicit Cedar JSON; others are not looked at."""
    form = _read(GIVEN, **{place: FACTS}).principal.form
    assert form[part] == {
        "text": '{"__entity": 1}',
        "number": 7,
        "flag": False,
        "share": {"__extn": {"fn": "decimal", "arg": "12.0"}},
        "net": {"__extn": {"fn": "ip", "arg": "10.0.0.0/8"}},
        "day": {"__extn": {"fn": "datetime", "arg": "2026-01-31"}},
        "span": {"__extn": {"fn": "duration", "arg": "1h"}},
        "labels": ["x", "y"],
        "first": "Ada",
        "https://example.com/team": "core",
    }
    assert form["tags" if part == "attrs" else "attrs"] == {}
    assert _read({"sub": "a"}, **{place: FACTS}).principal.form[part] == {}


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("String", 1),
        ("String", None),
        ("String", ["a"]),
        ("String", {"__entity": {"type": "Role", "id": "admin"}}),
        ("Long", "1"),
        ("Long", True),
        ("Bool", 1),
        ("Bool", "true"),
        ("ipaddr", "10.0.0.256"),
        ("Set<String>", "a"),
        ("Set<String>", ["a", 1]),
        ("Set<Long>", [None]),
        ("decimal", "1.0"),
    ],
)
def test_facts_of_other_types_are_refused(type_: str, value: Any) -> None:
    """A claim of another type than the configured one is refused, not left out and not converted."""
    assert "claim `x`" in _refusal({"sub": "a", "x": value}, attributes={"x": type_})
    assert "claim `x`" in _refusal({"sub": "a", "x": value}, tags={"x": type_})


def test_scopes_are_words() -> None:
    """A string of words can become a set of them."""
    scopes = {"scopes": {"claim": "scope", "type": "Set<String>", "space_separated": True}}
    assert _read({"sub": "a", "scope": " read  write read"}, attributes=scopes).principal.form["attrs"] == {
        "scopes": ["read", "write"]
    }
    assert _read({"sub": "a", "scope": ""}, attributes=scopes).principal.form["attrs"] == {"scopes": []}
    assert "claim `scope`" in _refusal({"sub": "a", "scope": ["read"]}, attributes=scopes)


@pytest.mark.parametrize("name", ["sub", "groups", "team", "label"])
def test_claims_kept_elsewhere_are_refused(name: str) -> None:
    """A token that says a mapped claim is to be had at another place is refused; for unmapped claims it may."""
    configured: dict[str, Any] = {
        "groups_claim": "groups",
        "group_type": "Group",
        "attributes": {"x": {"claim": "/team/name", "type": "String"}},
        "tags": {"label": "String"},
    }
    given = {"sub": "a", "_claim_names": {name: "src1"}, "_claim_sources": {"src1": {"endpoint": "http://x/"}}}
    assert f"`{name}`" in _refusal(given, **configured)
    given["_claim_names"] = {"other": "src1"}
    assert _read(given, **configured).principal.uid.id == "a"
    given["_claim_names"] = [name]
    assert "`_claim_names`" in _refusal(given, **configured)


# --- who acts for whom -----------------------------------------------------------------------------------------------

BY_ACT: dict[str, Any] = {
    "principal_type": "Agent",
    "groups_claim": "fleets",
    "group_type": "Fleet",
    "attributes": {"model": "String"},
    "on_behalf_of": {
        "source": "act",
        "user_type": "User",
        "groups_claim": "groups",
        "group_type": "Team",
        "attributes": {"email": "String"},
        "tags": {"model": "String"},
    },
}


def _act(actor: Any, **more: Any) -> dict[str, Any]:
    return claims(act=actor, email="alice@example.com", groups=["staff"], fleets=["wrong"], model="of-alice", **more)


def test_the_actor_asks_for_the_subject() -> None:
    """With `act` (RFC 8693) the actor is the principal and the token's subject the user; each has its own claims."""
    subject = _read(_act({"sub": "bot", "fleets": ["blue"], "model": "m1", "groups": ["admins"]}), **BY_ACT)
    assert subject.principal.form == {
        "uid": {"type": "Agent", "id": "bot"},
        "attrs": {"model": "m1"},
        "tags": {},
        "parents": [{"type": "Fleet", "id": "blue"}],
    }
    assert subject.on_behalf_of is not None
    assert subject.on_behalf_of.form == {
        "uid": {"type": "User", "id": "alice"},
        "attrs": {"email": "alice@example.com"},
        "tags": {"model": "of-alice"},
        "parents": [{"type": "Team", "id": "staff"}],
    }


def test_former_actors_decide_nothing() -> None:
    """Actors within the actor came before: the outermost asks, the token's subject is the user."""
    chain = {"sub": "bot", "act": {"sub": "former", "act": {"sub": "first", "groups": ["admins"]}}}
    subject = _read(_act(chain), **BY_ACT)
    assert subject.on_behalf_of is not None
    assert (subject.principal.uid.id, subject.on_behalf_of.uid.id) == ("bot", "alice")
    assert subject.principal.form["parents"] == []


def _chain(length: int) -> dict[str, Any]:
    actor: dict[str, Any] = {"sub": f"bot-{length}"}
    for number in range(length - 1, 0, -1):
        actor = {"sub": f"bot-{number}", "act": actor}
    return actor


def test_chains_are_bounded() -> None:
    """Eight actors are taken, nine refused."""
    assert _read(_act(_chain(8)), **BY_ACT).principal.uid.id == "bot-1"
    assert "more than 8 actors" in _refusal(_act(_chain(9)), **BY_ACT)


@pytest.mark.parametrize(
    "actor",
    [None, "bot", [], ["bot"], {}, {"sub": ""}, {"sub": 1}, {"sub": "bot", "act": None}, {"sub": "b", "act": "x"}],
)
def test_broken_actors_are_refused(actor: Any) -> None:
    """An `act` that is no object, or names nobody, is refused, at any depth."""
    given = {**_act({}), "act": actor}
    assert "claim `" in _refusal(given, **BY_ACT)


def test_actors_of_other_issuers_are_refused() -> None:
    """An actor whose id comes from another issuer is refused: among ours it would be somebody else's."""
    assert _read(_act({"sub": "bot", "iss": ISSUER}), **BY_ACT).principal.uid.id == "bot"
    for other in ("https://other.example.com/", None, 1):
        assert "another issuer" in _refusal({**_act({}), "act": {"sub": "bot", "iss": other}}, **BY_ACT)


def test_users_in_person() -> None:
    """Without `act` a token is refused, unless that is configured; then the user is the principal."""
    given = claims(email="alice@example.com", groups=["staff"])
    assert "`act` is missing" in _refusal(given, **BY_ACT)
    optional = {**BY_ACT, "on_behalf_of": {**BY_ACT["on_behalf_of"], "required": False}}
    subject = _read(given, **optional)
    assert subject.on_behalf_of is None
    assert subject.principal.form["uid"] == {"type": "User", "id": "alice"}
    assert subject.principal.form["parents"] == [{"type": "Team", "id": "staff"}]
    assert subject.principal.form["attrs"] == {"email": "alice@example.com"}


PAIR: dict[str, Any] = {
    "principal_type": "Agent",
    "principal_claim": "azp",
    "on_behalf_of": {"source": "claims", "user_type": "User", "groups_claim": "groups", "group_type": "Team"},
}


def test_pairs_of_claims() -> None:
    """An agent and a user can be named by two claims; the groups are the user's."""
    subject = _read(claims(azp="bot", groups=["staff"]), **PAIR)
    assert subject.principal.form == {"uid": {"type": "Agent", "id": "bot"}, "attrs": {}, "tags": {}, "parents": []}
    assert subject.on_behalf_of is not None
    assert subject.on_behalf_of.uid == EntityUid("User", "alice")
    assert subject.on_behalf_of.form["parents"] == [{"type": "Team", "id": "staff"}]


def test_half_a_pair() -> None:
    """A pair of which the agent is missing is refused; without a user the agent asks for itself if that is allowed."""
    optional = {**PAIR, "on_behalf_of": {**PAIR["on_behalf_of"], "required": False}}
    for configured in (PAIR, optional):
        assert "claim `azp`" in _refusal(claims(), **configured)
        assert "claim `sub`" in _refusal({**claims(azp="bot"), "sub": ""}, **configured)
    assert "claim `sub`" in _refusal(claims(azp="bot", sub=None), **PAIR)
    alone = _read(claims(azp="bot", sub=None, groups=["staff"]), **optional)
    assert alone.on_behalf_of is None
    assert alone.principal.form["parents"] == []


@pytest.mark.parametrize("configured", [{}, PAIR])
def test_delegation_is_not_overlooked(configured: dict[str, Any]) -> None:
    """A token with an actor is refused where actors are not configured: the agent would have all the user's rights."""
    assert "`act`" in _refusal(claims(act={"sub": "bot"}, azp="bot"), **configured)
    assert "`act`" in _refusal({**claims(azp="bot"), "act": None}, **configured)


def test_nobody_acts_for_itself() -> None:
    """An agent and a user that are the same entity are refused; equal ids of different types are two."""
    same = {**PAIR, "principal_type": "User", "on_behalf_of": {"source": "claims", "user_type": "User"}}
    assert "act for itself" in _refusal(claims(azp="alice"), **same)
    assert _read(claims(azp="bot"), **same).principal.uid.id == "bot"
    assert _read(claims(azp="alice"), **PAIR).principal.uid == EntityUid("Agent", "alice")
