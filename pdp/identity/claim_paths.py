"""Where in a token a claim stands: its name, or a JSON Pointer (RFC 6901) that begins with `/`.

A name is taken whole, so that `https://example.com/roles` and `cognito:groups` need no escapes. Arrays are not entered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pdp.errors import InvalidTokenError

ClaimPath = tuple[str, ...]

#: Stands for a claim that is not there; null is a value.
ABSENT: Final = object()

_STRAY_TILDE = re.compile(r"~(?![01])")


def claim_path(text: str) -> ClaimPath:
    """The names that lead to a claim. ValueError where `text` is neither a name nor a pointer."""
    if not text:
        raise ValueError("a claim has a name")
    if not text.startswith("/"):
        return (text,)
    if _STRAY_TILDE.search(text):
        raise ValueError(f"`{text}` is not a JSON Pointer: `~` is written `~0`, and `/` in a name `~1`")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))


def find_claim(claims: Mapping[str, Any], path: ClaimPath) -> Any:
    """The claim, or ABSENT. Raises InvalidTokenError where something on the way to it is no object."""
    value: Any = claims
    for name in path:
        if type(value) is not dict:
            raise InvalidTokenError(f"claim `{'/'.join(path)}`: what it should stand in is not an object")
        if name not in value:
            return ABSENT
        value = value[name]
    return value
