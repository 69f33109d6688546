"""Tokens, keys and issuers for tests; every key is made when the tests run."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pdp.errors import InvalidTokenError
from pdp.identity.config import IdentityConfig
from pdp.identity.key_sources import KeySourceError
from pdp.identity.keys import IssuerKeys, KeyRing, KeyTiming
from pdp.identity.model import TokenSubject
from pdp.identity.tokens import TokenVerifier

NOW = 1_800_000_000
ISSUER = "https://login.example.com/"
AUDIENCE = "https://tools.example.com"
TIMING = KeyTiming(refresh=300, retry=5, max_stale=3_600)

_SIGNING = jwt.algorithms.get_default_algorithms()
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def encoded(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Signer:
    """A key pair of an issuer."""

    key_id: str
    algorithm: str
    private: Any

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The public key as it is published; `more` overrides members."""
        public = cast(Any, _SIGNING[self.algorithm]).to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.key_id, **more}

    def private_jwk(self) -> dict[str, Any]:
        secret = cast(Any, _SIGNING[self.algorithm]).to_jwk(self.private, as_dict=True)
        return {**secret, "kid": self.key_id}

    def signature(self, message: bytes, algorithm: str = "") -> bytes:
        return _SIGNING[algorithm or self.algorithm].sign(message, self.private)

    def token(self, claims: Mapping[str, Any] | bytes, header: Mapping[str, Any] | bytes | None = None) -> str:
        """A signed token; a header given as a mapping is laid over the usual one, None removes a member."""
        if not isinstance(header, bytes):
            usual = {"alg": self.algorithm, "typ": "JWT", "kid": self.key_id, **(header or {})}
            header = as_json({name: value for name, value in usual.items() if value is not None})
        message = f"{encoded(header)}.{encoded(as_json(claims))}"
        return f"{message}.{encoded(self.signature(message.encode()))}"


@cache
def signer(key_id: str = "k1", algorithm: str = "RS256", bits: int = 2_048) -> Signer:
    """The key pair of that name, one for a test run."""
    private: Any
    if algorithm in _CURVES:
        private = ec.generate_private_key(_CURVES[algorithm])
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = rsa.generate_private_key(65_537, bits)
    return Signer(key_id, algorithm, private)


def key_set(*keys: Signer | Mapping[str, Any]) -> bytes:
    """A key set document."""
    return as_json({"keys": [key.jwk() if isinstance(key, Signer) else key for key in keys]})


def claims(**more: Any) -> dict[str, Any]:
    """The claims of a good token; `more` overrides, None removes."""
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600}
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def issuer(**more: Any) -> dict[str, Any]:
    """The configuration of an issuer."""
    usual = {"issuer": ISSUER, "jwks_file": "unused", "audiences": [AUDIENCE], "principal_type": "User"}
    return {**usual, **more}


def config(*issuers: Mapping[str, Any], **more: Any) -> IdentityConfig:
    """The section of these issuers, or of a usual one."""
    return IdentityConfig.model_validate({"issuer": list(issuers or [issuer()]), **more})


@dataclass
class MemoryKeySource:
    """A key source that is here; `document` may be changed, None cannot be read."""

    document: bytes | None = None
    reads: int = 0

    def read(self) -> bytes:
        """The document."""
        self.reads += 1
        if self.document is None:
            raise KeySourceError("it is away")
        return self.document


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """A verifier with its keys at hand, and a clock for their age."""

    verifier: TokenVerifier
    keys: dict[str, IssuerKeys]
    sources: dict[str, MemoryKeySource]
    clock: Clock = field(default_factory=Clock)

    def verify(self, token: str, now: float = NOW) -> TokenSubject:
        """The token's subject."""
        return self.verifier.verify(token, now)

    def takes(self, token: str, now: float = NOW) -> bool:
        """Whether the token establishes anybody."""
        try:
            self.verifier.verify(token, now)
        except InvalidTokenError:
            return False
        return True

    def refusal(self, token: str, now: float = NOW) -> str:
        """Why the token is refused; fails if it is not."""
        try:
            subject = self.verifier.verify(token, now)
        except InvalidTokenError as error:
            return str(error)
        raise AssertionError(f"it was taken for {subject}")

    def publish(self, *keys: Signer | Mapping[str, Any], issuer: str = ISSUER) -> None:
        """Have the issuer publish these keys instead, and read them."""
        self.sources[issuer].document = key_set(*keys)
        self.keys[issuer].refresh()


def service(
    section: IdentityConfig | None = None, published: Mapping[str, Sequence[Signer | Mapping[str, Any]]] | None = None
) -> Service:
    """A verifier whose issuers have published these keys, by issuer; without any, the usual one."""
    section = section or config()
    clock = Clock()
    sources: dict[str, MemoryKeySource] = {}
    keys: dict[str, IssuerKeys] = {}
    for each in section.issuer:
        document = key_set(*((published or {}).get(each.issuer) or [signer()]))
        sources[each.issuer] = MemoryKeySource(document)
        keys[each.issuer] = IssuerKeys(
            each.issuer, sources[each.issuer], each.algorithms, TIMING, clock=clock, chance=lambda: 0.0
        )
        keys[each.issuer].refresh()
    ring = KeyRing(keys, 1.0, lambda issuer, problems: None)
    return Service(TokenVerifier(section, ring), keys, sources, clock)
