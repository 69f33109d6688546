"""A path in a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator


def _named(value: Any) -> Any:
    # `Path("")` is the current directory, and nobody who leaves a value empty means that.
    if value == "":
        raise ValueError("is empty; name a path, or leave the key out")
    if "\0" in str(value):
        raise ValueError("a path holds no NUL character")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a path is UTF-8") from error
    return value


#: A path that is there to be used: not empty, and one that the operating system takes.
NamedPath = Annotated[Path, BeforeValidator(_named)]
