"""What calls of a tool match, put together when a bundle is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pdp.cedar.arguments import ToolInput
from pdp.cedar.expressions import Expression
from pdp.cedar.index import Table
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.switches import Switch, switches_of

#: Answers at hand beside the candidates.
_ANSWERS_OF_EACH = 16


class Cases:
    """Rules that ask the same of a principal, too many to go through, and the switches that tell them apart."""

    __slots__ = ("numbers", "switches")

    def __init__(self, numbers: Iterable[int], switches: Sequence[Switch | None]) -> None:
        self.numbers = frozenset(numbers)
        self.switches = switches_of(self.numbers, switches)


class LargeTable:
    """Rules of one table, too many to go through: by what they ask of a principal, as `cases` where there are many.

    The others are the `rest`; where these are no more than `few`, they are `plain` ones instead, for each call to go
    through. `shadows` is what shadow policies among all of them ask.
    """

    __slots__ = ("cases", "plain", "rest", "shadows")

    def __init__(self, table: Table, switches: Sequence[Switch | None], shadows: frozenset[int], few: int) -> None:
        self.cases: dict[int, Cases] = {}
        rest: Table = {}
        for asked, numbers in table.items():
            cases = [number for number in numbers if switches[number] is not None] if len(numbers) > few else []
            if cases:
                self.cases[asked] = Cases(cases, switches)
            others = [number for number in numbers if switches[number] is None] if cases else numbers
            if others:
                rest[asked] = others
        is_short = sum(map(len, rest.values())) <= few
        self.plain = frozenset().union(*rest.values()) if is_short else frozenset()
        self.rest: Table = {} if is_short else rest
        self.shadows = frozenset([asked for asked, numbers in table.items() if not shadows.isdisjoint(numbers)])


@dataclass(frozen=True, slots=True)
class Plan:
    """How calls are answered, of all tools that have this alike.

    `conditions` are those of a tool's first rules, `asked` is what these ask of a principal; its further rules are
    cases of `switches`. `forbids` has a bit for each forbid, at its place, and `shadows` is what the shadow policies
    among all of these ask. `large` are tables of still more rules. `input` is how arguments are read.
    """

    asked: tuple[int, ...]
    conditions: tuple[Expression | None, ...]
    switches: tuple[Switch, ...]
    forbids: int
    shadows: frozenset[int]
    large: tuple[LargeTable, ...]
    input: ToolInput


class Candidates:
    """A tool, and the rules that calls of it match.

    `alone` are the answers where one of `numbers` decides alone and no shadow policy applies; behind them stands the
    one where no rule holds. `answers` keeps some: by the rules that decide, or, where a shadow policy applies, by those
    that hold with all bits the other way round; `last` is the one that was given last. A large bundle is seldom in the
    processor's caches, so a call looks at no more of it than it has to, and at what tools have alike in one place.
    """

    __slots__ = ("alone", "answers", "last", "numbers", "plan", "tool")

    def __init__(
        self, tool: CallableTool, plan: Plan, numbers: tuple[int, ...], alone: tuple[Authorization, ...]
    ) -> None:
        self.plan = plan
        self.alone = alone
        self.last: tuple[int, Authorization] | None = None
        self.answers: dict[int, Authorization] = {}
        self.numbers = numbers
        self.tool = tool

    @property
    def action(self) -> EntityUid:
        """The tool's action."""
        return self.tool.action

    @property
    def resource(self) -> EntityUid:
        """The tool's server."""
        return self.tool.resource

    def keep(self, key: int, answer: Authorization) -> None:
        """Keep an answer; of too many, none but the last ones."""
        if len(self.answers) >= _ANSWERS_OF_EACH:
            self.answers.clear()
        self.answers[key] = answer
