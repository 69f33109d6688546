"""Which paths belong to a bundle, which are passed over, and which names no bundle may hold.

What belongs to a bundle (paths are relative to its root, with `/`):

    bundle.toml   schema.cedarschema   policies/**/*.cedar   policies/**/*.links.json
    entities/**/*.json   tools/*.json   interceptors/*.wasm   tests/**

Ignored without a word: hidden files and directories, files named `*~`, `*.swp` or `*.tmp`, and at the top
level `docs/`, `README*`, `LICENSE*`, `LICENCE*`, `NOTICE*`. Everything else is left out with a warning. A
name that is not UTF-8, or holds a control character, a mark that reorders text or a backslash, is an error.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping

from pdp.errors import Problem

_TOP_FILES = ("bundle.toml", "schema.cedarschema")
# Directory -> what its files' names end in, and whether they may lie in directories below it.
_DIRECTORIES: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "policies": ((".cedar", ".links.json"), True),
    "entities": ((".json",), True),
    "tools": ((".json",), False),
    "interceptors": ((".wasm",), False),
    "tests": (("",), True),
}
_DROPPINGS = ("~", ".swp", ".tmp")
_SILENT_TOP_FILES = ("README", "LICENSE", "LICENCE", "NOTICE")
_BIDI_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MAX_DEPTH = 32
_MAX_PATH_BYTES = 1024
_NAMES = (*_TOP_FILES, *(f"{name}/" for name in _DIRECTORIES))
LAYOUT_HINT = "a bundle holds " + ", ".join(f"`{name}`" for name in _NAMES)


def is_loaded(path: str) -> bool:
    """Whether a file of a bundle is loaded by the service, and so counts for the revision."""
    return not path.startswith("tests/")


def is_ignored(path: str) -> bool:
    """Whether a path is passed over without a word. A directory's path ends in `/`."""
    parts = path.rstrip("/").split("/")
    if any(part.startswith(".") for part in parts) or parts[0] == "docs":
        return True
    if not path.endswith("/") and parts[-1].endswith(_DROPPINGS):
        return True
    return len(parts) == 1 and parts[0].startswith(_SILENT_TOP_FILES)


def name_problem(path: str) -> Problem | None:
    """What is wrong with the name itself, wherever it lies: an error, or `None`."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return Problem(printable(path), 0, 0, "the name is not valid UTF-8")
    if not path.isprintable() and any(_is_control(char) for char in path):
        return Problem(printable(path), 0, 0, "the name holds a control or text-reordering character")
    if "\\" in path:
        return Problem(printable(path), 0, 0, "the name holds a backslash; directories are separated by `/`")
    if length > _MAX_PATH_BYTES or path.count("/") >= _MAX_DEPTH:
        message = f"the path is longer than {_MAX_PATH_BYTES} bytes or {_MAX_DEPTH} names"
        return Problem(printable(path[:80]) + "…", 0, 0, message)
    return None


def place_problem(path: str) -> Problem | None:
    """Why a path that is not ignored does not belong to a bundle, or `None`. A directory's path ends in `/`.

    A name no bundle has is a warning. A file where a directory must be, or the reverse, is an error: its
    content was surely meant, and policies left out are policies not enforced.
    """
    top, slash, rest = path.partition("/")
    if top in _TOP_FILES:
        return Problem(top, 0, 0, f"`{top}` is a directory, and must be a file") if slash else None
    if top not in _DIRECTORIES:
        close = difflib.get_close_matches(top, (*_TOP_FILES, *_DIRECTORIES), 1)
        hint = f"did you mean `{close[0]}`?" if close else LAYOUT_HINT
        return Problem(top, 0, 0, f"`{top}` is not part of a bundle and is not loaded; {hint}", "warning")
    if not slash:
        return Problem(top, 0, 0, f"`{top}` is a file, and must be a directory")
    suffixes, nested = _DIRECTORIES[top]
    if not rest or path.endswith("/"):
        return None
    if not rest.endswith(suffixes):
        ending = " or ".join(f"`{suffix}`" for suffix in suffixes)
        return Problem(path, 0, 0, f"not loaded; the names of files in `{top}/` end in {ending}", "warning")
    if "/" in rest and not nested:
        return Problem(path, 0, 0, f"not loaded; files must lie in `{top}/` itself, not below it", "warning")
    return None


def printable(text: str) -> str:
    """The text with everything a terminal could act on shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Zl", "Zp") or char in _BIDI_MARKS
