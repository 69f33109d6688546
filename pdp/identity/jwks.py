"""A JSON Web Key Set (RFC 7517), read for one issuer: only what can check that issuer's signatures gets in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from pdp.cedar.json_places import shown
from pdp.cedar.strict_json import JsonError, JsonLimits, parse_object
from pdp.errors import PdpError
from pdp.identity.algorithms import ALGORITHMS_OF_KEYS, Algorithm

#: Sets with certificate chains in them have tens of kilobytes.
MAX_JWKS_BYTES = 512 * 1024

_LIMITS = JsonLimits(max_bytes=MAX_JWKS_BYTES, max_depth=8, max_nodes=20_000)
_MAX_KEYS = 200
_RSA_BITS = range(2_048, 8_193)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,2000}")
#: The members that are the public key, by `kty`.
_PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
#: Members that only private and symmetric keys have.
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeySetError(PdpError):
    """A document that is no key set."""


class _UnusableError(Exception):
    """A key that ought to be usable and is not, with the reason."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key. `by_algorithm` has it once for each algorithm that it may check, bound to that algorithm.

    `fingerprint` is equal for keys that are the same, have the same id, and may be used for the same.
    """

    key_id: str | None
    fingerprint: str
    by_algorithm: Mapping[str, jwt.PyJWK]


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys. `remarks` say which keys were left out that somebody may have meant to be used."""

    keys: tuple[VerificationKey, ...] = ()
    remarks: tuple[str, ...] = ()
    fingerprints: frozenset[str] = frozenset()

    def find(self, key_id: str | None, algorithm: str) -> list[VerificationKey]:
        """The keys that may have signed a token with these headers; any key will do for a token that names none."""
        return [key for key in self.keys if algorithm in key.by_algorithm and (key_id is None or key.key_id == key_id)]


def read_key_set(document: bytes, allowed: Collection[Algorithm]) -> KeySet:
    """The keys of a document that check one of the `allowed` algorithms. Raises KeySetError.

    Keys of other kinds and for other uses are passed over, as the standard asks. A set may well be empty.
    """
    try:
        entries = parse_object(document, _LIMITS).get("keys")
    except JsonError as error:
        raise KeySetError(f"no key set: {error}") from error
    if type(entries) is not list or not all(type(entry) is dict for entry in entries):
        raise KeySetError("no key set: `keys` is not an array of objects")
    if len(entries) > _MAX_KEYS:
        raise KeySetError(f"the key set has {len(entries)} keys; at most {_MAX_KEYS} are read")
    keys: list[VerificationKey] = []
    remarks: list[str] = []
    for number, entry in enumerate(entries):
        try:
            key = _read_key(entry, allowed)
        except _UnusableError as error:
            remarks.append(f"key {_name(entry, number)} is not used: {error}")
        else:
            keys += [key] if key is not None else []
    if not keys:
        remarks.append(f"no key is for {', '.join(sorted(allowed))}")
    return KeySet(tuple(keys), tuple(remarks), frozenset(key.fingerprint for key in keys))


def _name(entry: Mapping[str, Any], number: int) -> str:
    key_id = entry.get("kid")
    return shown(key_id) if type(key_id) is str else f"number {number + 1}"


def _read_key(entry: Mapping[str, Any], allowed: Collection[Algorithm]) -> VerificationKey | None:
    """The key, or None if it is for something else. Raises _UnusableError."""
    if _SECRET_MEMBERS & entry.keys():
        raise _UnusableError("it is a private or a symmetric key, and whoever reads it can sign")
    kind, key_id = entry.get("kty"), entry.get("kid")
    if type(kind) is not str or kind not in _PUBLIC_MEMBERS or not _is_for_signatures(entry):
        return None
    if key_id is not None and type(key_id) is not str:
        raise _UnusableError("`kid` is not a string")
    algorithms = _algorithms(entry, kind, allowed)
    if not algorithms:
        return None
    public: dict[str, str] = {"kty": kind}
    for member in _PUBLIC_MEMBERS[kind]:
        value = entry.get(member)
        if type(value) is not str or not (member == "crv" or _BASE64URL.fullmatch(value)):
            raise _UnusableError(f"`{member}` is missing or no base64url text")
        public[member] = value
    usable: dict[str, jwt.PyJWK] = {algorithm: _bound(public, algorithm) for algorithm in algorithms}
    identity = json.dumps([key_id, algorithms, sorted(public.items())])
    return VerificationKey(key_id, hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest(), usable)


def _is_for_signatures(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return entry.get("use", "sig") == "sig" and type(operations) is list and "verify" in operations


def _algorithms(entry: Mapping[str, Any], kind: str, allowed: Collection[Algorithm]) -> list[Algorithm]:
    """The allowed algorithms that the key fits and, where it names one, is meant for; sorted."""
    curve = "" if kind == "RSA" else entry.get("crv")
    fitting = ALGORITHMS_OF_KEYS.get((kind, curve), frozenset()) if type(curve) is str else frozenset[Algorithm]()
    return sorted(algorithm for algorithm in fitting.intersection(allowed) if entry.get("alg", algorithm) == algorithm)


def _bound(public: dict[str, str], algorithm: Algorithm) -> jwt.PyJWK:
    try:
        key = jwt.PyJWK(public, algorithm)
    except (jwt.PyJWTError, UnsupportedAlgorithm) as error:
        raise _UnusableError(str(error).lower()) from error
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in _RSA_BITS:
        raise _UnusableError(f"it has {key.key.key_size} bits; from {_RSA_BITS[0]} to {_RSA_BITS[-1]} are taken")
    return key
