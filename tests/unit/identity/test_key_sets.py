"""Key sets: what of a document may check signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.identity.algorithms import ALGORITHMS_OF_KEYS, Algorithm
from pdp.identity.jwks import MAX_JWKS_BYTES, KeySet, KeySetError, read_key_set
from tests.unit.identity.making import as_json, key_set, signer

EVERY: frozenset[Algorithm] = frozenset().union(*ALGORITHMS_OF_KEYS.values())
RSA_ONLY: frozenset[Algorithm] = frozenset({"RS256"})


def _fits(keys: KeySet) -> list[tuple[str | None, list[str]]]:
    return [(key.key_id, sorted(key.by_algorithm)) for key in keys.keys]


@pytest.mark.parametrize(
    ("algorithm", "fitting"),
    [
        ("RS256", ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]),
        ("ES256", ["ES256"]),
        ("ES384", ["ES384"]),
        ("ES512", ["ES512"]),
        ("EdDSA", ["EdDSA"]),
    ],
)
def test_keys_fit_their_algorithms(algorithm: str, fitting: list[str]) -> None:
    """A key checks the algorithms of its kind and curve, of these only the allowed, and only the one it names."""
    key = signer(f"key-{algorithm}", algorithm)
    assert _fits(read_key_set(key_set(key), EVERY)) == [(key.key_id, fitting)]
    assert _fits(read_key_set(key_set(key.jwk(alg=fitting[-1])), EVERY)) == [(key.key_id, fitting[-1:])]
    for other in sorted(EVERY - set(fitting)):
        allowed: Any = {other}
        assert _fits(read_key_set(key_set(key), allowed)) == []
        assert _fits(read_key_set(key_set(key.jwk(alg=other)), EVERY)) == []


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"use": "enc"}, None),
        ({"use": "SIG"}, None),
        ({"use": ["sig"]}, None),
        ({"key_ops": ["encrypt"]}, None),
        ({"key_ops": []}, None),
        ({"key_ops": "verify"}, None),
        ({"alg": "RSA-OAEP"}, None),
        ({"alg": "none"}, None),
        ({"alg": "HS256"}, None),
        ({"alg": ["RS256"]}, None),
        ({"kty": "oct"}, None),
        ({"kty": "rsa"}, None),
        ({"kty": ["RSA"]}, None),
        ({"kty": None}, None),
        ({"kty": "EC"}, None),
        ({"kid": 1}, "`kid` is not a string"),
        ({"n": None}, "`n` is missing"),
        ({"n": 65_537}, "`n` is missing"),
        ({"n": ""}, "`n` is missing"),
        ({"n": "A" * 2_001}, "`n` is missing"),
        ({"n": "AQAB="}, "`n` is missing"),
        ({"e": "+/"}, "`e` is missing"),
        ({"e": "AA"}, ""),
        ({"e": "AQ"}, ""),
        ({"e": "Ag"}, ""),
        ({"k": "c2VjcmV0"}, "private or a symmetric"),
        ({"oth": []}, "private or a symmetric"),
    ],
)
def test_unfit_keys_are_left_out(changes: Mapping[str, Any], remark: str | None) -> None:
    """A key for something else is passed over; one that is broken, or no public key, is left out with a remark."""
    good = signer("good")
    keys = read_key_set(key_set(signer().jwk(**changes), good), RSA_ONLY)
    assert _fits(keys) == [("good", ["RS256"])]
    assert len(keys.remarks) == (remark is not None)
    assert remark is None or remark in keys.remarks[0]


def test_private_keys_are_left_out() -> None:
    """A private key that was published by mistake checks nothing: others can sign with it."""
    for key in (signer("k1"), signer("e1", "ES256"), signer("ed", "EdDSA")):
        keys = read_key_set(key_set(key.private_jwk()), EVERY)
        assert keys.keys == ()
        assert f"key `{key.key_id}` is not used: it is a private or a symmetric key" in keys.remarks[0]


def test_short_and_huge_rsa_keys_are_left_out() -> None:
    """RSA keys below 2048 bits are left out, and such that are made to be slow."""
    short = signer("short", "RS256", 1_024)
    huge = {"kty": "RSA", "kid": "huge", "e": "AQAB", "n": "_" * 1_500}
    keys = read_key_set(key_set(short, huge), RSA_ONLY)
    assert keys.keys == ()
    assert keys.remarks[0] == "key `short` is not used: it has 1024 bits; from 2048 to 8192 are taken"
    assert keys.remarks[1].startswith("key `huge` is not used: it has ")
    assert keys.remarks[2] == "no key is for RS256"


@pytest.mark.parametrize(
    "changes",
    [{"crv": "P-384"}, {"crv": "secp256k1"}, {"crv": None}, {"crv": 1}, {"x": "AA"}, {"x": "A" * 43}, {"y": None}],
)
def test_points_are_on_their_curve(changes: Mapping[str, Any]) -> None:
    """An elliptic curve key of another curve, or of a point that is not on it, is left out."""
    keys = read_key_set(key_set(signer("e1", "ES256").jwk(**changes)), {"ES256"})
    assert keys.keys == ()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b"\xff",
        b'{"keys": null}',
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": [[]]}',
        b'{"keys": [], "keys": []}',
        b'{"keys": [{"kid": "a", "kid": "b"}]}',
        b'{"keys": [' + b"[" * 100,
        b'{"keys": ["' + b"x" * MAX_JWKS_BYTES + b'"]}',
        as_json({"keys": [{}] * 201}),
    ],
)
def test_garbage_is_no_key_set(document: bytes) -> None:
    """A document that is no key set, or an immoderate one, is refused as a whole."""
    with pytest.raises(KeySetError):
        read_key_set(document, EVERY)


def test_empty_sets_are_sets() -> None:
    """An issuer may withdraw all keys; that is no failure, but it is told."""
    assert read_key_set(b'{"keys": []}', EVERY).keys == ()
    assert read_key_set(b'{"keys": []}', RSA_ONLY).remarks == ("no key is for RS256",)


def test_keys_are_found_by_name_and_algorithm() -> None:
    """A key is found by its exact id, for an algorithm that it fits; without an id, every fitting one is."""
    first, second, curve = signer("k1"), signer("k2"), signer("e1", "ES256")
    keys = read_key_set(key_set(first, second, curve, signer("x").jwk(kid=None)), EVERY)

    def found(key_id: str | None, algorithm: str) -> list[str | None]:
        return [key.key_id for key in keys.find(key_id, algorithm)]

    assert found("k1", "RS256") == ["k1"]
    assert found("K1", "RS256") == []
    assert found("k1", "ES256") == []
    assert found("e1", "ES256") == ["e1"]
    assert found(None, "ES256") == ["e1"]
    assert found(None, "RS256") == ["k1", "k2", None]
    assert found("k1", "none") == []


def test_fingerprints_tell_keys_apart() -> None:
    """Keys differ if their numbers, their ids or their uses do, and only then."""
    key = signer("k1")

    def fingerprints(*entries: Mapping[str, Any]) -> frozenset[str]:
        return read_key_set(key_set(*entries), EVERY).fingerprints

    same = fingerprints(key.jwk())
    assert fingerprints(key.jwk(use="sig", x5t="abc", n=key.jwk()["n"])) == same
    different = fingerprints(key.jwk(kid="k2"), key.jwk(kid=None), key.jwk(alg="RS256"), signer("k2").jwk(kid="k1"))
    assert len(different | same) == 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary()
    | st.dictionaries(st.sampled_from(["kty", "n", "e", "crv", "x", "kid", "use", "alg", "key_ops"]), json_values)
    .map(lambda entry: {"kty": "RSA", "n": signer().jwk()["n"], "e": "AQAB", **entry})
    .map(lambda entry: json.dumps({"keys": [entry]}).encode())
)
def test_no_document_does_anything_else(document: bytes) -> None:
    """Any bytes are a key set or refused as none."""
    try:
        keys = read_key_set(document, EVERY)
    except KeySetError:
        return
    assert all(key.by_algorithm for key in keys.keys)
