"""`pdp config`: the effective configuration, as a file that says the same."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from pydantic import BaseModel

from pdp.cli.bundles import read_config
from pdp.cli.terminal import answer, answer_json
from pdp.cli.toml_form import toml_lines


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
    tables = [[f"[{name}]", *toml_lines(values)] for name, values in shown(config).items()]
    return "\n\n".join("\n".join(lines) for lines in tables) + "\n"
