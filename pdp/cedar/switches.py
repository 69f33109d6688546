"""Conditions that ask of one thing which value it is: few of them can hold, and one look tells which.

`context.input.repo == "a"` and `context.input.repo == "b" && …` are two cases of one switch. Bundles have thousands of
such rules, for one tool or for a tool each. To try all that a tool has takes time, and so does fetching them from
memory; a switch is one dictionary for those of all tools.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pdp.cedar.expressions import All, Expression, Facts
from pdp.cedar.model import EntityUid
from pdp.cedar.value_expressions import IsOneOf, IsValue

#: Fewer values are as quickly tried.
_FEWEST_VALUES = 8
#: Each member of a set becomes a value of its own, which takes memory.
_MOST_MEMBERS = 16
#: Conditions that more rules have are common enough to be near at hand, and quicker tried where a tool has few of them.
_COMMON = 64
#: In so few numbers one is found as quickly as in a set, which takes five times the memory.
_FEW_NUMBERS = 8

#: Equal to Cedar where they are to Python, and there are many of each.
_KINDS = frozenset({str, int, EntityUid})


class _Question(NamedTuple):
    """What conditions have alike: all of `before` has to hold, and then `of` to be some value of `kind`."""

    before: tuple[Expression, ...]
    of: Expression
    kind: type


class Switch:
    """The conditions of a bundle that begin with one question. Immutable, and safe to share between threads.

    `common` are the numbers of rules for a value that many rules are for.
    """

    __slots__ = ("_before", "_kind", "_numbers", "_value", "common")

    def __init__(self, question: _Question, by_value: Mapping[Hashable, Collection[int]]) -> None:
        self._before = All(question.before) if question.before else None
        self._value = question.of.value
        self._kind = question.kind
        self._numbers = {value: _compact(numbers) for value, numbers in by_value.items()}
        self.common = frozenset().union(*(numbers for numbers in by_value.values() if len(numbers) > _COMMON))

    def numbers(self, facts: Facts) -> Collection[int] | None:
        """The numbers of the rules whose conditions may hold; all others surely do not, and without an error.

        Raises UnsureError where each of the conditions would, because they begin alike.
        """
        if self._before is not None and not self._before.value(facts):
            return None
        found = self._value(facts)
        return self._numbers.get(found) if type(found) is self._kind else None


def _compact(numbers: Collection[int]) -> Collection[int]:
    return tuple(numbers) if len(numbers) <= _FEW_NUMBERS else frozenset(numbers)


def find_switches(conditions: Sequence[Expression | None]) -> list[Switch | None]:
    """The switch that each condition is a case of, by the number of its rule; None for a condition that is of none."""
    questions: dict[_Question, dict[Hashable, list[int]]] = {}
    for number, condition in enumerate(conditions):
        question, values = _case_of(condition)
        if question is not None:
            by_value = questions.setdefault(question, {})
            for value in values:
                by_value.setdefault(value, []).append(number)
    found: list[Switch | None] = [None] * len(conditions)
    for question, by_value in questions.items():
        if len(by_value) >= _FEWEST_VALUES:
            switch = Switch(question, by_value)
            for numbers in by_value.values():
                for number in numbers:
                    found[number] = switch
    return found


def switches_of(cases: Iterable[int], switches: Sequence[Switch | None]) -> tuple[Switch, ...]:
    """The switches that these rules are cases of, each once."""
    found = dict.fromkeys(switches[number] for number in cases)
    return tuple([switch for switch in found if switch is not None])


def _case_of(condition: Expression | None) -> tuple[_Question | None, Iterable[Hashable]]:
    """The question that a condition begins with, and the values with which it goes on; None where it has none."""
    if condition is None:
        return None, ()
    parts = condition.parts if isinstance(condition, All) else (condition,)
    for place, part in enumerate(parts):
        of, values = _values_of(part)
        kinds = set(map(type, values))
        if of is not None and len(kinds) == 1 and kinds <= _KINDS:
            return _Question(parts[:place], of, kinds.pop()), values
    return None, ()


def _values_of(part: Expression) -> tuple[Expression | None, Collection[Hashable]]:
    """What a part compares, and the values with which it holds; None where it compares with none."""
    if isinstance(part, IsValue):
        return part.of, (part.constant,)
    if isinstance(part, IsOneOf) and len(part.members) <= _MOST_MEMBERS:
        # These are in canonical form. It is the text itself for texts, and a tuple, so no kind of ours, for all else.
        return part.item, part.members
    return None, ()
