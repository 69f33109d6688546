"""JSON between tools and the service: what goes over is what came in, or it does not go over."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pdp_client.integrations.errors import UnreadableError


def encoded(value: object, name: str) -> bytes:
    """The JSON text of `value`, called `name` in errors.

    Raises UnreadableError unless it reads back as an equal value: a tuple, a key that is no text, `nan` and a lone
    surrogate do not.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode()
        same = json.loads(text) == value
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_json(name) from error
    if not same:
        raise _no_json(name)
    return data


def decoded(data: bytes | str, name: str) -> Any:
    """The value of a JSON text. Raises UnreadableError where it is none, or has a number that no float can hold."""
    try:
        value = json.loads(data, parse_constant=_no_constant)
        # `1e999` reads as infinity, which nobody authorized.
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise _no_json(name) from error
    return value


def decoded_object(data: bytes | str, name: str) -> dict[str, Any]:
    """As `decoded`, and it is an object."""
    value = decoded(data, name)
    if not isinstance(value, dict):
        raise UnreadableError(f"{name} must be a JSON object")
    return value


def _no_json(name: str) -> UnreadableError:
    return UnreadableError(f"{name} cannot be written as JSON")


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"`{constant}` is no JSON")
