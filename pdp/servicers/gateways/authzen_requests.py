"""What AuthZEN requests say: JSON documents to evaluations and searches, read strictly, unknown members ignored.

The members are those of the OpenID AuthZEN Authorization API 1.0. A mistake names the member by its path in the
document, such as `subject.type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from pdp.cedar.strict_json import kind_of
from pdp.errors import InvalidRequestError, OverLimitError

Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]

_SEMANTICS: Final[dict[str, Semantic]] = {name: name for name in get_args(Semantic)}

#: What a top-level member is the default of in each item of `evaluations`.
_DEFAULTS: Final = ("subject", "action", "resource", "context")


@dataclass(frozen=True, slots=True)
class Entity:
    """A subject or a resource. `id` is empty only where a search leaves it open."""

    type: str
    id: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """What is done."""

    name: str
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One question."""

    subject: Entity
    action: Action
    resource: Entity
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Several questions, in order; in the place of a malformed one stands what is wrong with it."""

    items: tuple[Evaluation | InvalidRequestError, ...]
    semantic: Semantic


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of what a search finds is wanted: at most `limit` results (None: all) behind the one named `after`."""

    limit: int | None = None
    after: str = ""


def read_evaluation(document: Mapping[str, Any]) -> Evaluation:
    """The question in a document. Raises InvalidRequestError."""
    return Evaluation(
        _entity(document, "subject"),
        _action(document),
        _entity(document, "resource"),
        _object(document, "context", "context"),
    )


def read_evaluations(document: Mapping[str, Any], limit: int) -> Evaluations | None:
    """The questions in a document; None where it is a single one in the older form.

    Raises InvalidRequestError where the document as a whole is malformed, OverLimitError for more than `limit` items.
    """
    semantic = _semantic(document)
    items = document.get("evaluations", [])
    if type(items) is not list:
        raise _wrong("evaluations", f"must be an array, not {kind_of(items)}")
    if len(items) > limit:
        raise OverLimitError(f"`evaluations` holds {len(items)}; at most {limit}")
    if not items:
        return None
    defaults = {name: document[name] for name in _DEFAULTS if name in document}
    return Evaluations(tuple(_item(item, defaults) for item in items), semantic)


def read_resource_search(document: Mapping[str, Any]) -> Evaluation:
    """The question of a resource search: its resource has no `id`. Raises InvalidRequestError."""
    return Evaluation(
        _entity(document, "subject"),
        _action(document),
        _entity(document, "resource", open_id=True),
        _object(document, "context", "context"),
    )


def read_action_search(document: Mapping[str, Any]) -> Evaluation:
    """The question of an action search: its action has no name. Raises InvalidRequestError."""
    return Evaluation(
        _entity(document, "subject"),
        Action(""),
        _entity(document, "resource"),
        _object(document, "context", "context"),
    )


def read_page(document: Mapping[str, Any]) -> Page | None:
    """The page that a search asks for, None where it asks for everything. Raises InvalidRequestError."""
    if "page" not in document:
        return None
    form = _object(document, "page", "page")
    limit, token = form.get("limit"), form.get("token", "")
    if "limit" in form and (type(limit) is not int or limit < 1):
        raise _wrong("page.limit", "must be an integer of at least 1")
    if type(token) is not str:
        raise _wrong("page.token", f"must be a string, not {kind_of(token)}")
    return Page(limit, token)


def _item(item: Any, defaults: Mapping[str, Any]) -> Evaluation | InvalidRequestError:
    if type(item) is not dict:
        return _wrong("evaluations", f"an item must be an object, not {kind_of(item)}")
    try:
        return read_evaluation({**defaults, **item})
    except InvalidRequestError as error:
        return error


def _semantic(document: Mapping[str, Any]) -> Semantic:
    path = "options.evaluations_semantic"
    named = _object(document, "options", "options").get("evaluations_semantic", "execute_all")
    if type(named) is not str or named not in _SEMANTICS:
        raise _wrong(path, "must be `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`")
    return _SEMANTICS[named]


def _entity(document: Mapping[str, Any], name: str, *, open_id: bool = False) -> Entity:
    form = _required_object(document, name)
    return Entity(
        _text(form, "type", name),
        "" if open_id else _text(form, "id", name),
        _object(form, "properties", f"{name}.properties"),
    )


def _action(document: Mapping[str, Any]) -> Action:
    form = _required_object(document, "action")
    return Action(_text(form, "name", "action"), _object(form, "properties", "action.properties"))


def _required_object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in document:
        raise InvalidRequestError(name, f"`{name}` is missing", "MISSING_FIELD")
    return _object(document, name, name)


def _object(form: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    value = form.get(name, {})
    if type(value) is not dict:
        raise _wrong(path, f"must be an object, not {kind_of(value)}")
    found: Mapping[str, Any] = value
    return found


def _text(form: Mapping[str, Any], name: str, parent: str) -> str:
    path = f"{parent}.{name}"
    value = form.get(name, "")
    if type(value) is not str:
        raise _wrong(path, f"must be a string, not {kind_of(value)}")
    # An empty identity is more often a lost one than a name.
    if not value:
        raise InvalidRequestError(path, f"`{path}` is missing", "MISSING_FIELD")
    return value


def _wrong(path: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(path, f"`{path}` {message}")
