"""`[identity]`: what may be configured, and what is a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdp.cli.config import toml_text
from pdp.config import Config, load_config
from pdp.errors import ConfigError
from pdp.identity.config import IdentityConfig, IssuerConfig
from tests.unit.identity.making import issuer

SECOND = "https://other.example.com/"


def _problems(*issuers: Any, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {}, {"identity": {"issuer": list(issuers), **more}})
    return list(caught.value.problems)


def _issuer(**more: Any) -> IssuerConfig:
    return load_config(None, {}, {"identity": {"issuer": [issuer(**more)]}}).identity.issuer[0]


FULL = """
[identity]
clock_skew_seconds = 30

[[identity.issuer]]
issuer = "https://login.example.com/"
jwks_url = "https://login.example.com/keys"
algorithms = ["RS256", "ES256"]
audiences = ["https://tools.example.com"]
token_types = ["at+jwt"]
principal_type = "Agent"

[identity.issuer.attributes]
model = "String"
scopes = { claim = "scope", type = "Set<String>", space_separated = true }

[identity.issuer.on_behalf_of]
source = "act"
user_type = "User"
groups_claim = "/realm_access/roles"
group_type = "Role"
tags = { team = "String" }

[[identity.issuer]]
issuer = "ci"
jwks_file = "keys.json"
allow_any_audience = true
principal_type = "Job"
"""


def test_a_file(tmp_path: Path) -> None:
    """A file with several issuers is read, and what `pdp config` prints of it means the same."""
    (tmp_path / "pdp.toml").write_text(FULL)
    config = load_config(tmp_path / "pdp.toml", {})
    first, second = config.identity.issuer
    assert first.attributes["model"].claim == "model"
    assert first.attributes["scopes"].claim == "scope"
    assert first.on_behalf_of is not None
    assert first.on_behalf_of.tags["team"].type == "String"
    assert (second.algorithms, second.principal_claim, second.on_behalf_of) == (("RS256",), "sub", None)
    (tmp_path / "printed.toml").write_text(toml_text(config))
    assert load_config(tmp_path / "printed.toml", {}) == config


def test_the_environment() -> None:
    """Keys of the section come from the environment, the issuers too, in TOML's notation."""
    text = "[{issuer = 'x', jwks_file = 'k', audiences = ['a'], principal_type = 'User'}]"
    environ = {"PDP_IDENTITY__CLOCK_SKEW_SECONDS": "7", "PDP_IDENTITY__ISSUER": text}
    identity = load_config(None, environ).identity
    assert (identity.clock_skew_seconds, identity.issuer[0].issuer) == (7, "x")


def test_defaults_are_safe() -> None:
    """Without configuration nobody is believed, and an issuer's tokens must be for us, short-lived keys and all."""
    assert Config().identity == IdentityConfig()
    assert IdentityConfig().issuer == ()
    usual = _issuer()
    assert not usual.allow_any_audience
    assert not usual.allow_insecure_jwks_url
    assert usual.algorithms == ("RS256",)


def test_all_mistakes_come_at_once() -> None:
    """Mistakes of all issuers are reported together, with the way to each."""
    found = _problems(
        issuer(algorithms=["none"], principal_type="Action", nope=1),
        issuer(issuer="", audiences=[], attributes={"x": "Strin", "__entity": "String"}),
        issuer(on_behalf_of={"source": "azp", "user_claim": "/~", "required": "perhaps"}),
        clock_skew_seconds=301,
    )
    beginnings = [
        "`identity.clock_skew_seconds`",
        "`identity.issuer.0.algorithms.0` is `none`",
        "`identity.issuer.0.algorithms`: ",
        "`identity.issuer.0.principal_type`: `Action` is the type of actions",
        "`identity.issuer.0.nope` is not a configuration key",
        "`identity.issuer.1.issuer`",
        "`identity.issuer.1.attributes.x.type`: `Strin` is not a type",
        "`identity.issuer.1.attributes.__entity`: `__entity` has a meaning of its own",
        "`identity.issuer.2.on_behalf_of.source` is `azp`",
        "`identity.issuer.2.on_behalf_of.user_type`",
        "`identity.issuer.2.on_behalf_of.user_claim`: `/~` is not a JSON Pointer",
        "`identity.issuer.2.on_behalf_of.required` is `perhaps`",
    ]
    assert len(found) == len(beginnings), found
    for beginning in beginnings:
        assert [problem for problem in found if problem.startswith(beginning)], (beginning, found)


@pytest.mark.parametrize("name", ["none", "None", "HS256", "HS384", "HS512", "RSA-OAEP", "ES256K", "rs256", ""])
def test_unsafe_algorithms_cannot_be_allowed(name: str) -> None:
    """No configuration allows unsigned tokens, or such that whoever checks them could have made."""
    assert "`identity.issuer.0.algorithms.0`" in _problems(issuer(algorithms=[name]))[0]
    assert "`identity.issuer.0.algorithms`" in _problems(issuer(algorithms=[]))[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jwks_file": None}, "give either `jwks_url` or `jwks_file`"),
        ({"jwks_url": "https://x/keys"}, "give either `jwks_url` or `jwks_file`"),
        ({"jwks_file": ""}, "at least 1 character"),
        ({"jwks_file": "a\0b"}, "should match pattern"),
        ({"allow_insecure_jwks_url": True}, "go with `jwks_url`"),
        ({"jwks_ca_file": "ca.pem"}, "go with `jwks_url`"),
        ({"audiences": []}, "`audiences` is empty"),
        ({"audiences": [""]}, "at least 1 character"),
        ({"allow_any_audience": True}, "exclude each other"),
        ({"token_types": []}, "at least 1 item"),
        ({"token_types": ["a b"]}, "should match pattern"),
        ({"principal_type": "No Type"}, "`No Type` is not a Cedar entity type"),
        ({"principal_type": "Acme::Action"}, "is the type of actions"),
        ({"principal_type": None}, "valid string"),
        ({"principal_claim": ""}, "a claim has a name"),
        ({"groups_claim": "groups"}, "go together"),
        ({"group_type": "Group"}, "go together"),
        ({"groups_claim": "g", "group_type": "User"}, "both a type of groups and of who asks"),
        ({"attributes": {"": "String"}}, "at least 1 character"),
        ({"attributes": {"x": {"claim": "y"}}}, "field required"),
        ({"attributes": {"x": {"claim": "y", "type": "String", "space_separated": True}}}, "goes with the type"),
        ({"attributes": {"x": 1}}, "valid dictionary"),
        ({"tags": ["x"]}, "valid dictionary"),
    ],
)
def test_mistakes_of_an_issuer(changes: dict[str, Any], message: str) -> None:
    """What is contradictory, missing, empty or unsafe is a mistake that says what to do."""
    assert message in _problems(issuer(**changes))[0]


@pytest.mark.parametrize(
    "url",
    [
        *("", "keys", "/keys", "ftp://x/keys", "file:///etc/passwd", "https://", "https:///keys", "https://:443/keys"),
        *("https://user@x/keys", "https://a:b@x/keys", "https://x/keys#k", "https://x/ke ys", "https://x/\r\nHost: y"),
        *("https://x:0/", "https://x:65536/", "https://x:port/", "https://[::1/", "https://ex\u00e4mple/", "HTTPS//x"),
        *("http://x/keys", "http://127.0.0.1/keys", "HTTP://localhost/keys"),
    ],
)
def test_key_addresses_are_of_the_web_with_tls(url: str) -> None:
    """An address of keys has TLS and a host, and neither a user nor a fragment."""
    [problem] = _problems(issuer(jwks_file=None, jwks_url=url))
    assert "jwks_url" in problem


def test_key_addresses_without_tls_need_a_word() -> None:
    """Only by its name can an address without TLS be allowed."""
    for url in ("https://x/", "https://x:8443/keys?a=b", "https://[::1]:1/", "HTTPS://X/"):
        assert _issuer(jwks_file=None, jwks_url=url).jwks_url == url
    assert _issuer(jwks_file=None, jwks_url="http://x/", allow_insecure_jwks_url=True).jwks_url == "http://x/"
    [problem] = _problems(issuer(jwks_file=None, jwks_url="ftp://x/", allow_insecure_jwks_url=True))
    assert "is not an address" in problem


def test_issuers_do_not_share_names() -> None:
    """An issuer given twice is a mistake, and so are entity types of several issuers unless that is allowed."""
    assert "is given twice" in _problems(issuer(), issuer(principal_type="Agent"))[0]
    shared = [issuer(), issuer(issuer=SECOND)]
    [problem] = _problems(*shared)
    assert problem.startswith("`identity`: `User` is a type of several issuers")
    assert len(IdentityConfig.model_validate({"issuer": shared, "allow_shared_entity_types": True}).issuer) == 2


@pytest.mark.parametrize(
    "second",
    [
        {"groups_claim": "g", "group_type": "Group", "principal_type": "Agent"},
        {"principal_type": "Agent", "on_behalf_of": {"source": "act", "user_type": "User"}},
    ],
)
def test_types_of_groups_and_users_are_not_shared_either(second: dict[str, Any]) -> None:
    """Groups and users of one issuer are not for another one to name."""
    first = issuer(groups_claim="g", group_type="Group")
    assert "of several issuers" in _problems(first, issuer(issuer=SECOND, **second))[0]


def test_a_user_is_no_group() -> None:
    """A type of groups is never one of who asks, of any issuer: somebody could be called like a group."""
    first, second = issuer(groups_claim="g", group_type="Team"), issuer(issuer=SECOND, principal_type="Team")
    for allowed in (True, False):
        assert "`Team` is both" in _problems(first, second, allow_shared_entity_types=allowed)[0]


def test_times_are_in_order() -> None:
    """Retries are not rarer than refreshes, and keys do not grow stale before they are read again."""
    assert "must not decrease" in _problems(jwks_retry_seconds=301)[0]
    assert "must not decrease" in _problems(jwks_refresh_seconds=21_601)[0]
    assert "must not decrease" in _problems(jwks_max_stale_seconds=299)[0]


@pytest.mark.parametrize("value", ["x", [1], [[]], 1, {"issuer": "x"}])
def test_issuers_are_tables(value: Any) -> None:
    """Something else in the place of the issuers is told with how to write them."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, {}, {"identity": {"issuer": value}})
    [problem] = caught.value.problems
    assert problem.startswith("`identity.issuer")
    assert "`[[identity.issuer]]`" in problem
