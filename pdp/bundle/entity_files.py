"""`entities/**/*.json`: Cedar entity JSON, checked one by one so that a mistake has a place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cedarpy

from pdp.cedar.entities import check_escapes, uid_from_json
from pdp.cedar.kept_entities import Kept, Shared, kept
from pdp.cedar.model import EntityUid, is_action_type
from pdp.cedar.syntax import LineIndex
from pdp.errors import Problem

#: Attributes of a refused entity that are tried one by one for the one at fault.
_MAX_TRIALS = 200

#: Entities handed to Cedar at once; printing them back keeps the interpreter lock, so not too many.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class ParsedEntities:
    """One file's entities as they are kept, by type and id, and every uid that is a parent."""

    entities: Mapping[str, Mapping[str, Kept]]
    parents: frozenset[EntityUid]
    problems: tuple[Problem, ...] = ()


_Entities = dict[str, dict[str, Kept]]


@dataclass(frozen=True, slots=True)
class _Raw:
    """An entity as written: its JSON text, its offset, its uid and its parents; and as it is kept, if that is known."""

    text: str
    offset: int
    uid: EntityUid
    parents: tuple[EntityUid, ...]
    kept: Kept | None


class _FileError(ValueError):
    """What is wrong at one offset of an entity file."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def parse_entities(path: str, text: str, schema: cedarpy.Schema | None, shared: Shared) -> ParsedEntities:
    """Read one entity file. With a schema every entity must conform to it. `shared` is that of all files."""
    lines = LineIndex(text)
    # Without a schema nothing is implicit: what is written is the explicit form.
    raw, offences = _scan(text, shared if schema is None else None)
    problems = [Problem(path, *lines.position(offset), message) for offset, message in offences]
    seen: set[EntityUid] = set()
    for entity in raw:
        if entity.uid in seen:
            message = f"`{entity.uid}` stands here for the second time"
            problems.append(Problem(path, *lines.position(entity.offset), message))
        if schema is not None and is_action_type(entity.uid.type):
            message = f"`{entity.uid}`: with a schema, actions are declared there"
            problems.append(Problem(path, *lines.position(entity.offset), message))
        seen.add(entity.uid)
    entities: _Entities = {}
    for start in range(0, len(raw), _CHUNK):
        for entity, message in _read_chunk(raw[start : start + _CHUNK], schema, entities, shared):
            problems.append(Problem(path, *lines.position(entity.offset), message))
    parents = frozenset(parent for entity in raw for parent in entity.parents)
    return ParsedEntities(entities, parents, tuple(problems))


def _scan(text: str, shared: Shared | None) -> tuple[list[_Raw], list[tuple[int, str]]]:
    """The entities of a file as far as it can be read, and what is wrong with it by offset.

    They are kept as written if there is something `shared`.
    """
    found: list[_Raw] = []
    offences: list[tuple[int, str]] = []
    try:
        for position, end, value in _elements(text):
            try:
                uid, parents = _uids(value)
                written = text[position:end]
                parts = None if shared is None else kept(value, uid, parents, written, shared)
                found.append(_Raw(written, position, uid, parents, parts))
            except ValueError as error:
                offences.append((position, str(error)))
    except _FileError as error:
        offences.append((error.offset, str(error)))
    return found, offences


def _elements(text: str) -> Iterator[tuple[int, int, Any]]:
    """The elements of the top-level array: where each begins and ends, and its value, in which no key stands twice.

    Raises _FileError where the text is no such array.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    position = _skip_blank(text, 0)
    if not text.startswith("[", position):
        raise _FileError(position, "an entity file is a JSON array of entities")
    position = _skip_blank(text, position + 1)
    while not text.startswith("]", position):
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise _FileError(error.pos, f"not valid JSON: {error.msg.lower()}") from error
        except RecursionError as error:
            raise _FileError(position, "nests too deeply") from error
        except ValueError as error:
            raise _FileError(position, str(error)) from error
        yield position, end, value
        position = _skip_blank(text, end)
        if text.startswith(",", position):
            position = _skip_blank(text, position + 1)
            if not text.startswith("]", position):
                continue
        elif text.startswith("]", position):
            continue
        raise _FileError(position, "not valid JSON: expected `,` and another entity, or `]`")
    position = _skip_blank(text, position + 1)
    if position != len(text):
        raise _FileError(position, "not valid JSON: text after the array")


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key `{twice}` stands twice in one object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"`{name}` is not JSON")


def _uids(value: Any) -> tuple[EntityUid, tuple[EntityUid, ...]]:
    if not isinstance(value, dict):
        raise ValueError("an entity is a JSON object with `uid`, `attrs` and `parents`")
    parents = value.get("parents", [])
    if not isinstance(parents, list):
        raise ValueError("`parents` must be an array")
    for part in ("attrs", "tags"):
        if not isinstance(value.get(part, {}), dict):
            raise ValueError(f"`{part}` must be an object")
    check_escapes([value.get("attrs"), value.get("tags")])
    return uid_from_json(value.get("uid")), tuple(uid_from_json(parent) for parent in parents)


def _read_chunk(
    chunk: Sequence[_Raw], schema: cedarpy.Schema | None, entities: _Entities, shared: Shared
) -> list[tuple[_Raw, str]]:
    """Add the chunk's entities to `entities` as Cedar reads them; the entities it refuses, each with the reason.

    Cedar names no culprit, so a refused chunk is halved until single entities are left.
    """
    try:
        parsed = cedarpy.Entities.from_json_str(
            f"[{','.join(entity.text for entity in chunk)}]", schema, release_gil=True
        )
    except ValueError as error:
        if len(chunk) == 1:
            return [(chunk[0], _refusal(chunk[0], schema, str(error)))]
        middle = len(chunk) // 2
        halves = chunk[:middle], chunk[middle:]
        return [refused for half in halves for refused in _read_chunk(half, schema, entities, shared)]
    explicit: dict[EntityUid, dict[str, Any]] = {}
    if schema is not None:
        explicit = {uid_from_json(form["uid"]): form for form in json.loads(str(parsed))}
    for entity in chunk:
        found = entity.kept or _explicit(entity, explicit[entity.uid], shared)
        entities.setdefault(entity.uid.type, {})[entity.uid.id] = found
    return []


def _explicit(entity: _Raw, form: dict[str, Any], shared: Shared) -> Kept:
    # Cedar prints all ancestors that it knows as parents; what is kept is what was written.
    written = {**form, "parents": [parent._asdict() for parent in entity.parents]}
    return kept(written, entity.uid, entity.parents, json.dumps(written), shared)


def find_entities(text: str) -> dict[EntityUid, tuple[int, int]]:
    """Line and column of each entity in an entity file; of the first where one is there twice."""
    raw, _ = _scan(text, None)
    lines = LineIndex(text)
    return {entity.uid: lines.position(entity.offset) for entity in reversed(raw)}


def _refusal(entity: _Raw, schema: cedarpy.Schema | None, message: str) -> str:
    """Cedar's message with the part that is at fault, found by leaving parts out until Cedar agrees."""
    form = json.loads(entity.text)
    for part in ("parents", "tags", "attrs"):
        for number, name in enumerate(islice(form.get(part, ()), _MAX_TRIALS)):
            kept = [p for i, p in enumerate(form[part]) if i != number]
            trial = {**form, part: kept if part == "parents" else {key: form[part][key] for key in kept}}
            try:
                cedarpy.Entities.from_json_str(json.dumps([trial]), schema)
            except ValueError:
                continue
            shown = str(uid_from_json(name)) if part == "parents" else name
            return f"`{entity.uid}`: {message}; at fault is `{shown}` in `{part}`"
    return f"`{entity.uid}`: {message}"
