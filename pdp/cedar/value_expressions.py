"""Expressions that compare, calculate and collect values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pdp.cedar.expressions import Expression, Facts
from pdp.cedar.model import EntityUid
from pdp.cedar.values import (
    LONG_MAX,
    LONG_MIN,
    DecimalValue,
    UnsureError,
    Value,
    canonical,
    canonical_items,
    decimal_value,
)

#: Two values of one of these kinds are equal to Cedar where they are to Python.
PLAIN = frozenset({str, int, bool, EntityUid})


class Equal(Expression):
    """`left == right`: values of different kinds are different, and it never errs."""

    __slots__ = ("_left", "_right")

    def __init__(self, left: Expression, right: Expression) -> None:
        self._left = left
        self._right = right

    def value(self, facts: Facts) -> bool:
        """Whether they are."""
        left, right = self._left.value(facts), self._right.value(facts)
        if type(left) is type(right) and type(left) in PLAIN:
            return bool(left == right)
        return canonical(left) == canonical(right)


class IsValue(Expression):
    """`of == constant` for a string, an integer, a boolean or an entity that was written into the policy."""

    __slots__ = ("_kind", "constant", "of")

    def __init__(self, of: Expression, constant: Value) -> None:
        self.of = of
        self.constant = constant
        self._kind = type(constant)

    def value(self, facts: Facts) -> bool:
        """Whether it is."""
        found = self.of.value(facts)
        return type(found) is self._kind and bool(found == self.constant)


class Compare(Expression):
    """`left < right` and its like, for two values of `kind`."""

    __slots__ = ("_compare", "_kind", "_left", "_right")

    def __init__(
        self, compare: Callable[[Any, Any], bool], kind: type[int | DecimalValue], left: Expression, right: Expression
    ) -> None:
        self._compare = compare
        self._kind = kind
        self._left = left
        self._right = right

    def value(self, facts: Facts) -> bool:
        """Whether it holds."""
        left, right = self._left.value(facts), self._right.value(facts)
        if type(left) is not self._kind or type(right) is not self._kind:
            raise UnsureError
        return self._compare(left, right)


class CompareWith(Expression):
    """`of < constant` and its like, for a value of the constant's kind."""

    __slots__ = ("_compare", "_constant", "_kind", "_of")

    def __init__(self, compare: Callable[[Any, Any], bool], of: Expression, constant: Value) -> None:
        self._compare = compare
        self._of = of
        self._constant = constant
        self._kind = type(constant)

    def value(self, facts: Facts) -> bool:
        """Whether it holds."""
        found = self._of.value(facts)
        if type(found) is not self._kind:
            raise UnsureError
        return self._compare(found, self._constant)


class Calculate(Expression):
    """`left + right` and its like."""

    __slots__ = ("_left", "_operator", "_right")

    def __init__(self, operator: Callable[[int, int], int], left: Expression, right: Expression) -> None:
        self._operator = operator
        self._left = left
        self._right = right

    def value(self, facts: Facts) -> int:
        """The number, if 64 bits hold it."""
        left, right = self._left.value(facts), self._right.value(facts)
        if type(left) is not int or type(right) is not int:
            raise UnsureError
        found = self._operator(left, right)
        if not LONG_MIN <= found <= LONG_MAX:
            raise UnsureError
        return found


class DecimalOf(Expression):
    """`decimal(text)`."""

    __slots__ = ("_text",)

    def __init__(self, text: Expression) -> None:
        self._text = text

    def value(self, facts: Facts) -> DecimalValue:
        """The decimal."""
        return decimal_value(self._text.value(facts))


class Like(Expression):
    """`of like pattern`. `literals` are what stands between the pattern's wildcards, empty texts included."""

    __slots__ = ("_first", "_last", "_middle", "_of")

    def __init__(self, of: Expression, literals: Sequence[str]) -> None:
        self._of = of
        self._first = literals[0]
        self._middle = tuple(literals[1:-1])
        #: None where there is no wildcard at all.
        self._last = literals[-1] if len(literals) > 1 else None

    def value(self, facts: Facts) -> bool:
        """Whether it does. Takes time in proportion to the text and the pattern, whatever they are."""
        text = self._of.value(facts)
        if type(text) is not str:
            raise UnsureError
        first, last = self._first, self._last
        if last is None:
            return text == first
        position, end = len(first), len(text) - len(last)
        if position > end or not text.startswith(first) or not text.endswith(last):
            return False
        # The leftmost place for each part leaves the most to those behind it.
        for part in self._middle:
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True


class SetOf(Expression):
    """`[a, b, …]`."""

    __slots__ = ("_items",)

    def __init__(self, items: tuple[Expression, ...]) -> None:
        self._items = items

    def value(self, facts: Facts) -> list[Value]:
        """The set."""
        return [item.value(facts) for item in self._items]


class RecordOf(Expression):
    """`{a: …, b: …}`."""

    __slots__ = ("_fields",)

    def __init__(self, fields: tuple[tuple[str, Expression], ...]) -> None:
        self._fields = fields

    def value(self, facts: Facts) -> dict[str, Value]:
        """The record."""
        return {name: inner.value(facts) for name, inner in self._fields}


class Contains(Expression):
    """`of.contains(item)`."""

    __slots__ = ("_item", "_of")

    def __init__(self, of: Expression, item: Expression) -> None:
        self._of = of
        self._item = item

    def value(self, facts: Facts) -> bool:
        """Whether it does."""
        held, item = _items(self._of.value(facts)), self._item.value(facts)
        # Many policies may look into one long set, so what is quick to say is said at once.
        if type(item) is str or (type(item) is int and item not in held):
            return item in held
        form = canonical(item)
        return any(canonical(each) == form for each in held)


class IsOneOf(Expression):
    """`[…].contains(item)` for a set that was written into the policy."""

    __slots__ = ("item", "members")

    def __init__(self, members: list[Value], item: Expression) -> None:
        self.members = frozenset(map(canonical, members))
        self.item = item

    def value(self, facts: Facts) -> bool:
        """Whether it does."""
        return canonical(self.item.value(facts)) in self.members


class ContainsAll(Expression):
    """`left.containsAll(right)`."""

    __slots__ = ("_left", "_right")

    def __init__(self, left: Expression, right: Expression) -> None:
        self._left = left
        self._right = right

    def value(self, facts: Facts) -> bool:
        """Whether it does."""
        held, asked = _items(self._left.value(facts)), _items(self._right.value(facts))
        return canonical_items(held) >= canonical_items(asked)


class ContainsAny(ContainsAll):
    """`left.containsAny(right)`."""

    __slots__ = ()

    def value(self, facts: Facts) -> bool:
        """Whether it does."""
        held, asked = _items(self._left.value(facts)), _items(self._right.value(facts))
        return not canonical_items(held).isdisjoint(canonical_items(asked))


class IsEmpty(Expression):
    """`of.isEmpty()`."""

    __slots__ = ("_of",)

    def __init__(self, of: Expression) -> None:
        self._of = of

    def value(self, facts: Facts) -> bool:
        """Whether it is."""
        return not _items(self._of.value(facts))


def _items(holder: Value) -> list[Value]:
    if type(holder) is not list:
        raise UnsureError
    return holder
