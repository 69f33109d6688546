"""Tokens are believed if their issuer signed them, for us and for now, and not otherwise."""

from __future__ import annotations

import hmac
import itertools
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.cedar.model import EntityUid
from pdp.errors import InvalidTokenError
from pdp.identity.algorithms import ALGORITHMS_OF_KEYS
from pdp.identity.jwks import read_key_set
from pdp.identity.keys import KeyRing
from pdp.identity.tokens import TokenVerifier
from tests.unit.identity.making import (
    AUDIENCE,
    ISSUER,
    NOW,
    as_json,
    claims,
    config,
    encoded,
    issuer,
    key_set,
    service,
    signer,
)

OTHER = "https://other.example.com/"
EVERY_ALGORITHM = sorted(set().union(*ALGORITHMS_OF_KEYS.values()))


def _spliced(token: str, *, header: Any = None, payload: Any = None, signature: bytes | None = None) -> str:
    """The token with parts replaced, the rest as it was."""
    parts = token.split(".")
    for place, part in enumerate((header, payload)):
        parts[place] = encoded(as_json(part)) if part is not None else parts[place]
    parts[2] = encoded(signature) if signature is not None else parts[2]
    return ".".join(parts)


# --- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", EVERY_ALGORITHM)
def test_every_algorithm_works(algorithm: str) -> None:
    """A token that was signed with an allowed algorithm by a published key establishes its subject."""
    key = signer(f"key-{algorithm[:2]}", algorithm)
    at = service(config(issuer(algorithms=[algorithm])), {ISSUER: [key]})
    subject = at.verify(key.token(claims()))
    assert subject.principal == EntityUid("User", "alice")
    assert subject.on_behalf_of is None
    assert subject.issuer == ISSUER
    assert subject.expires_at == NOW + 600
    assert subject.entities == ({"uid": {"type": "User", "id": "alice"}, "attrs": {}, "tags": {}, "parents": []},)


def test_issuers_are_kept_apart() -> None:
    """Each issuer's tokens are checked with its own keys, rules and mapping."""
    ours, theirs = signer("k1"), signer("k2", "ES256")
    second = issuer(issuer=OTHER, algorithms=["ES256"], audiences=["them"], principal_type="Agent")
    at = service(config(issuer(), second), {ISSUER: [ours], OTHER: [theirs]})
    assert at.verify(ours.token(claims())).principal == EntityUid("User", "alice")
    assert at.verify(theirs.token(claims(iss=OTHER, aud="them"))).principal == EntityUid("Agent", "alice")
    at.refusal(ours.token(claims(iss=OTHER, aud="them")))
    at.refusal(theirs.token(claims()))


def test_no_issuer_believes_nothing() -> None:
    """Without an issuer every token is refused."""
    verifier = TokenVerifier(config().model_copy(update={"issuer": ()}), KeyRing({}, 1.0, lambda *_: None))
    with pytest.raises(InvalidTokenError):
        verifier.verify(signer().token(claims()), NOW)


# --- attacks on the signature ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "none\0", " none"])
def test_unsigned_tokens_are_refused(name: str) -> None:
    """`none`, however it is spelled, is nobody's algorithm, with and without a signature."""
    at = service()
    good = signer().token(claims())
    for signature in (b"", b"x", None):
        forged = _spliced(good, header={"alg": name, "kid": "k1"}, signature=signature)
        at.refusal(forged)
        at.refusal(forged.rpartition(".")[0] + ".")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """A token that was signed with the issuer's public key as an HMAC secret, in any of its forms, is refused."""
    at = service()
    public = signer().private.public_key()
    secrets = [
        public.public_bytes(coding, form)
        for coding, form in (
            (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            (Encoding.PEM, PublicFormat.PKCS1),
            (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            (Encoding.DER, PublicFormat.PKCS1),
        )
    ]
    secrets += [as_json(signer().jwk()), signer().jwk()["n"].encode(), b""]
    for secret in secrets:
        message = f"{encoded(as_json({'alg': algorithm, 'kid': 'k1'}))}.{encoded(as_json(claims()))}"
        signature = hmac.digest(secret, message.encode(), f"sha{algorithm[2:]}")
        assert "algorithm" in at.refusal(f"{message}.{encoded(signature)}")


@pytest.mark.parametrize(
    ("allowed", "used"),
    [pair for pair in itertools.product(["RS256", "PS256", "ES256", "EdDSA"], EVERY_ALGORITHM) if pair[0] != pair[1]],
)
def test_other_algorithms_are_refused(allowed: str, used: str) -> None:
    """A token with an algorithm that its issuer is not allowed is refused, even if a published key could check it."""
    keys = {name: signer(f"key-{name[:2]}", name) for name in (allowed, used)}
    at = service(config(issuer(algorithms=[allowed])), {ISSUER: list(keys.values())})
    assert "algorithm" in at.refusal(keys[used].token(claims()))


def test_the_header_cannot_change_the_algorithm() -> None:
    """A signature of one allowed algorithm is none of another, with the same key."""
    key = signer("k1")
    at = service(config(issuer(algorithms=["RS256", "RS512", "PS256"])), {ISSUER: [key]})
    for name in ("RS512", "PS256"):
        assert "signature" in at.refusal(key.token(claims(), {"alg": name}))


def test_a_key_may_be_bound_to_an_algorithm() -> None:
    """A key that names its algorithm checks no other."""
    key = signer("k1")
    allowed = config(issuer(algorithms=["RS256", "PS256"]))
    at = service(allowed, {ISSUER: [key.jwk(alg="PS256")]})
    assert "no such key" in at.refusal(key.token(claims()))
    assert service(allowed, {ISSUER: [key.jwk(alg="RS256")]}).takes(key.token(claims()))


def test_changed_tokens_are_refused() -> None:
    """A token of which the header, the claims or the signature were changed is refused."""
    at = service()
    good = signer().token(claims())
    header = {"alg": "RS256", "kid": "k1"}
    signature = signer().signature(b"something else")
    for forged in (
        _spliced(good, payload=claims(sub="root")),
        _spliced(good, header=header),
        _spliced(good, signature=signature),
        _spliced(good, signature=b"\0" * 256),
        _spliced(good, signature=b"x"),
        _spliced(good, signature=b"x" * 5_000),
    ):
        assert "signature" in at.refusal(forged)


def test_zeros_sign_nothing() -> None:
    """The elliptic curve signatures that are all zeros, or all of the order, are refused."""
    key = signer("e1", "ES256")
    at = service(config(issuer(algorithms=["ES256"])), {ISSUER: [key]})
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    values = [0, 1, order, order - 1]
    for first, second in itertools.product(values, values):
        forged = first.to_bytes(32, "big") + second.to_bytes(32, "big")
        assert "signature" in at.refusal(_spliced(key.token(claims()), signature=forged))


def test_keys_of_strangers_are_refused() -> None:
    """A stranger's signature is refused, whichever published key the token names."""
    at = service(config(issuer(algorithms=["RS256", "ES256"])), {ISSUER: [signer("k1"), signer("e1", "ES256")]})
    stranger = signer("stranger")
    for key_id in ("k1", "e1", "stranger", "", "K1", "k1\0", "../k1", "k1' OR '1'='1", None):
        at.refusal(stranger.token(claims(), {"kid": key_id}))


@pytest.mark.parametrize("key_id", [1, 1.5, True, ["k1"], {"k1": 1}])
def test_key_ids_are_text(key_id: Any) -> None:
    """A `kid` that is no string is refused."""
    assert "kid" in service().refusal(signer().token(claims(), {"kid": key_id}))


def test_tokens_bring_no_keys() -> None:
    """Keys and addresses of keys in a token's header are never used: the stranger who put them there is refused."""
    at = service()
    stranger = signer("stranger")
    for more in (
        {"jwk": stranger.jwk()},
        {"jwk": stranger.jwk(kid="k1"), "kid": "k1"},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"x5c": ["MIIB"]},
    ):
        at.refusal(stranger.token(claims(), more))
    assert at.sources[ISSUER].reads == 1
    # They do no harm in a token of the issuer's own.
    assert at.takes(signer().token(claims(), {"jku": "http://127.0.0.1:1/", "x5c": ["MIIB"], "jwk": {}}))


def test_a_token_without_a_key_id_needs_a_single_key() -> None:
    """A token that names no key is checked if only one key can have signed it; which of several is not guessed."""
    first, second = signer("k1"), signer("k2")
    nameless = first.token(claims(), {"kid": None})
    assert service(published={ISSUER: [first]}).takes(nameless)
    assert "several keys" in service(published={ISSUER: [first, second]}).refusal(nameless)
    curves = config(issuer(algorithms=["RS256", "ES256"]))
    assert service(curves, {ISSUER: [first, signer("e1", "ES256")]}).takes(nameless)


def test_a_key_id_that_stands_for_two_keys_is_refused() -> None:
    """Two keys of one id and one algorithm check nothing; of different algorithms, each checks its own."""
    first, second = signer("k1"), signer("k2")
    at = service(published={ISSUER: [first, second.jwk(kid="k1")]})
    assert "several keys" in at.refusal(first.token(claims()))
    curve = signer("e1", "ES256")
    both = config(issuer(algorithms=["RS256", "ES256"]))
    at = service(both, {ISSUER: [first, curve.jwk(kid="k1")]})
    assert at.takes(first.token(claims()))
    assert at.takes(curve.token(claims(), {"kid": "k1"}))


# --- attacks on the form ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crit", "enc", "zip", "b64"])
@pytest.mark.parametrize("value", [["exp"], [], "A256GCM", True, None])
def test_headers_that_change_the_meaning_are_refused(name: str, value: Any) -> None:
    """A signed token whose header asks for encryption, compression or extensions is refused."""
    header = as_json({"alg": "RS256", "kid": "k1", name: value})
    assert f"`{name}`" in service().refusal(signer().token(claims(), header))


def test_encrypted_and_nested_tokens_are_refused() -> None:
    """Encrypted tokens and tokens in tokens are refused, signed or not."""
    at = service()
    good = signer().token(claims())
    assert "encrypted" in at.refusal("a.b.c.d.e")
    at.refusal(signer().token(good.encode()))
    for content in ("JWT", "jwt", "application/jwt", ["JWT"], None):
        header = as_json({"alg": "RS256", "kid": "k1", "cty": content})
        assert "`cty`" in at.refusal(signer().token(claims(), header))


def test_names_are_given_once() -> None:
    """A token in which a header or a claim stands twice, at any depth, is refused, though it is signed."""
    at = service()
    text = as_json(claims()).decode()
    for payload in (
        text.replace("{", '{"sub": "root", ', 1),
        text.replace("}", ', "sub": "root"}'),
        text.replace("}", ', "s\\u0075b": "root"}'),
        text.replace("}", ', "a": [{"b": 1, "b": 2}]}'),
    ):
        assert "twice" in at.refusal(signer().token(payload.encode()))
    for header in ('{"alg": "none", "alg": "RS256", "kid": "k1"}', '{"alg": "RS256", "kid": "k2", "kid": "k1"}'):
        assert "twice" in at.refusal(signer().token(claims(), header.encode()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"{",
        b'{"iss": NaN}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{}",
        b'{"iss": "\\ud800"}',
        b'{"a": ' * 1_000,
        b'{"iss": "a"} {"iss": "b"}',
    ],
)
def test_claims_are_one_strict_object(payload: bytes) -> None:
    """Claims that are not one well-formed JSON object are refused, though they are signed."""
    service().refusal(signer().token(payload))


def test_headers_are_strict_objects() -> None:
    """Headers that are not one well-formed JSON object, or name no algorithm, are refused."""
    at = service()
    for header in (b"", b"null", b"[]", b"{}", b'{"alg": null}', b'{"alg": ["RS256"]}', b'{"alg": {"RS256": 1}}', b"{"):
        at.refusal(signer().token(claims(), header))


def test_only_one_text_is_the_token() -> None:
    """Other texts that lenient readers take for the same token are refused: padding, blanks, the other alphabet."""
    at = service()
    good = signer().token(claims())
    header, payload, signature = good.split(".")
    assert at.takes(good)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    beside = signature[:-1] + last[last.index(signature[-1]) ^ 1]
    others = [f" {good}", f"{good} ", f"{good}\n", f"{good}=", f"{good}==", f"Bearer {good}", f"{good}.", f".{good}"]
    others += [f"{header}=.{payload}.{signature}", f"{header}.{payload}\n.{signature}", f"{header}.{payload}.{beside}"]
    others += [f"{header}..{signature}", f".{payload}.{signature}", f"{header}.{payload}.", f"{header}.{payload}", ""]
    others += [good.replace("A", "\uff21", 1), good + "\u200b", f"{header}\0.{payload}.{signature}", "é.é.é", "\ud800"]
    others += [signer().token(claims(), as_json({"alg": "RS256", "kid": "k1", "x": "??>>"})).replace("_", "/")]
    for other in others:
        if other != good:
            at.refusal(other)


def test_long_tokens_are_refused_unread() -> None:
    """A token beyond the limit is refused before anything of it is looked at, one at the limit is not."""
    long = signer().token(claims(padding="x" * 9_000))
    assert "longer than 8192" in service().refusal(long)
    assert service(config(issuer(), max_token_bytes=65_536)).takes(long)
    good = signer().token(claims())
    assert service(config(issuer(), max_token_bytes=len(good))).takes(good)
    assert "longer" in service(config(issuer(), max_token_bytes=len(good) - 1)).refusal(good)


# --- whose, for whom, until when -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(ISSUER[:-1], f"{ISSUER}/", ISSUER.upper(), ISSUER.replace("https", "http"), f" {ISSUER}", f"{ISSUER}\0"),
        *(
            ISSUER.replace("e", "\u0435"),
            ISSUER.replace("e", "e\u0301"),
            ISSUER.replace("l", "\uff4c"),
            f"{ISSUER}\u200b",
        ),
        *("", ISSUER.replace("example", "exam\u00adple"), ISSUER.replace(".", "\u3002"), ISSUER.replace("/", "\\/")),
        *([ISSUER], {"iss": ISSUER}, 1, True, None),
    ],
)
def test_issuers_are_named_exactly(name: Any) -> None:
    """An `iss` that only resembles an issuer's, or is no string, is nobody's, though an issuer's key signed it."""
    assert "issuer" in (found := service().refusal(signer().token(claims(iss=name)))) or "`iss`" in found


def test_the_same_text_in_escapes_is_the_same_issuer() -> None:
    """What counts is the name after JSON's escapes are read."""
    text = as_json(claims()).decode().replace("login", "\\u006cogin")
    assert service().verify(signer().token(text.encode())).issuer == ISSUER


@pytest.mark.parametrize(
    "audience",
    [
        *(None, "", "other", AUDIENCE.upper(), f"{AUDIENCE}/", AUDIENCE.replace("o", "\u043e")),
        *([], ["other"], [AUDIENCE, 1], [[AUDIENCE]], [None], 1, {"a": AUDIENCE}),
    ],
)
def test_tokens_for_others_are_refused(audience: Any) -> None:
    """A token for somebody else, for nobody, or with an `aud` of another form is refused."""
    assert "`aud`" in service().refusal(signer().token(claims(aud=audience)))


def test_one_audience_of_several_is_enough() -> None:
    """One of the token's audiences has to be one of ours; only by its name can that be turned off."""
    assert service().takes(signer().token(claims(aud=["other", AUDIENCE])))
    assert service(config(issuer(audiences=["x", AUDIENCE]))).takes(signer().token(claims()))
    open_to_all = service(config(issuer(audiences=[], allow_any_audience=True)))
    for audience in (None, "other", 1):
        assert open_to_all.takes(signer().token(claims(aud=audience)))


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"exp": NOW - 59}, True),
        ({"exp": NOW - 60}, False),
        ({"exp": NOW - 59.5}, True),
        ({"exp": NOW - 3_600}, False),
        ({"exp": None}, False),
        ({"nbf": NOW + 60}, True),
        ({"nbf": NOW + 61}, False),
        ({"iat": NOW + 60}, True),
        ({"iat": NOW + 61}, False),
        ({"nbf": None, "iat": None}, True),
        ({"nbf": NOW + 10, "exp": NOW + 5}, False),
        ({"exp": 0}, False),
        ({"exp": -1}, False),
        ({"exp": 253_402_300_799}, True),
        ({"exp": 253_402_300_800}, False),
        ({"nbf": -1}, False),
    ],
)
def test_times_are_kept(changes: dict[str, Any], taken: bool) -> None:
    """A token counts from `nbf` and `iat` until before `exp`, with the skew of 60 seconds; only `exp` is required."""
    times = {"iat": None, "nbf": None, **changes}
    token = signer().token(claims(**times))
    if taken:
        assert service().takes(token)
    else:
        service().refusal(token)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    ['"1900000000"', "true", "null", "[]", "{}", "1e400", "1e999999999", "-1e999999999", "9" * 400, "1e30", "-0.5"],
)
def test_times_are_numbers_of_a_calendar(name: str, value: str) -> None:
    """A time that is no number, or no time before the year 10000, is refused; huge numbers are not calculated with."""
    text = json.dumps({**claims(), name: "HERE"}).replace('"HERE"', value)
    assert f"`{name}`" in (found := service().refusal(signer().token(text.encode()))) or "exponent" in found


def test_tiny_numbers_are_times() -> None:
    """A time with an exponent of any size below is read for what it is."""
    text = json.dumps({**claims(), "nbf": "HERE"}).replace('"HERE"', "1e-99999")
    assert service().takes(signer().token(text.encode()))


def test_the_skew_is_configured() -> None:
    """The clock skew is what was configured."""
    exact = service(config(issuer(), clock_skew_seconds=0))
    assert "expired" in exact.refusal(signer().token(claims(exp=NOW)))
    assert "not valid yet" in exact.refusal(signer().token(claims(nbf=NOW + 1)))
    wide = service(config(issuer(), clock_skew_seconds=300))
    assert wide.takes(signer().token(claims(exp=NOW - 299, nbf=None, iat=None)))


@pytest.mark.parametrize(
    ("types", "given", "taken"),
    [
        (["JWT", "at+jwt"], None, True),
        (["JWT", "at+jwt"], "jwt", True),
        (["JWT", "at+jwt"], "application/at+jwt", True),
        (["JWT", "at+jwt"], "AT+JWT", True),
        (["JWT", "at+jwt"], "logout+jwt", False),
        (["JWT", "at+jwt"], "dpop+jwt", False),
        (["JWT", "at+jwt"], "secevent+jwt", False),
        (["JWT", "at+jwt"], "", False),
        (["at+jwt"], None, False),
        (["at+jwt"], "JWT", False),
        (["at+jwt"], "at+jwt", True),
        (["kb+jwt"], "KB+jwt", True),
        (["kb+jwt"], "\u212ab+jwt", False),
    ],
)
def test_tokens_are_of_a_kind(types: list[str], given: str | None, taken: bool) -> None:
    """A token of a kind that was not configured is refused; one that names no kind counts as `JWT`."""
    at = service(config(issuer(token_types=types)))
    token = signer().token(claims(), {"typ": given})
    if taken:
        assert at.takes(token)
    else:
        assert "`typ`" in at.refusal(token)


# --- keys that change, and what is remembered ------------------------------------------------------------------------


def test_rotation() -> None:
    """A new key works once it was read, an old one no longer once it was withdrawn, remembered tokens included."""
    old, new = signer("k1"), signer("k2")
    at = service(published={ISSUER: [old]})
    assert at.takes(old.token(claims()))
    assert "no such key" in at.refusal(new.token(claims()))
    at.publish(old, new)
    assert at.takes(old.token(claims()))
    assert at.takes(new.token(claims()))
    at.publish(new)
    assert "no such key" in at.refusal(old.token(claims()))
    assert at.takes(new.token(claims()))


def test_a_replaced_key_of_the_same_name_counts() -> None:
    """Another key under the old id ends what the old one signed, remembered tokens included."""
    old, new = signer("k1"), signer("k2")
    at = service(published={ISSUER: [old]})
    token = old.token(claims())
    assert at.takes(token)
    at.publish(new.jwk(kid="k1"))
    assert "signature" in at.refusal(token)


def test_an_emptied_key_set_believes_nothing() -> None:
    """An issuer that withdraws all of its keys withdraws all of its tokens."""
    at = service()
    token = signer().token(claims())
    assert at.takes(token)
    at.publish()
    assert "no such key" in at.refusal(token)


def test_stale_keys_are_not_used() -> None:
    """Keys that could not be read again for too long end everything they signed, remembered tokens included."""
    at = service()
    token = signer().token(claims())
    at.sources[ISSUER].document = None
    at.clock.now += 3_600
    at.keys[ISSUER].refresh()
    assert at.takes(token)
    at.clock.now += 1
    assert "there are no keys" in at.refusal(token)
    assert "no longer used" in at.keys[ISSUER].problems()[0]
    at.publish(signer())
    assert at.takes(token)


def test_remembered_tokens_expire() -> None:
    """A token that was verified before is refused once it has expired, and before it begins."""
    at = service()
    token = signer().token(claims())
    assert at.verify(token) is at.verify(token)
    assert "expired" in at.refusal(token, NOW + 660)
    assert at.takes(token)
    assert "not valid yet" in at.refusal(token, NOW - 100)


def test_nothing_is_remembered_without_a_cache() -> None:
    """With a cache of no size every token is verified anew."""
    at = service(config(issuer(), token_cache=0))
    token = signer().token(claims())
    assert at.verify(token) == at.verify(token)
    assert at.verify(token) is not at.verify(token)


def test_what_is_remembered_is_bounded() -> None:
    """However many tokens are verified, few are remembered."""
    at = service(config(issuer(algorithms=["EdDSA"]), token_cache=10), {ISSUER: [signer("ed", "EdDSA")]})
    for number in range(100):
        at.verify(signer("ed", "EdDSA").token(claims(sub=f"user-{number}")))
    assert len(at.verifier._verified) <= 12


def test_an_unknown_key_asks_for_a_read_once() -> None:
    """Tokens with unknown keys, however many, bring forward one read of the keys, and never wait for it."""
    at = service()
    schedule = at.keys[ISSUER]._schedule
    usual = schedule.due
    for number in range(100):
        at.refusal(signer("k2").token(claims(), {"kid": f"unknown-{number}"}))
    assert schedule.due == 1_005.0 < usual
    assert at.sources[ISSUER].reads == 1


# --- whatever the bytes ----------------------------------------------------------------------------------------------

AT = service()
GOOD = signer().token(claims())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "act", "_claim_names", "azp", "groups", "x"])


ANY_TEXT = st.text() | st.binary().map(lambda data: data.decode("latin-1"))
DOTTED = st.lists(st.text() | st.binary().map(encoded) | json_values.map(as_json).map(encoded), min_size=2, max_size=6)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT | DOTTED.map(".".join))
def test_no_text_does_anything_else(text: str) -> None:
    """Any text at all is refused as an invalid token, and as nothing else."""
    with pytest.raises(InvalidTokenError):
        AT.verify(text)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(GOOD) - 1), character=st.characters() | st.sampled_from(".=-_/+ AZ09"))
def test_no_single_change_is_taken(place: int, character: str) -> None:
    """A good token with any one character changed is refused as an invalid token."""
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    if changed != GOOD:
        with pytest.raises(InvalidTokenError):
            AT.verify(changed)


EDDSA = signer("ed", "EdDSA")
MAPPED = service(
    config(
        issuer(
            algorithms=["EdDSA"],
            groups_claim="groups",
            group_type="Group",
            attributes={"x": "Set<Long>"},
            tags={"azp": "String"},
            on_behalf_of={"source": "act", "user_type": "Person", "required": False},
        )
    ),
    {ISSUER: [EDDSA]},
)


HEADERS = st.dictionaries(st.sampled_from(["typ", "kid", "cty", "crit", "x"]), json_values, max_size=2)


@settings(max_examples=300, deadline=None)
@given(changes=st.dictionaries(NAMES, json_values, max_size=4), header=HEADERS)
def test_no_signed_claims_do_anything_else(changes: dict[str, Any], header: dict[str, Any]) -> None:
    """Whatever an issuer signs either establishes a subject or is an invalid token."""
    text = json.dumps({**claims(), **changes}).encode()
    token = EDDSA.token(text, json.dumps({"alg": "EdDSA", "kid": "ed", **header}).encode())
    try:
        subject = MAPPED.verify(token)
    except InvalidTokenError:
        return
    assert subject.issuer == ISSUER
    assert subject.principal.id


@settings(max_examples=300, deadline=None)
@given(json_values)
def test_no_key_set_does_anything_else(value: Any) -> None:
    """Whatever a key set holds is read or refused; a fault in it never gets a key in."""
    at = service()
    token = signer().token(claims())
    assert at.takes(token)
    at.sources[ISSUER].document = as_json({"keys": [value]})
    at.keys[ISSUER].refresh()
    assert at.keys[ISSUER].problems()
    assert read_key_set(key_set(signer()), {"RS256"}).keys


def test_causes_do_not_repeat_tokens() -> None:
    """What is said about a refused token has no part of the token."""
    at = service()
    stranger = signer("stranger")
    expired = signer().token(claims(exp=1))
    for token in (stranger.token(claims()), stranger.token(claims(), {"kid": "k1"}), expired, "aaaa.bbbb.cccc"):
        cause = at.refusal(token)
        assert all(part not in cause for part in token.split("."))
