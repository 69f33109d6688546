"""Values as TOML, with what a terminal could act on as escapes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_line(key: str, value: Any) -> str:
    """`key = value`."""
    return f"{_key(key)} = {_value(value)}"


def toml_lines(table: Mapping[str, Any]) -> list[str]:
    """The lines of a table; what is unset stands there as a comment."""
    return [f"# {key} is not set" if value is None else toml_line(key, value) for key, value in table.items()]


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = [toml_line(key, each) for key, each in value.items() if each is not None]
        return f"{{ {', '.join(inner)} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    """A basic string."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
