"""Arguments for a tool, made from its input schema: the least that it takes, all that is declared, and wrong ones.

Reads JSON Schema by itself, without the service's own reading of it, so that the two can disagree. Values have the
right kinds; patterns, formats and combinations beside a type, which the service leaves to the tool, are not looked at.
"""

from __future__ import annotations

from typing import Any

#: A value of each kind of JSON, null aside: an optional argument that is null is simply absent.
SAMPLES: dict[str, Any] = {"string": "x", "boolean": True, "number": 7, "array": [], "object": {}}
#: Objects inside one another beyond which only what is required is made: schemas may refer to themselves.
_FULL_LEVELS = 3
_COMBINATIONS = ("anyOf", "oneOf")


class ArgumentMaker:
    """Makes arguments for one input schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._document = schema

    def least(self) -> dict[str, Any]:
        """Arguments with the required properties only."""
        return self._object(self._resolved(self._document), full_levels=0)

    def full(self) -> dict[str, Any]:
        """Arguments with every declared property."""
        return self._object(self._resolved(self._document), full_levels=_FULL_LEVELS)

    def wrong(self) -> dict[str, Any]:
        """For each declared argument that does not take every kind of value, one of a kind that it does not take."""
        found = {}
        for name, schema in self._resolved(self._document).get("properties", {}).items():
            refused = SAMPLES.keys() - self._kinds(schema)
            if refused:
                found[name] = SAMPLES[min(refused)]
        return found

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """The schema with its `$ref` followed and its `allOf` merged into it."""
        if not isinstance(schema, dict):
            return {}
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        others = [self._referred(schema["$ref"])] if "$ref" in schema else []
        for other in map(self._resolved, [*others, *schema.get("allOf", [])]):
            properties = {**other.get("properties", {}), **merged.get("properties", {})}
            required = [*other.get("required", []), *merged.get("required", [])]
            merged = {**other, **merged}
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def _referred(self, reference: str) -> Any:
        found: Any = self._document
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return found

    def _kinds(self, schema: Any) -> set[str]:
        """The kinds of value that a schema takes, among those of SAMPLES."""
        resolved = self._resolved(schema)
        kinds = set(SAMPLES)
        if "type" in resolved:
            named = resolved["type"] if isinstance(resolved["type"], list) else [resolved["type"]]
            kinds &= {"number" if name == "integer" else name for name in named}
        if "enum" in resolved or "const" in resolved:
            kinds &= {_kind(value) for value in resolved.get("enum", [resolved.get("const")])}
        for key in _COMBINATIONS:
            if key in resolved:
                kinds &= set().union(*(self._kinds(variant) for variant in resolved[key]))
        return kinds

    def _value(self, schema: Any, full_levels: int) -> Any:
        resolved = self._resolved(schema)
        if "const" in resolved or resolved.get("enum"):
            return resolved["const"] if "const" in resolved else resolved["enum"][0]
        for key in _COMBINATIONS:
            if key in resolved and "type" not in resolved:
                variants = [variant for variant in resolved[key] if self._resolved(variant).get("type") != "null"]
                return self._value(variants[0], full_levels)
        return self._plain(resolved, full_levels)

    def _plain(self, schema: dict[str, Any], full_levels: int) -> Any:
        named = schema.get("type", "object" if "properties" in schema else "string")
        kind = next(name for name in named if name != "null") if isinstance(named, list) else named
        if kind == "object":
            return self._object(schema, full_levels)
        if kind == "array":
            count = max(schema.get("minItems", 0), 1 if full_levels else 0)
            return [self._value(schema.get("items", {}), full_levels) for _ in range(count)]
        if kind == "string":
            return "x" * max(schema.get("minLength", 0), 1)
        if kind == "boolean":
            return False
        return max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)

    def _object(self, schema: dict[str, Any], full_levels: int) -> dict[str, Any]:
        declared = schema.get("properties", {})
        names = declared if full_levels else [name for name in schema.get("required", []) if name in declared]
        return {name: self._value(declared[name], max(full_levels - 1, 0)) for name in names}


def _kind(value: Any) -> str:
    kinds = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")
