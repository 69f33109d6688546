"""One policy file to analysed policies.

Cedar parses; this module keeps each policy's own text (what is evaluated is always the text that was written) and
reads from Cedar's JSON form what the index and the slices need: scope, annotations, the entities a policy names,
how far it follows references, and which parts of the context it can see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cedarpy

from pdp.cedar.conditions import Guards, context_path, read_guards
from pdp.cedar.context import ContextUse
from pdp.cedar.expression_reader import read_conditions
from pdp.cedar.expressions import Expression
from pdp.cedar.model import Effect, EntityUid
from pdp.cedar.syntax import LineIndex, Statement, find_policy_excess, locate_error, split_statements
from pdp.errors import Problem

#: Statements handed to Cedar at once: `policies_to_json_str` keeps the interpreter lock, so one call stays in the
#: low milliseconds and serving threads run between two.
_CHUNK = 40

#: Deeper expressions cannot be walked within the interpreter's recursion limit (JSON nests two levels for each).
_TOO_DEEP = "the policy nests too deeply to be analysed; split it, or write long alternatives as `[…].contains(…)`"


class Constraint(NamedTuple):
    """One part of a policy's scope. All None: open. `exact` is `==`, otherwise `in`; `slot` is filled by a link."""

    entity_type: str | None = None
    uid: EntityUid | None = None
    exact: bool = False
    slot: str | None = None


OPEN = Constraint()


@dataclass(frozen=True, slots=True)
class Scope:
    """A policy's head. `actions` is None for any action, else the actions or groups named; `exact_action` is `==`."""

    principal: Constraint
    actions: tuple[EntityUid, ...] | None
    resource: Constraint
    exact_action: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """A static policy, or a template where `slots` is not empty.

    `literals` are the entities its conditions name (those of the scope are only compared with, so no request needs
    to know more of them). `derefs` bounds how many entity references any expression of it follows. `guards` is what
    has to hold that can be known before a call. `condition` is what has to hold in all, None where only Cedar can
    evaluate it. `line` and `column` count from 1.
    """

    id: str
    effect: Effect
    annotations: Mapping[str, str]
    scope: Scope
    text: str
    literals: frozenset[EntityUid]
    derefs: int
    context: ContextUse
    guards: Guards
    condition: Expression | None
    path: str
    line: int
    column: int
    slots: tuple[str, ...] = ()

    @property
    def shadow(self) -> bool:
        """Evaluated and reported, never enforced."""
        return self.annotations.get("enforcement") == "shadow"


@dataclass(frozen=True, slots=True)
class ParsedPolicies:
    """The policies and templates of one file in the order of the file, and what is wrong with it."""

    policies: tuple[Policy, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Reading:
    """What a walk over one policy's conditions has found so far."""

    literals: set[EntityUid] = field(default_factory=set)
    derefs: int = 0
    reads: set[tuple[str, ...]] = field(default_factory=set)
    asked: set[tuple[str, ...]] = field(default_factory=set)


def parse_policies(path: str, text: str) -> ParsedPolicies:
    """Parse and analyse the policy file `path` (relative to the bundle) with content `text`."""
    lines = LineIndex(text)
    policies: list[Policy] = []
    problems: list[Problem] = []
    for number, (statement, parsed) in enumerate(_parse_statements(split_statements(text)), 1):
        if isinstance(parsed, _Refusal):
            problems.append(Problem(path, *lines.position(statement.offset + parsed.offset), parsed.message))
            continue
        policy = _read_policy(path, number, lines.position(statement.offset), statement.text, parsed)
        problems.extend(_annotation_problems(policy))
        policies.append(policy)
    return ParsedPolicies(tuple(policies), tuple(problems))


class _Refusal(NamedTuple):
    """Why a statement is no policy, and at which offset of it."""

    offset: int
    message: str


_Parsed = tuple[Statement, dict[str, Any] | _Refusal]


def _parse_statements(statements: Sequence[Statement]) -> Iterable[_Parsed]:
    """Each statement with its JSON form, or with what is wrong with it."""
    for start in range(0, len(statements), _CHUNK):
        chunk = statements[start : start + _CHUNK]
        forms = None if any(find_policy_excess(part.text) is not None for part in chunk) else _try_chunk(chunk)
        yield from zip(chunk, forms or map(_parse_statement, chunk), strict=True)


def _try_chunk(chunk: Sequence[Statement]) -> list[dict[str, Any]] | None:
    try:
        return _json_forms("\n".join(part.text for part in chunk), len(chunk))
    except (ValueError, RecursionError):
        return None


def _parse_statement(statement: Statement) -> dict[str, Any] | _Refusal:
    excess = find_policy_excess(statement.text)
    if excess is not None:
        return _Refusal(excess, _TOO_DEEP)
    try:
        return _json_forms(statement.text, 1)[0]
    except RecursionError:
        return _Refusal(0, _TOO_DEEP)
    except ValueError as error:
        message = str(error)
        return _Refusal(locate_error(statement.text, message, cedarpy.PolicySet.from_str), message)


def _json_forms(text: str, count: int) -> list[dict[str, Any]]:
    """Cedar's JSON form of each statement of `text`, in order. ValueError unless there are `count`."""
    document = json.loads(cedarpy.policies_to_json_str(text))
    forms: dict[str, Any] = {**document["staticPolicies"], **document["templates"]}
    # Cedar names the policies of one text `policy0`, `policy1`, … in the order of the text.
    if forms.keys() != {f"policy{number}" for number in range(count)}:
        raise ValueError("expected exactly one policy before each `;`")
    return [forms[f"policy{number}"] for number in range(count)]


def _annotation_problems(policy: Policy) -> list[Problem]:
    mode = policy.annotations.get("enforcement")
    if mode in (None, "shadow", "enforce"):
        return []
    message = f"`@enforcement` is `{mode}`; write `shadow` or `enforce`"
    return [Problem(policy.path, policy.line, policy.column, message)]


def _read_policy(path: str, number: int, place: tuple[int, int], text: str, form: dict[str, Any]) -> Policy:
    annotations = {key: value or "" for key, value in form.get("annotations", {}).items()}
    scope = Scope(
        _constraint(form["principal"]),
        _actions(form["action"]),
        _constraint(form["resource"]),
        exact_action=form["action"]["op"] == "==",
    )
    reading = _Reading()
    for condition in form["conditions"]:
        _walk(condition["body"], reading)
    return Policy(
        id=annotations.get("id") or f"{path}#{number}",
        effect=form["effect"],
        annotations=annotations,
        scope=scope,
        text=text,
        literals=frozenset(reading.literals),
        derefs=reading.derefs,
        context=ContextUse(frozenset(reading.reads), frozenset(reading.asked)),
        guards=read_guards(form["conditions"]),
        condition=read_conditions(form["conditions"]),
        path=path,
        line=place[0],
        column=place[1],
        slots=tuple(slot for slot in (scope.principal.slot, scope.resource.slot) if slot),
    )


def _constraint(form: dict[str, Any]) -> Constraint:
    operator = form["op"]
    if operator == "All":
        return OPEN
    if operator == "is":
        inner = form.get("in", {})
        return Constraint(form["entity_type"], _uid(inner), slot=inner.get("slot"))
    return Constraint(None, _uid(form), exact=operator == "==", slot=form.get("slot"))


def _uid(form: dict[str, Any]) -> EntityUid | None:
    entity = form.get("entity")
    return None if entity is None else EntityUid(entity["type"], entity["id"])


def _actions(form: dict[str, Any]) -> tuple[EntityUid, ...] | None:
    if form["op"] == "All":
        return None
    named = form["entities"] if "entities" in form else [form["entity"]]
    return tuple(EntityUid(entity["type"], entity["id"]) for entity in named)


#: Operators of Cedar's JSON form that follow an entity reference (or read a record, which costs nothing more).
_DEREFERENCES = frozenset({".", "has", "getTag", "hasTag"})


def _walk(root: Any, reading: _Reading) -> None:
    """Note every entity literal, every use of the context, and the longest chain of references.

    Each bound errs on the side of more: an entity too many in a slice costs time, one too few an answer.
    """
    stack: list[tuple[Any, int]] = [(root, 0)]
    while stack:
        node, derefs = stack.pop()
        if isinstance(node, list):
            stack.extend((child, derefs) for child in node)
            continue
        if not isinstance(node, dict):
            continue
        path = context_path(node)
        if path is not None:
            (reading.asked if "has" in node else reading.reads).add(path)
            # The context itself is a record; only what is read from inside it can be an entity.
            reading.derefs = max(reading.derefs, derefs + max(len(path) - 1, 0))
            continue
        if "__entity" in node:
            _note_literal(node["__entity"], reading)
        derefs += not _DEREFERENCES.isdisjoint(node)
        reading.derefs = max(reading.derefs, derefs)
        stack.extend((child, derefs) for child in node.values())


def _note_literal(entity: Any, reading: _Reading) -> None:
    # `{"__entity": …}` is a literal, or a record expression with a key of that name: then it is not of this shape.
    if isinstance(entity, dict) and entity.keys() == {"type", "id"} and isinstance(entity["type"], str):
        reading.literals.add(EntityUid(entity["type"], entity["id"]))
