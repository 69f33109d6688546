"""A tool's input schema (JSON Schema) to the Cedar type of its arguments.

JSON Schema says which values are valid; Cedar wants to know which *kinds* of value may stand where. So a schema
becomes a shape, the kinds that it lets through, and a shape becomes a type. Keywords that only narrow values within a
kind (`pattern`, `minimum`, `format`, …) do not matter here, and unknown ones are ignored. A shape may let through
more than the schema; it never needs to let through less, because the tool still validates its arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pdp.cedar.cedar_types import (
    BOOL,
    DECIMAL,
    ESCAPE_KEYS,
    LONG,
    STRING,
    UNTYPED,
    Field,
    FreeObject,
    JsonText,
    Record,
    SetOf,
    Tagged,
    Type,
)
from pdp.cedar.json_places import escape_segment, is_unicode, shown
from pdp.cedar.strict_json import kind_of
from pdp.errors import PdpError

#: Below this many properties and items inside one another, everything is untyped.
_MAX_LEVELS = 16
#: Combined and referred schemas inside one another; more than that nobody wrote by hand.
_MAX_NESTING = 64
#: Characters of a property's name.
_MAX_NAME = 1_000
#: Work spent on one input schema: a step for each schema looked at, for 4 listed values, for 16 letters of a name.
_MAX_STEPS = 10_000

_KINDS = frozenset({"null", "boolean", "integer", "fraction", "string", "array", "object"})
#: `fraction` is any number with decimals; whoever takes those takes integers too.
_KINDS_OF_TYPE = {kind: frozenset({kind}) for kind in _KINDS - {"fraction"}} | {
    "number": frozenset({"integer", "fraction"})
}


class ToolSchemaError(PdpError):
    """A tool definition that cannot be used. `pointer` is a JSON Pointer to what is wrong with it."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer or '(schema)'}: {message}")
        self.pointer = pointer
        self.message = message


@dataclass(frozen=True, slots=True)
class _Object:
    """What is known of an object's properties. Without properties and not closed, it is free-form."""

    properties: Mapping[str, _Shape] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    closed: bool = False

    @property
    def is_free(self) -> bool:
        return not self.properties and not self.closed


@dataclass(frozen=True, slots=True)
class _Shape:
    """The kinds of value that may stand somewhere; none at all where nothing may."""

    kinds: frozenset[str]
    items: _Shape | None = None  # of an array; None: anything
    object: _Object = _Object()

    @property
    def is_anything(self) -> bool:
        return self.kinds == _KINDS and self.items is None and self.object.is_free


_ANYTHING = _Shape(_KINDS)
_NOTHING = _Shape(frozenset())


def from_json_schema(schema: Any) -> Record:
    """The record type of a tool's arguments.

    `schema` is the parsed `inputSchema`. Raises ToolSchemaError with a pointer into it where the schema is malformed,
    too large, or declares a property that Cedar's JSON cannot carry.
    """
    shape = _Reader(schema).read(schema, _Place())
    if "object" not in shape.kinds:
        raise ToolSchemaError("", "must describe an object: a tool's arguments are one")
    return _record(shape.object)


# --- shapes to types ---------------------------------------------------------------------------------------------


def _record(shape: _Object) -> Record:
    fields = []
    for name, inner in shape.properties.items():
        if inner.kinds:  # a property that nobody may send stays undeclared
            required = name in shape.required and "null" not in inner.kinds
            fields.append(Field(name, _type(inner), required))
    return Record(tuple(fields))


def _type(shape: _Shape) -> Type:
    """The type of a value that is not null; whether it may be missing is for the record to say."""
    kinds = shape.kinds - {"null"}
    if shape.is_anything or not kinds:
        return UNTYPED
    variants = _variants(shape, kinds)
    if len(variants) == 1:
        return variants[0][1]
    if kinds == {"integer", "fraction"}:
        return DECIMAL
    return Tagged(tuple(variants))


def _variants(shape: _Shape, kinds: frozenset[str]) -> list[tuple[str, Type]]:
    """The tags that values of these kinds come under, and their types."""
    tags: list[tuple[str, str, Type]] = [
        ("boolean", "bool", BOOL),
        ("integer", "long", LONG),
        ("fraction", "decimal", DECIMAL),
        ("string", "string", STRING),
    ]
    variants = [(tag, type_) for kind, tag, type_ in tags if kind in kinds]
    if "array" in kinds:
        variants.append(("set", SetOf(_item_type(shape.items))))
    if "object" in kinds:
        variants.append(("record", _object_type(shape.object)))
    return variants


def _item_type(shape: _Shape | None) -> Type:
    # Cedar compares whole items only, and its validator compares no records with optional attributes: an item of
    # several kinds is of use to a policy only as text.
    if shape is None or not (shape.kinds - {"null"}):
        return JsonText()
    inner = _type(shape)
    return JsonText() if isinstance(inner, Tagged) else inner


def _object_type(shape: _Object) -> Record | FreeObject:
    return FreeObject() if shape.is_free else _record(shape)


# --- what two shapes have in common, and what either lets through ---------------------------------------------------


def _meet(one: _Shape, other: _Shape) -> _Shape:
    """What both let through."""
    if one.is_anything or other.is_anything:
        return other if one.is_anything else one
    items = one.items or other.items
    if one.items is not None and other.items is not None:
        items = _meet(one.items, other.items)
    properties = {**one.object.properties, **other.object.properties}
    for name in one.object.properties.keys() & other.object.properties.keys():
        properties[name] = _meet(one.object.properties[name], other.object.properties[name])
    required = one.object.required | other.object.required
    closed = one.object.closed or other.object.closed
    return _Shape(one.kinds & other.kinds, items, _Object(properties, required, closed))


def _join(one: _Shape, other: _Shape) -> _Shape:
    """What either lets through."""
    if one.is_anything or other.is_anything:
        return _ANYTHING
    return _Shape(one.kinds | other.kinds, _join_items(one, other), _join_objects(one, other))


def _join_items(one: _Shape, other: _Shape) -> _Shape | None:
    if "array" not in one.kinds or "array" not in other.kinds:
        return one.items if "array" in one.kinds else other.items
    return None if one.items is None or other.items is None else _join(one.items, other.items)


def _join_objects(one: _Shape, other: _Shape) -> _Object:
    if "object" not in one.kinds or "object" not in other.kinds:
        return one.object if "object" in one.kinds else other.object
    left, right = one.object, other.object
    if left.is_free or right.is_free:
        return _Object()
    properties = {**left.properties, **right.properties}
    for name in left.properties.keys() & right.properties.keys():
        properties[name] = _join(left.properties[name], right.properties[name])
    return _Object(properties, left.required & right.required, left.closed and right.closed)


# --- JSON Schema to shapes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the reader is: the pointer, the properties and items above, everything above, the references it is in."""

    pointer: str = ""
    level: int = 0
    nesting: int = 0
    references: frozenset[str] = frozenset({""})

    def beside(self, *segments: str) -> _Place:
        """A schema for the same value."""
        return _Place(self._to(segments), self.level, self.nesting + 1, self.references)

    def inside(self, *segments: str) -> _Place:
        """A schema for a value inside."""
        return _Place(self._to(segments), self.level + 1, self.nesting + 1, self.references)

    def _to(self, segments: tuple[str, ...]) -> str:
        return self.pointer + "".join("/" + escape_segment(segment) for segment in segments)

    def error(self, message: str, *segments: str) -> ToolSchemaError:
        return ToolSchemaError(self._to(segments), message)


class _Reader:
    """Reads one document's schemas, with a bound on the work."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._steps = 0

    def read(self, schema: Any, place: _Place) -> _Shape:
        """The shape of what `schema` lets through."""
        self._spend(1, place)
        if isinstance(schema, bool):
            return _ANYTHING if schema else _NOTHING
        if not isinstance(schema, dict):
            raise place.error(f"a schema must be an object or a boolean, not {kind_of(schema)}")
        if place.nesting > _MAX_NESTING:
            raise place.error(f"schemas nest deeper than {_MAX_NESTING} levels")
        if place.level > _MAX_LEVELS:
            return _ANYTHING
        shape = self._own_shape(schema, place)
        for constraint in self._constraints(schema, place):
            shape = _meet(shape, constraint)
        if schema.get("nullable") is True and shape.kinds:
            shape = _Shape(shape.kinds | {"null"}, shape.items, shape.object)
        return shape

    def _spend(self, steps: int, place: _Place) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise place.error("the schema is too large, or refers to itself too often")

    def _list(self, schema: dict[str, Any], key: str, place: _Place) -> list[Any]:
        found = schema.get(key, [])
        if not isinstance(found, list):
            raise place.error(f"must be an array, not {kind_of(found)}", key)
        self._spend(len(found) // 4, place)
        return found

    def _own_shape(self, schema: dict[str, Any], place: _Place) -> _Shape:
        """What the schema says without references and combinations."""
        kinds = self._kinds(schema, place)
        items = self._items(schema, place)
        known = self._object(schema, place)
        if kinds == _KINDS:
            return _ANYTHING  # `required` or `additionalProperties` alone say nothing about kinds
        return _Shape(kinds, items if "array" in kinds else None, known if "object" in kinds else _Object())

    def _kinds(self, schema: dict[str, Any], place: _Place) -> frozenset[str]:
        if "type" not in schema:
            # Strictly, `properties` binds only objects and `items` only arrays. Whoever writes them means one.
            implied = {"properties": "object", "items": "array", "prefixItems": "array"}
            return frozenset(kind for key, kind in implied.items() if key in schema) or _KINDS
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        self._spend(len(names) // 4, place)
        kinds: frozenset[str] = frozenset()
        for name in names:
            if not isinstance(name, str):
                raise place.error(f"must be a string or an array of strings, not {kind_of(name)}", "type")
            # A server that invents a type (`any`, `file`) is still a server that people use.
            kinds |= _KINDS_OF_TYPE.get(name, _KINDS)
        return kinds

    def _items(self, schema: dict[str, Any], place: _Place) -> _Shape | None:
        # A tuple says what stands at each position; a set has no positions.
        if "items" not in schema or "prefixItems" in schema or isinstance(schema["items"], list):
            return None
        shape = self.read(schema["items"], place.inside("items"))
        return None if shape.is_anything else shape

    def _object(self, schema: dict[str, Any], place: _Place) -> _Object:
        declared = schema.get("properties", {})
        if not isinstance(declared, dict):
            raise place.error(f"must be an object, not {kind_of(declared)}", "properties")
        properties = {}
        for name, inner in declared.items():
            self._check_name(name, place.inside("properties", name[:_MAX_NAME]))
            properties[name] = self.read(inner, place.inside("properties", name))
        # Old drafts wrote `"required": true` into the property itself; that says nothing about this object.
        names = [] if isinstance(schema.get("required"), bool) else self._list(schema, "required", place)
        if not all(isinstance(name, str) for name in names):
            raise place.error("must be an array of strings", "required")
        return _Object(properties, frozenset(names), schema.get("additionalProperties") is False)

    def _check_name(self, name: str, place: _Place) -> None:
        self._spend(len(name) // 16, place)
        if len(name) > _MAX_NAME:
            raise place.error(f"a property's name is longer than {_MAX_NAME} characters")
        if name in ESCAPE_KEYS:
            raise place.error(f"a property cannot be called {shown(name)}: Cedar's JSON gives that key a meaning")
        if not is_unicode(name):
            raise place.error("a property's name has half of a surrogate pair")

    def _constraints(self, schema: dict[str, Any], place: _Place) -> Iterator[_Shape]:
        """What else binds the same value."""
        if "const" in schema:
            yield _shape_of(schema["const"])
        if values := self._list(schema, "enum", place):
            yield _joined(map(_shape_of, values))
        if "$ref" in schema:
            yield self._referred(schema["$ref"], place)
        for index, inner in enumerate(self._list(schema, "allOf", place)):
            yield self.read(inner, place.beside("allOf", str(index)))
        for key in ("anyOf", "oneOf"):
            if variants := self._list(schema, key, place):
                yield _joined(self.read(inner, place.beside(key, str(i))) for i, inner in enumerate(variants))

    def _referred(self, reference: Any, place: _Place) -> _Shape:
        if not isinstance(reference, str):
            raise place.error(f"must be a string, not {kind_of(reference)}", "$ref")
        pointer = unquote(reference.removeprefix("#"))
        # Other documents are not here to be read, nor are anchors followed; a loop has no type in Cedar.
        if not reference.startswith("#") or (pointer and not pointer.startswith("/")) or pointer in place.references:
            return _ANYTHING
        found = _resolved(self._document, pointer)
        if found is None:
            raise place.error(f"there is nothing at {shown(reference)}", "$ref")
        referred = _Place(pointer, place.level, place.nesting + 1, place.references | {pointer})
        return self.read(found, referred)


def _joined(shapes: Iterable[_Shape]) -> _Shape:
    joined = _NOTHING
    for shape in shapes:
        joined = _join(joined, shape)
    return joined


def _shape_of(value: Any) -> _Shape:
    """The kind of one value, as of an `enum` or `const`."""
    if value is None:
        return _Shape(_KINDS_OF_TYPE["null"])
    names = {bool: "boolean", str: "string", int: "integer", list: "array", dict: "object"}
    return _Shape(_KINDS_OF_TYPE[names.get(type(value), "number")])


def _resolved(document: Any, pointer: str) -> Any:
    """What `pointer` names in `document`; None for nothing."""
    found = document
    for part in itertools.islice(pointer.split("/"), 1, None):
        segment = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(segment)
        elif isinstance(found, list) and segment.isdecimal() and segment.isascii() and len(segment) < 10:
            found = found[int(segment)] if int(segment) < len(found) else None
        else:
            return None
    return found
