"""`pdp config`: the effective configuration, as a file that says the same."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from pydantic import BaseModel

from pdp.cli.bundles import read_config
from pdp.cli.terminal import answer, answer_json


def run(arguments: Namespace) -> int:
    """Print the configuration. Raises ConfigError with every mistake."""
    config = read_config(arguments)
    if arguments.json:
        answer_json(shown(config))
    else:
        answer(toml_text(config).rstrip())
    return 0


def shown(config: BaseModel) -> dict[str, Any]:
    """The configuration as JSON values. Whatever has the type of a secret (`SecretStr`) is masked."""
    return config.model_dump(mode="json")


def toml_text(config: BaseModel) -> str:
    """The configuration as TOML, one table for each section. What is unset stands there as a comment."""
    tables = [[f"[{name}]", *map(_line, values.items())] for name, values in shown(config).items()]
    return "\n\n".join("\n".join(lines) for lines in tables) + "\n"


def _line(item: tuple[str, Any]) -> str:
    key, value = item
    return f"# {key} is not set" if value is None else f"{key} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = [f"{_string(key)} = {_value(each)}" for key, each in value.items() if each is not None]
        return f"{{ {', '.join(inner)} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    """A basic string, with what a terminal could act on as escapes."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
