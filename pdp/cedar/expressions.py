"""Cedar expressions that are evaluated here.

Cedar's own evaluator has to be handed a whole request each time, which costs many times what the evaluation does.
These expressions look at what is at hand instead. They know values and never errors: whatever Cedar would call an
error, and whatever they cannot say for certain, is an `UnsureError`, and the question goes to Cedar. So they may be
unsure too often, which costs time; where they say something, it has to be what Cedar says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Protocol

from pdp.cedar.entities import Entity, EntityStore
from pdp.cedar.kept_entities import Packed
from pdp.cedar.model import EntityUid
from pdp.cedar.values import UnsureError, Value


class Target(Protocol):
    """What is asked for: a tool."""

    @property
    def action(self) -> EntityUid:
        """What is to be done."""

    @property
    def resource(self) -> EntityUid:
        """To what."""


class Facts:
    """What a request gives to look at. `context` is explicit Cedar JSON. For one thread: it remembers an entity."""

    __slots__ = ("context", "entities", "last_entity", "last_uid", "principal", "principal_entity", "target")

    def __init__(self, principal: EntityUid, target: Target, context: Mapping[str, Any], entities: EntityStore) -> None:
        self.principal = principal
        # Not its parts: few conditions look at them, and to take hold of something means to fetch it.
        self.target = target
        self.context = context
        self.entities = entities
        self.principal_entity = entities.look(principal)
        #: The other entity that was looked up last; conditions look at the same one again and again.
        self.last_uid: EntityUid | None = None
        self.last_entity: Packed | Entity | None = None


class Expression:
    """An expression. Immutable, and safe to share between threads."""

    __slots__ = ("__weakref__",)

    def value(self, facts: Facts) -> Value:
        """Its value. Raises UnsureError where that is Cedar's to say."""
        raise NotImplementedError


class Constant(Expression):
    """A value that was written into the policy."""

    __slots__ = ("constant",)

    def __init__(self, constant: Value) -> None:
        self.constant = constant

    def value(self, facts: Facts) -> Value:
        """The value."""
        return self.constant


TRUE = Constant(True)
_PATHS = {"action": "target.action", "resource": "target.resource"}


class Variable(Expression):
    """`principal`, `action`, `resource` or `context`."""

    __slots__ = ("get",)

    def __init__(self, name: str) -> None:
        self.get: Callable[[Facts], Value] = attrgetter(_PATHS.get(name, name))

    def value(self, facts: Facts) -> Value:
        """What the request has for it."""
        return self.get(facts)


class All(Expression):
    """`a && b && …`: parts behind a false one are never looked at."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Expression, ...]) -> None:
        self.parts = parts

    def value(self, facts: Facts) -> bool:
        """Whether all parts are true."""
        for part in self.parts:
            found = part.value(facts)
            if found is False:
                return False
            if found is not True:
                raise UnsureError
        return True


class AnyOf(Expression):
    """`a || b || …`: parts behind a true one are never looked at."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Expression, ...]) -> None:
        self.parts = parts

    def value(self, facts: Facts) -> bool:
        """Whether any part is true."""
        for part in self.parts:
            found = part.value(facts)
            if found is True:
                return True
            if found is not False:
                raise UnsureError
        return False


class Not(Expression):
    """`!of`."""

    __slots__ = ("_of",)

    def __init__(self, of: Expression) -> None:
        self._of = of

    def value(self, facts: Facts) -> bool:
        """The contrary."""
        found = self._of.value(facts)
        if type(found) is not bool:
            raise UnsureError
        return not found


class IfThenElse(Expression):
    """`if condition then one else other`; what is not chosen is never looked at."""

    __slots__ = ("_condition", "_one", "_other")

    def __init__(self, condition: Expression, one: Expression, other: Expression) -> None:
        self._condition = condition
        self._one = one
        self._other = other

    def value(self, facts: Facts) -> Value:
        """What is chosen."""
        found = self._condition.value(facts)
        if type(found) is not bool:
            raise UnsureError
        return (self._one if found else self._other).value(facts)
