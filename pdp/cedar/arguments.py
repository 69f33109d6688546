"""Hostile values to typed Cedar values: an agent's arguments, and the facts that callers and interceptors state.

Everything here is exact or refused. What Cedar gets uses the explicit escapes of its JSON (`{"__extn": …}`), so it
means the same with and without a Cedar schema, and nothing that came from outside can be taken for such an escape.
Types are compiled into closures once; a call runs through them without looking at the types again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from pdp.cedar.cedar_types import (
    BOOL,
    DATETIME,
    DECIMAL,
    DURATION,
    ESCAPE_KEYS,
    IPADDR,
    LONG,
    STRING,
    FreeObject,
    JsonText,
    Record,
    Scalar,
    SetOf,
    Tagged,
    Type,
    written_type,
)
from pdp.cedar.extensions import datetime_text, decimal_text, duration_text, ipaddr_text, long_value
from pdp.cedar.json_places import escape_segment, pointer, shown
from pdp.cedar.json_text import canonical_text
from pdp.cedar.strict_json import DEFAULT_LIMITS, JsonError, JsonLimits, kind_of, parse_object
from pdp.errors import InvalidArgumentsError

#: Makes a Cedar JSON value of a parsed JSON value; adds the names of undeclared properties to the set.
_Converter = Callable[[Any, set[str]], Any]


class ConvertedInput(NamedTuple):
    """A tool's arguments for Cedar: `value` is a record in explicit Cedar JSON, `undeclared` names what is not in it.

    `undeclared` is sorted and without repetitions. A name is the way to the property, `/` between its steps and `*` for
    any position of an array: `force`, `files/*/mode`. `~` and `/` in a property's own name are written `~0` and `~1`.
    """

    value: dict[str, Any]
    undeclared: list[str]


class ToolInput:
    """Converts the arguments of calls to one tool. Immutable, and safe to share between threads."""

    def __init__(self, record_type: Record, limits: JsonLimits = DEFAULT_LIMITS) -> None:
        self.record_type: Final = record_type
        self._limits = limits
        self._convert = _record(record_type, "")

    def convert(self, data: bytes) -> ConvertedInput:
        """The arguments in `data`, UTF-8 JSON text; no bytes at all are no arguments.

        Raises InvalidArgumentsError, and nothing else, where they cannot be represented in Cedar.
        """
        undeclared: set[str] = set()
        try:
            arguments = parse_object(data, self._limits) if data else {}
            # Without escapes in the text, a key that starts with `__e` shows in it.
            if b"__e" in data or b"\\u" in data:
                _refuse_escape_keys(arguments)
            value = self._convert(arguments, undeclared)
        except JsonError as error:
            raise InvalidArgumentsError(error.path, error.message) from None
        except _UnfitError as unfit:
            raise InvalidArgumentsError(pointer(unfit.segments[::-1]), unfit.message) from None
        return ConvertedInput(value, sorted(undeclared) if undeclared else [])


@lru_cache(maxsize=4_096)
def tool_input(record_type: Record, limits: JsonLimits) -> ToolInput:
    """The same object for the same type: many servers have tools with the same arguments."""
    return ToolInput(record_type, limits)


class FactType:
    """Converts values of one declared type. Immutable, and safe to share between threads."""

    def __init__(self, type_: Type) -> None:
        self.type: Final = type_
        self._convert = _converter(type_, "")

    def cedar_type(self) -> str:
        """The type in Cedar schema syntax."""
        return self.type.cedar_type()

    def convert(self, value: Any) -> Any:
        """A value that `strict_json` read, as explicit Cedar JSON. Raises InvalidArgumentsError where it does not fit.

        The error's path leads into `value`. Addresses, times and durations are given as text.
        """
        try:
            return self._convert(value, set())
        except _UnfitError as unfit:
            raise InvalidArgumentsError(pointer(unfit.segments[::-1]), unfit.message) from None


def parse_type(text: str) -> FactType:
    """The type that an operator wrote: `String`, `Long`, `Bool`, `decimal`, `ipaddr`, `datetime`, `duration`, or
    `Set<…>` of one. Raises ValueError.
    """
    return FactType(written_type(text))


class _UnfitError(Exception):
    """A value that its type cannot take. `segments` lead to it from inside out, gathered on the way up."""

    def __init__(self, message: str, *segments: str) -> None:
        self.message = message
        self.segments = list(segments)


def _refuse_escape_keys(arguments: dict[str, Any]) -> None:
    pending: list[tuple[list[str], Any]] = [([], arguments)]
    while pending:
        segments, value = pending.pop()
        if type(value) is dict:
            for key in ESCAPE_KEYS & value.keys():
                message = f"the key {shown(key)} has a meaning of its own in Cedar and cannot be an argument"
                raise _UnfitError(message, key, *segments)
            pending.extend(([key, *segments], inner) for key, inner in value.items())
        elif type(value) is list:
            pending.extend(([str(index), *segments], inner) for index, inner in enumerate(value))


# --- compiling types -----------------------------------------------------------------------------------------------


def _converter(type_: Type, place: str) -> _Converter:
    """What makes values of `type_`; `place` is the way to them, as `undeclared` names it, with a final `/`."""
    match type_:
        case Scalar():
            return _SCALARS[type_]
        case SetOf():
            return _set(type_, place)
        case Record():
            return _record(type_, place)
        case FreeObject():
            return _free_object
        case JsonText():
            return _json_text
        case Tagged():
            return _tagged(type_, place)


@lru_cache(maxsize=4_096)
def _record(type_: Record, place: str) -> _Converter:
    required = frozenset(field.name for field in type_.fields if field.required)
    converters = {field.name: _converter(field.type, f"{place}{escape_segment(field.name)}/") for field in type_.fields}
    # Parsed values that are their own Cedar values; they need no call.
    plain = {field.name: _PLAIN[field.type] for field in type_.fields if field.type in _PLAIN}

    def convert(value: Any, undeclared: set[str]) -> dict[str, Any]:
        if type(value) is not dict:
            raise _UnfitError(f"must be an object, not {kind_of(value)}")
        record = {}
        for name, item in value.items():
            if plain.get(name) is type(item):
                record[name] = item
            elif name not in converters:
                undeclared.add(place + escape_segment(name))
            elif item is not None or name in required:
                try:
                    record[name] = converters[name](item, undeclared)
                except _UnfitError as unfit:
                    unfit.segments.append(name)
                    raise
        if not required <= record.keys():
            raise _UnfitError("is required and missing", min(required - record.keys()))
        return record

    return convert


def _set(type_: SetOf, place: str) -> _Converter:
    convert_item = _converter(type_.item, f"{place}*/")
    plain = {_PLAIN[type_.item]} if type_.item in _PLAIN else None

    def convert(value: Any, undeclared: set[str]) -> list[Any]:
        if type(value) is not list:
            raise _UnfitError(f"must be an array, not {kind_of(value)}")
        if plain is not None and plain.issuperset(map(type, value)):
            return value
        items = []
        try:
            for item in value:
                items.append(convert_item(item, undeclared))  # noqa: PERF401 - the count tells where it failed
        except _UnfitError as unfit:
            unfit.segments.append(str(len(items)))
            raise
        return items

    return convert


def _tagged(type_: Tagged, place: str) -> _Converter:
    converters = {tag: _converter(variant, place) for tag, variant in type_.variants}
    tags = {str: "string", bool: "bool", list: "set", dict: "record"}
    wanted = " or ".join(_WORDS[tag] for tag in converters if tag != "json")

    def convert(value: Any, undeclared: set[str]) -> dict[str, Any]:
        kind = type(value)
        if kind is int or kind is Decimal:
            return _number(value, converters, wanted)
        tag = tags.get(kind, "")
        if tag not in converters:
            tag = "json"
        if tag not in converters or value is None:
            raise _UnfitError(f"must be {wanted}, not {kind_of(value)}")
        return {tag: converters[tag](value, undeclared)}

    return convert


def _number(value: int | Decimal, converters: dict[str, _Converter], wanted: str) -> dict[str, Any]:
    """A number among several kinds: `long` if it is an integer of 64 bits, else `decimal`."""
    if "long" not in converters:
        raise _UnfitError(f"must be {wanted}, not a number")
    try:
        return {"long": long_value(value)}
    except ValueError as error:
        if "decimal" not in converters:
            raise _UnfitError(str(error)) from None
    return {"decimal": _decimal(value, set())}


# --- values of one kind ----------------------------------------------------------------------------------------------


def _string(value: Any, _: set[str]) -> str:
    if type(value) is not str:
        raise _UnfitError(f"must be a string, not {kind_of(value)}")
    return value


def _bool(value: Any, _: set[str]) -> bool:
    if type(value) is not bool:
        raise _UnfitError(f"must be a boolean, not {kind_of(value)}")
    return value


def _long(value: Any, _: set[str]) -> int:
    if type(value) is not int and type(value) is not Decimal:
        raise _UnfitError(f"must be an integer, not {kind_of(value)}")
    try:
        return long_value(value)
    except ValueError as error:
        raise _UnfitError(str(error)) from None


def _decimal(value: Any, _: set[str]) -> dict[str, Any]:
    if type(value) is not int and type(value) is not Decimal:
        raise _UnfitError(f"must be a number, not {kind_of(value)}")
    try:
        return {"__extn": {"fn": "decimal", "arg": decimal_text(value)}}
    except ValueError as error:
        raise _UnfitError(str(error)) from None


def _extension(function: str, checked: Callable[[str], str], value: Any, _: set[str]) -> dict[str, Any]:
    if type(value) is not str:
        raise _UnfitError(f"must be a string, not {kind_of(value)}")
    try:
        return {"__extn": {"fn": function, "arg": checked(value)}}
    except ValueError as error:
        raise _UnfitError(str(error)) from None


def _json_text(value: Any, _: set[str]) -> str:
    return canonical_text(value)


def _free_object(value: Any, _: set[str]) -> dict[str, Any]:
    if type(value) is not dict:
        raise _UnfitError(f"must be an object, not {kind_of(value)}")
    return {"keys": list(value), "json": canonical_text(value)}


_SCALARS: dict[Type, _Converter] = {
    STRING: _string,
    BOOL: _bool,
    LONG: _long,
    DECIMAL: _decimal,
    IPADDR: partial(_extension, "ip", ipaddr_text),
    DATETIME: partial(_extension, "datetime", datetime_text),
    DURATION: partial(_extension, "duration", duration_text),
}
#: The reader gives `int` only for integers of 64 bits.
_PLAIN: dict[Type, type] = {STRING: str, BOOL: bool, LONG: int}
_WORDS = {
    "bool": "a boolean",
    "long": "an integer",
    "decimal": "a number",
    "string": "a string",
    "set": "an array",
    "record": "an object",
}
