"""Tokens to subjects: the one place where a signature is believed."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

from pdp.cedar.cache import BoundedCache
from pdp.cedar.json_places import shown
from pdp.errors import InvalidTokenError
from pdp.identity.compact_tokens import CompactToken, read_compact
from pdp.identity.config import IdentityConfig, IssuerConfig
from pdp.identity.jwks import KeySet, VerificationKey
from pdp.identity.keys import IssuerKeys, KeyRing
from pdp.identity.model import TokenSubject
from pdp.identity.registered_claims import Validity, read_validity, require_audience
from pdp.identity.subject_mapping import SubjectMapping

#: What a cached subject weighs grows with its token.
_BYTES_PER_UNIT = 2_048


class _Issuer:
    """One issuer, ready to read its tokens."""

    def __init__(self, config: IssuerConfig, keys: IssuerKeys) -> None:
        self.name: Final = config.issuer
        self.keys: Final = keys
        self.algorithms: Final[frozenset[str]] = frozenset(config.algorithms)
        self.audiences: Final = None if config.allow_any_audience else frozenset(config.audiences)
        self.token_types: Final = frozenset(map(str.lower, config.token_types))
        self.mapping: Final = SubjectMapping(config)


class _Verified(NamedTuple):
    """A token that was verified, and what that rests on."""

    subject: TokenSubject
    validity: Validity
    issuer: _Issuer
    fingerprint: str


class TokenVerifier:
    """Verifies tokens of the configured issuers. Never waits for the network. Safe to share between threads."""

    def __init__(self, config: IdentityConfig, keys: KeyRing) -> None:
        self._issuers = {issuer.issuer: _Issuer(issuer, keys.of(issuer.issuer)) for issuer in config.issuer}
        self._skew = config.clock_skew_seconds
        self._max_bytes = config.max_token_bytes
        self._verified: BoundedCache[bytes, _Verified] = BoundedCache(config.token_cache)

    def verify(self, token: str, now: float) -> TokenSubject:
        """The subject of a token at `now`, in seconds since 1970.

        Raises InvalidTokenError, and nothing else, whatever the text is; the error's text has no part of the signature.
        """
        if len(token) > self._max_bytes:
            raise InvalidTokenError(f"it is longer than {self._max_bytes} bytes")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        verified = self._verified.get(digest)
        if verified is None or not _rests_on_current_key(verified):
            verified = self._verify(token, now)
            self._verified.put(digest, verified, 1 + len(token) // _BYTES_PER_UNIT)
        verified.validity.require(now)
        return verified.subject

    def _verify(self, token: str, now: float) -> _Verified:
        # 1. It is read strictly, so that nobody else reads it differently.
        read = read_compact(token)
        # 2. It says whose it is, and until the signature is checked nothing else that it says counts.
        issuer = self._issuer(read.claims.get("iss"))
        # 3. The algorithm and the kind of token are ones that this issuer is known to use.
        algorithm = _algorithm(read.header, issuer)
        # 4. The key is one that this issuer has published for that algorithm.
        key = _key(read.header, algorithm, issuer)
        # 5. The signature is that key's.
        _require_signature(read, key, algorithm)
        # 6. It is for us, and for now.
        if issuer.audiences is not None:
            require_audience(read.claims, issuer.audiences)
        validity = read_validity(read.claims, self._skew)
        validity.require(now)
        # 7. Its claims say who asks.
        return _Verified(_subject(read, issuer, validity), validity, issuer, key.fingerprint)

    def _issuer(self, name: Any) -> _Issuer:
        if type(name) is not str:
            raise InvalidTokenError("claim `iss` is missing or no string")
        issuer = self._issuers.get(name)
        if issuer is None:
            raise InvalidTokenError(f"{shown(name)} is not a configured issuer")
        return issuer


def _rests_on_current_key(verified: _Verified) -> bool:
    keys = verified.issuer.keys.current()
    return keys is not None and verified.fingerprint in keys.fingerprints


def _algorithm(header: dict[str, Any], issuer: _Issuer) -> str:
    algorithm, kind, content = header.get("alg"), header.get("typ", "JWT"), header.get("cty", "")
    if type(algorithm) is not str or algorithm not in issuer.algorithms:
        raise InvalidTokenError("its algorithm is not one of the issuer's")
    # The Kelvin sign is a `k` in lower case.
    if type(kind) is not str or not kind.isascii() or _media_type(kind) not in issuer.token_types:
        raise InvalidTokenError("its type (`typ`) is not one of the issuer's")
    if type(content) is not str or _media_type(content) == "jwt":
        raise InvalidTokenError("it holds another token (`cty`)")
    return algorithm


def _media_type(name: str) -> str:
    return name.lower().removeprefix("application/")


def _key(header: dict[str, Any], algorithm: str, issuer: _Issuer) -> VerificationKey:
    key_id = header.get("kid")
    if key_id is not None and type(key_id) is not str:
        raise InvalidTokenError("its `kid` is not a string")
    keys: KeySet | None = issuer.keys.current()
    found = keys.find(key_id, algorithm) if keys is not None else []
    if not found:
        issuer.keys.want_more()
        why = "there are no keys of its issuer" if keys is None else "its issuer has published no such key"
        raise InvalidTokenError(f"key {shown(key_id) if key_id is not None else '(unnamed)'} for {algorithm}: {why}")
    if len(found) > 1:
        raise InvalidTokenError("several keys of its issuer could have signed it; it must name one of them (`kid`)")
    return found[0]


def _require_signature(read: CompactToken, key: VerificationKey, algorithm: str) -> None:
    bound = key.by_algorithm[algorithm]
    # PyJWT's own way to here would read the token a second time; this way there is one reader, and what it read counts.
    if not bound.Algorithm.verify(read.signed, bound.key, read.signature):
        raise InvalidTokenError("its signature is not that of the key")


def _subject(read: CompactToken, issuer: _Issuer, validity: Validity) -> TokenSubject:
    principal, user = issuer.mapping.read(read.claims)
    return TokenSubject(
        principal=principal.uid,
        entities=(principal.form,) if user is None else (principal.form, user.form),
        on_behalf_of=user.uid if user is not None else None,
        issuer=issuer.name,
        expires_at=validity.exp,
    )
