"""`bundle.toml`: the bundle's name, what callers may say, action groups, and interceptor bindings."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError

from pdp.cedar.arguments import parse_type
from pdp.cedar.caller_context import RESERVED
from pdp.cedar.cedar_types import ESCAPE_KEYS
from pdp.cedar.syntax import LineIndex
from pdp.errors import Problem

PATH = "bundle.toml"


def _fact(name: str) -> str:
    if name in ESCAPE_KEYS:
        raise ValueError("this name has a meaning of its own in Cedar and cannot be declared")
    return name


def _context_key(name: str) -> str:
    if name in RESERVED:
        raise ValueError("the service fills this in for every tool call, so it cannot be declared")
    return name


def _cedar_type(text: str) -> str:
    parse_type(text)
    return text


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"), AfterValidator(_fact)]
_ContextKey = Annotated[_Identifier, AfterValidator(_context_key)]
_CedarType = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_cedar_type)]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_ModulePath = Annotated[str, StringConstraints(pattern=r"^interceptors/[^/\\]+\.wasm$")]


def _tool_glob(pattern: str) -> str:
    if "/" not in pattern and pattern != "*":
        raise ValueError(f"`{pattern}` matches no tool: write `server/tool`, such as `{pattern}/*`")
    return pattern


_ToolGlob = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_tool_glob)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class InterceptorBinding(_Section):
    """One `[[interceptor]]`: which module runs when, and what it may do."""

    name: _Name
    module: _ModulePath
    sha256: _Sha256 | None = None
    phases: Annotated[list[Literal["request", "response"]], Field(min_length=1)]
    tools: Annotated[list[_ToolGlob], Field(min_length=1)] = ["*/*"]
    order: Annotated[int, Field(ge=-(2**31), lt=2**31)] = 100
    mode: Literal["enforce", "shadow"] = "enforce"
    on_error: Literal["deny", "allow"] = "deny"
    may_transform: bool = False
    timeout_ms: Annotated[int, Field(ge=1, le=10_000)] = 50
    memory_mib: Annotated[int, Field(ge=1, le=64)] = 16
    fuel: Annotated[int, Field(ge=1, lt=2**63)] = 50_000_000
    prewarm: Annotated[int, Field(ge=0, le=64)] = 0
    grants: list[Literal["log", "now_ms", "random"]] = ["log"]
    #: `pushed` for a binding that the service itself wrote.
    origin: Literal["bundle", "pushed"] = "bundle"
    config: dict[str, Any] = {}
    annotations: dict[_Identifier, _CedarType] = {}


class SchemaSection(_Section):
    """`[schema]`: which entity types may be the subject of a tool call, and act for whom; empty for the defaults."""

    principal_types: list[str] = []
    on_behalf_of: str = ""


class Manifest(_Section):
    """`bundle.toml` as a whole; every part of it may be left out."""

    name: Annotated[str, StringConstraints(max_length=200)] = ""
    description: Annotated[str, StringConstraints(max_length=10_000)] = ""
    #: `shadow`: everything is evaluated and reported, and everything is allowed.
    enforcement: Literal["enforce", "shadow"] = "enforce"
    context: dict[_ContextKey, _CedarType] = {}
    action_groups: dict[_Name, list[str]] = {}
    schema_: Annotated[SchemaSection, Field(alias="schema")] = SchemaSection()
    interceptor: list[InterceptorBinding] = []
    _text: str = PrivateAttr("")

    def model_post_init(self, context: Any, /) -> None:
        """Keep the file's text, which `parse_manifest` hands over as the context of the validation."""
        self._text = context or ""

    def place(self, *location: int | str) -> tuple[int, int]:
        """Line and column of a key in the file; see `find_key`."""
        return find_key(self._text, location)


def parse_manifest(content: bytes) -> tuple[Manifest, list[Problem]]:
    """Read `bundle.toml`; the parts of it that are right, and all problems."""
    try:
        text = content.decode()
        # The parser takes a time for such keys that grows with the square of their length.
        if (deep := _DEEP_KEY.search(text)) is not None:
            return Manifest(), [Problem(PATH, *LineIndex(text).position(deep.start()), "nests too deeply")]
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        return Manifest(), [Problem(PATH, 0, 0, f"not UTF-8 at byte {error.start}")]
    except tomllib.TOMLDecodeError as error:
        return Manifest(), [_syntax_problem(content.decode(), str(error))]
    except ValueError:
        return Manifest(), [Problem(PATH, 1, 1, "not valid TOML: a number has thousands of digits")]
    except RecursionError:
        return Manifest(), [Problem(PATH, 1, 1, "nests too deeply")]
    problems: list[Problem] = []
    try:
        manifest = Manifest.model_validate(document, context=text)
    except ValidationError as error:
        found = error.errors()
        problems = [_value_problem(text, detail["loc"], detail["msg"]) for detail in found]
        wrong = {detail["loc"][0] for detail in found}
        # Without the other parts the rest of the bundle would seem wrong where it is not.
        right = {name: part for name, part in document.items() if name not in wrong}
        manifest = Manifest.model_validate(right, context=text)
    return manifest, [*problems, *_duplicate_names(manifest)]


def _duplicate_names(manifest: Manifest) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for number, binding in enumerate(manifest.interceptor):
        if binding.name in seen:
            place = manifest.place("interceptor", number, "name")
            problems.append(Problem(PATH, *place, f"interceptor `{binding.name}` is bound twice"))
        seen.add(binding.name)
    return problems


_DEEP_KEY = re.compile(r"""(?<![\w.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
_AT = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)\Z", re.DOTALL)


def _syntax_problem(text: str, message: str) -> Problem:
    match = _AT.match(message)
    if match is None:
        return Problem(PATH, 1, 1, f"not valid TOML: {message.lower()}")
    if match.group(2):
        line, column = int(match.group(2)), int(match.group(3))
    else:
        line, column = LineIndex(text).position(len(text))
    return Problem(PATH, line, column, f"not valid TOML: {match.group(1).lower()}")


def _value_problem(text: str, location: tuple[int | str, ...], message: str) -> Problem:
    shown = ".".join(str(part) for part in location if part != "[key]")
    message = message.removeprefix("Value error, ")
    return Problem(PATH, *find_key(text, location), f"`{shown}`: {message[:1].lower()}{message[1:]}")


class _Places:
    """Where tables, arrays of tables and plain keys stand in TOML text: line numbers from 0, by name, in order."""

    def __init__(self, text: str) -> None:
        self.named: dict[str, list[int]] = {}
        #: The headers of arrays of tables, `[[name]]`.
        self.elements: dict[str, list[int]] = {}
        self.columns: list[int] = []
        for number, line in enumerate(text.split("\n")):
            bare = line.lstrip()
            self.columns.append(len(line) - len(bare) + 1)
            header = _HEADER.match(bare)
            if header is not None:
                name = _unquoted(header[2].rpartition(".")[2])
                if header[1] == "[[":
                    self.elements.setdefault(name, []).append(number)
            elif (key := _KEY.match(bare)) is not None:
                name = _unquoted(key[1])
            else:
                continue
            self.named.setdefault(name, []).append(number)


_HEADER = re.compile(r"(\[\[?)([^\[\]]+)\]")
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[\w-]+)[ \t]*=""")


def _unquoted(name: str) -> str:
    return name.strip().strip("\"'")


#: A bundle can have as many mistakes as its file has lines.
_places_in = lru_cache(maxsize=1)(_Places)


def find_key(text: str, location: tuple[int | str, ...]) -> tuple[int, int]:
    """Line and column of a key in TOML text: the deepest part of `location` that can be found, else 1:1.

    Good for the tables, arrays of tables and plain keys that a manifest is made of; inline tables give their line.
    """
    places = _places_in(text)
    line = column = 0
    path = [part for part in location if part != "[key]"]
    for depth, part in enumerate(path):
        if isinstance(part, int):
            found = places.elements.get(str(path[depth - 1]), [])[part : part + 1]
        else:
            named = places.named.get(part, [])
            found = named[(at := bisect_left(named, line)) : at + 1]
        if not found:
            break
        line = found[0]
        column = places.columns[line] - 1
    return line + 1, column + 1
