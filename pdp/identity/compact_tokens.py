"""A signed token as it travels (RFC 7515, compact form): read strictly, and not yet believed."""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

from pdp.cedar.strict_json import JsonError, JsonLimits, parse_object
from pdp.errors import InvalidTokenError

_PART = re.compile(r"[A-Za-z0-9_-]+")
_PARTS = 3
_ENCRYPTED_PARTS = 5
#: Headers that say that the payload is not what it looks like: encrypted, compressed, or to be read in a special way.
#: Headers that bring or name a key (`jwk`, `jku`, `x5c`, `x5u`) are left alone: keys come from the configuration only.
_REFUSED_HEADERS = ("crit", "enc", "zip", "b64")
_LIMITS = JsonLimits(max_bytes=65_536, max_depth=16, max_nodes=2_000)


class CompactToken(NamedTuple):
    """A token's parts. Of the claims only `iss` may be looked at before the signature is checked.

    `signed` is what `signature` is for.
    """

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def read_compact(token: str) -> CompactToken:
    """The parts of a token, which is not too long. Raises InvalidTokenError."""
    parts = token.split(".")
    if len(parts) == _ENCRYPTED_PARTS:
        raise InvalidTokenError("it is encrypted; only signed tokens are taken")
    if len(parts) != _PARTS:
        raise InvalidTokenError("it is not of the form `header.claims.signature`")
    header = _read_object(parts[0], "header")
    for name in _REFUSED_HEADERS:
        if name in header:
            raise InvalidTokenError(f"its header has `{name}`, which is not supported")
    claims = _read_object(parts[1], "claims")
    return CompactToken(header, claims, f"{parts[0]}.{parts[1]}".encode(), _decode(parts[2], "signature"))


def _read_object(part: str, name: str) -> dict[str, Any]:
    try:
        return parse_object(_decode(part, name), _LIMITS)
    except JsonError as error:
        raise InvalidTokenError(f"its {name}: {error}") from error


def _decode(part: str, name: str) -> bytes:
    """The bytes of a part. Of the several texts that lenient readers take for the same bytes, only one is taken."""
    if _PART.fullmatch(part) is None or len(part) % 4 == 1:
        raise InvalidTokenError(f"its {name} is not base64url text")
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise InvalidTokenError(f"its {name} is not base64url text")
    return decoded
