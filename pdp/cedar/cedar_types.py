"""The types that values from outside take in Cedar, and how a Cedar schema writes them.

A small tree, made once from a tool's input schema or from a type that an operator wrote. The same tree makes the
schema text and the conversion of values, so the two cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_IDENTIFIER = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has"})

#: Keys with a meaning of their own in Cedar's JSON; no record may have them.
ESCAPE_KEYS = frozenset({"__entity", "__extn", "__expr"})

#: How deep `Set<…>` may nest in a type that an operator writes.
_MAX_SET_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts. `name` is what an operator writes, `schema_name` what stands in generated schemas."""

    name: str
    schema_name: str

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return self.schema_name


STRING = Scalar("String", "String")
LONG = Scalar("Long", "Long")
BOOL = Scalar("Bool", "Bool")
# An operator's schema may declare a type called `decimal`; the prefix keeps Cedar's own.
DECIMAL = Scalar("decimal", "__cedar::decimal")
IPADDR = Scalar("ipaddr", "__cedar::ipaddr")
DATETIME = Scalar("datetime", "__cedar::datetime")
DURATION = Scalar("duration", "__cedar::duration")

_SCALARS = {scalar.name: scalar for scalar in (STRING, LONG, BOOL, DECIMAL, IPADDR, DATETIME, DURATION)}


@dataclass(frozen=True, slots=True)
class JsonText:
    """Any JSON value, null included, as its canonical text."""

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return "String"


@dataclass(frozen=True, slots=True)
class SetOf:
    """An array: its items, without order and without repetitions."""

    item: Type

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return f"Set<{self.item.cedar_type()}>"


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a record."""

    name: str
    type: Type
    required: bool


@dataclass(frozen=True, slots=True)
class Record:
    """An object with declared properties; others are reported by name and dropped."""

    fields: tuple[Field, ...] = ()

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return record_syntax([(field.name, field.required, field.type.cedar_type()) for field in self.fields])


@dataclass(frozen=True, slots=True)
class FreeObject:
    """An object whose properties nobody declared: `keys`, their names, and `json`, its canonical text."""

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return "{ keys: Set<String>, json: String }"


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value of one of several kinds: a record with exactly one attribute, named after the kind that came.

    The tags are `bool`, `long`, `decimal`, `string`, `set`, `record` and `json`. A number comes as `long` if it is an
    integer of 64 bits, else as `decimal`. What no other tag takes comes as canonical text under `json`.
    """

    variants: tuple[tuple[str, Type], ...]

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return record_syntax([(tag, False, variant.cedar_type()) for tag, variant in self.variants])


#: Any JSON value: scalars under their tag, arrays and objects as text.
UNTYPED = Tagged((("bool", BOOL), ("long", LONG), ("decimal", DECIMAL), ("string", STRING), ("json", JsonText())))

Type = Scalar | JsonText | SetOf | Record | FreeObject | Tagged


def written_type(text: str) -> Type:
    """The type that an operator wrote: a scalar's name, or `Set<…>` of a type. Raises ValueError."""
    inner, depth = text.strip(), 0
    while inner.startswith("Set") and inner.endswith(">") and inner[3:].lstrip().startswith("<"):
        inner, depth = inner[3:].lstrip()[1:-1].strip(), depth + 1
    parsed: Type | None = _SCALARS.get(inner)
    if parsed is None or depth > _MAX_SET_DEPTH:
        known = ", ".join(f"`{name}`" for name in _SCALARS)
        raise ValueError(f"`{text}` is not a type; use {known} or `Set<…>` of one")
    for _ in range(depth):
        parsed = SetOf(parsed)
    return parsed


def record_syntax(attributes: Sequence[tuple[str, bool, str]]) -> str:
    """A record type in Cedar schema syntax; each attribute is its name, whether it is required, and its type."""
    if not attributes:
        return "{}"
    return "{ " + ", ".join(f"{_name(name)}{'' if req else '?'}: {type_}" for name, req, type_ in attributes) + " }"


def _name(name: str) -> str:
    return name if _IDENTIFIER.match(name) and name not in _RESERVED else quoted(name)


def quoted(text: str) -> str:
    """`text` as a Cedar string literal, everything unprintable escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"
