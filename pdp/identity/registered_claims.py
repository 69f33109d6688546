"""The claims that every token has a use for (RFC 7519): for whom it is, and from when until when."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pdp.errors import InvalidTokenError

#: The end of the year 9999. Later times are mistakes, and numbers of any size are not to be calculated with.
_LAST_TIME = 253_402_300_799


class Validity(NamedTuple):
    """When a token may be used: from `start`, and before `end`; the clock skew is part of both. `exp` is as claimed."""

    start: float
    end: float
    exp: int

    def require(self, now: float) -> None:
        """Raise InvalidTokenError unless it may be used at `now`."""
        if now >= self.end:
            raise InvalidTokenError("it has expired")
        if now < self.start:
            raise InvalidTokenError("it is not valid yet")


def read_validity(claims: Mapping[str, Any], skew: float) -> Validity:
    """When a token may be used, from `exp`, `nbf` and `iat`, the first of which is required. Raises InvalidTokenError.

    A token that was made later than now comes from a wrong clock, or is not what it seems, so `iat` counts like `nbf`.
    """
    exp = _time(claims, "exp")
    if exp is None:
        raise InvalidTokenError("claim `exp` is missing")
    starts = [time for name in ("nbf", "iat") if (time := _time(claims, name)) is not None]
    start = max(starts, default=0.0)
    if exp < start:
        raise InvalidTokenError("claim `exp` is earlier than `nbf` or `iat`")
    return Validity(start - skew, exp + skew, int(exp))


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """Seconds since 1970, or None if the claim is absent."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) is not int and type(value) is not Decimal:
        raise InvalidTokenError(f"claim `{name}` is not a number")
    if not 0 <= value <= _LAST_TIME:
        raise InvalidTokenError(f"claim `{name}` is not a time")
    return float(value)


def require_audience(claims: Mapping[str, Any], accepted: frozenset[str]) -> None:
    """Raise InvalidTokenError unless `aud` has one of the accepted names, character by character."""
    audience = claims.get("aud")
    names = audience if type(audience) is list else [audience]
    if not all(type(name) is str for name in names):
        raise InvalidTokenError("claim `aud` is missing, or neither a string nor an array of strings")
    if accepted.isdisjoint(names):
        raise InvalidTokenError("claim `aud` names nobody that this service answers for")
