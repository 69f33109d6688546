"""`schema.cedarschema` and the schema of the tools together: one Cedar schema for the bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cedarpy

from pdp.bundle.manifest import PATH as MANIFEST
from pdp.bundle.manifest import Manifest
from pdp.cedar.model import is_entity_type
from pdp.cedar.syntax import LineIndex, find_schema_excess, locate_error, tokens
from pdp.cedar.tool_schema import Tool, schema_text
from pdp.errors import Problem

PATH = "schema.cedarschema"

#: The entity type of a tool call's resource.
RESOURCE_TYPE = "Server"

#: Who asks, unless the bundle says otherwise.
_USUAL_PRINCIPALS = ("Agent", "User")


@dataclass(frozen=True, slots=True)
class _Written:
    """What the author wrote, from which the schema of any selection of tools is made."""

    text: str
    declared: tuple[str, ...]
    principal_types: tuple[str, ...]
    on_behalf_of: str | None
    manifest: Manifest

    def with_tools(self, tools: Sequence[Tool]) -> str:
        """The schema text with the generated part for `tools`."""
        if not tools:
            return self.text
        bindings = self.manifest.interceptor
        generated = schema_text(
            tools,
            principal_types=self.principal_types,
            resource_type=RESOURCE_TYPE,
            declare_server=RESOURCE_TYPE not in self.declared,
            context_types=self.manifest.context,
            on_behalf_of=self.on_behalf_of,
            annotation_types={binding.name: binding.annotations for binding in bindings if binding.annotations},
        )
        return f"{self.text.rstrip()}\n\n{generated}"


@dataclass(frozen=True, slots=True)
class BundleSchema:
    """The bundle's Cedar schema, whole, the entity types that may be subjects of tool calls, and whom they may act for.

    `text` is Cedar's own rendering and `digest` its sha256: equal for schemas that mean the same. `actions` is the
    JSON of the action entities with their groups.
    """

    schema: cedarpy.Schema
    text: str
    digest: str
    actions: str
    principal_types: tuple[str, ...]
    on_behalf_of: str | None
    _written: _Written

    def only(self, tools: Sequence[Tool]) -> cedarpy.Schema:
        """The schema as it would be with no other tools. ValueError if the author's part refers to others."""
        return cedarpy.Schema.from_str(self._written.with_tools(tools), release_gil=True)


def build_schema(written: str, tools: Sequence[Tool], manifest: Manifest) -> tuple[BundleSchema | None, list[Problem]]:
    """The schema that `written` and the pinned tools make together, or None and what is wrong."""
    excess = find_schema_excess(written)
    if excess is not None:
        return None, [Problem(PATH, *LineIndex(written).position(excess), "the schema nests too deeply")]
    declared = declared_entity_types(written)
    principals, problems = _principal_types(declared, manifest)
    acting_for, more = _on_behalf_of(declared, manifest)
    problems += more
    if problems:
        return None, _syntax_problems(written) or problems
    parts = _Written(written, tuple(declared), tuple(principals), acting_for, manifest)
    text = parts.with_tools(tools)
    try:
        schema = cedarpy.Schema.from_str(text, release_gil=True)
    except ValueError as error:
        return None, [_schema_problem(text, len(written), str(error))]
    canonical = str(schema)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    actions = str(cedarpy.Entities.from_json_str("[]", schema))
    return BundleSchema(schema, canonical, digest, actions, tuple(principals), acting_for, parts), []


def _syntax_problems(written: str) -> list[Problem]:
    """What is wrong with a schema that declares no entity type: perhaps it is not a schema at all."""
    try:
        cedarpy.Schema.from_str(written)
    except ValueError as error:
        return [_schema_problem(written, len(written) + 1, str(error))]
    return []


def declared_entity_types(text: str) -> list[str]:
    """The entity types declared in schema text, qualified by namespace, in the order of the text."""
    found: list[str] = []
    namespace = ""
    depth = 0
    words = [token for _, token in tokens(text)]
    for position, word in enumerate(words):
        if word == "namespace" and depth == 0:
            end = words.index("{", position) if "{" in words[position:] else position
            namespace = "".join(words[position + 1 : end]) + "::"
        elif word == "entity" and depth == bool(namespace):
            names = [namespace + name for name in _declared_names(words[position + 1 :])]
            found.extend(name for name in names if is_entity_type(name))
        depth += (word == "{") - (word == "}")
        if depth == 0 and word == "}":
            namespace = ""
    return found


def _declared_names(words: Sequence[str]) -> list[str]:
    """`A, B` of `entity A, B in […]`; none for an enumerated type, whose entities are not subjects."""
    names: list[str] = []
    for name, separator in zip(words[::2], words[1::2], strict=False):
        names.append(name)
        if separator == "enum":
            return []
        if separator != ",":
            break
    return names


def _principal_types(declared: Sequence[str], manifest: Manifest) -> tuple[list[str], list[Problem]]:
    asked = manifest.schema_.principal_types
    unknown = [name for name in asked if name not in declared]
    if unknown:
        place = manifest.place("schema", "principal_types")
        message = f"`schema.principal_types`: {{}} is not an entity type of `{PATH}`"
        return [], [Problem(MANIFEST, *place, message.format(f"`{name}`")) for name in unknown]
    usual = [name for name in declared if name.rpartition("::")[2] in _USUAL_PRINCIPALS]
    found = asked or usual or [name for name in declared if name != RESOURCE_TYPE]
    if not found:
        message = "declares no entity type that could be the subject of a tool call, such as `entity Agent;`"
        return [], [Problem(PATH, 1, 1, message)]
    return list(found), []


def _on_behalf_of(declared: Sequence[str], manifest: Manifest) -> tuple[str | None, list[Problem]]:
    """The type of whom subjects act for: as the manifest says, or `User` if there is such a type."""
    asked = manifest.schema_.on_behalf_of
    if asked and asked not in declared:
        place = manifest.place("schema", "on_behalf_of")
        message = f"`schema.on_behalf_of`: `{asked}` is not an entity type of `{PATH}`"
        return None, [Problem(MANIFEST, *place, message)]
    usual = (name for name in declared if name.rpartition("::")[2] == "User")
    return asked or next(usual, None), []


def _schema_problem(text: str, written: int, message: str) -> Problem:
    """The problem that Cedar's message speaks of; only the first `written` characters are the author's."""
    offset = locate_error(text, message, cedarpy.Schema.from_str)
    if offset >= written:
        return Problem(PATH, 1, 1, f"{message} (in the part that is generated from tools/)")
    return Problem(PATH, *LineIndex(text).position(offset), message)
