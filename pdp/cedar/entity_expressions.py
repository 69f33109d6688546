"""Expressions that look into records and entities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pdp.cedar.cache import shared_text
from pdp.cedar.entities import Entity
from pdp.cedar.expressions import Expression, Facts, Variable
from pdp.cedar.kept_entities import Packed, attribute_of
from pdp.cedar.model import EntityUid
from pdp.cedar.values import UnsureError, Value, plain


class Attribute(Expression):
    """`of.a.b`: attributes of records and entities, one after another."""

    __slots__ = ("_get", "names", "of")

    def __init__(self, of: Expression, names: tuple[str, ...]) -> None:
        self.of = of
        # As the names of entities' attributes are.
        self.names = tuple(map(shared_text, names))
        # Most are attributes of variables, and there are many of them.
        self._get: Callable[[Facts], Value] = of.get if isinstance(of, Variable) else of.value

    def value(self, facts: Facts) -> Value:
        """The last attribute."""
        found = self._get(facts)
        for name in self.names:
            found = _of_record(found, name) if type(found) is dict else _of_entity(found, name, facts)
            if type(found) is dict:
                found = plain(found)
        return found


def _of_record(record: Mapping[str, Any], name: str) -> Any:
    try:
        return record[name]
    except KeyError:
        raise UnsureError from None


def _of_entity(uid: Value, name: str, facts: Facts) -> Any:
    """An attribute of an entity."""
    entity = _entity(uid, facts)
    try:
        if isinstance(entity, tuple):
            return attribute_of(entity, name)
        if entity is not None:
            return entity.attrs[name]
    except (KeyError, ValueError):
        pass
    raise UnsureError


class Argument(Expression):
    """`context.input.name`: what most conditions look at."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = shared_text(name)

    def value(self, facts: Facts) -> Value:
        """The argument. Where `input` is no record, that is for Cedar."""
        try:
            found = facts.context["input"][self._name]
        except (KeyError, TypeError):
            raise UnsureError from None
        return plain(found) if type(found) is dict else found


class Has(Expression):
    """`of has name`."""

    __slots__ = ("_name", "_of")

    def __init__(self, of: Expression, name: str) -> None:
        self._of = of
        self._name = shared_text(name)

    def value(self, facts: Facts) -> bool:
        """Whether it does. What does not exist has nothing."""
        of = self._of.value(facts)
        if type(of) is dict:
            return self._name in of
        entity = _entity(of, facts)
        if isinstance(entity, tuple):
            return self._name in entity[0]
        return entity is not None and self._name in entity.attrs


def _entity(uid: Value, facts: Facts) -> Packed | Entity | None:
    if uid is facts.principal:
        return facts.principal_entity
    if uid is not facts.last_uid:
        if type(uid) is not EntityUid:
            raise UnsureError
        facts.last_entity = facts.entities.look(uid)
        facts.last_uid = uid
    return facts.last_entity


class GetTag(Expression):
    """`of.getTag(key)`."""

    __slots__ = ("_key", "_of")

    def __init__(self, of: Expression, key: Expression) -> None:
        self._of = of
        self._key = key

    def value(self, facts: Facts) -> Value:
        """The tag."""
        tags, key = _tags(self._of.value(facts), facts), self._key.value(facts)
        if type(key) is not str or key not in tags:
            raise UnsureError
        return plain(tags[key])


class HasTag(GetTag):
    """`of.hasTag(key)`."""

    __slots__ = ()

    def value(self, facts: Facts) -> bool:
        """Whether it does."""
        tags, key = _tags(self._of.value(facts), facts), self._key.value(facts)
        if type(key) is not str:
            raise UnsureError
        return key in tags


def _tags(holder: Value, facts: Facts) -> Mapping[str, Any]:
    entity = _entity(holder, facts)
    # Those with tags are not kept in parts.
    return entity.tags if isinstance(entity, Entity) else {}


class In(Expression):
    """`left in right`; `right` is an entity, or a set of entities."""

    __slots__ = ("_left", "_right")

    def __init__(self, left: Expression, right: Expression) -> None:
        self._left = left
        self._right = right

    def value(self, facts: Facts) -> bool:
        """Whether it is: itself, or through its parents."""
        inner, outer = self._left.value(facts), self._right.value(facts)
        if type(inner) is not EntityUid:
            raise UnsureError
        if type(outer) is EntityUid:
            return inner == outer or outer in facts.entities.ancestors(inner)
        if type(outer) is not list:
            raise UnsureError
        places = [plain(place) for place in outer]
        if any(type(place) is not EntityUid for place in places):
            raise UnsureError
        return inner in places or not facts.entities.ancestors(inner).isdisjoint(places)


class Is(Expression):
    """`of is entity_type`."""

    __slots__ = ("_of", "_type")

    def __init__(self, of: Expression, entity_type: str) -> None:
        self._of = of
        self._type = entity_type

    def value(self, facts: Facts) -> bool:
        """Whether the entity is of that type; it need not exist."""
        uid = self._of.value(facts)
        if type(uid) is not EntityUid:
            raise UnsureError
        return uid.type == self._type
