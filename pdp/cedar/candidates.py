"""What calls of a tool match, put together when a bundle is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pdp.cedar.arguments import ToolInput
from pdp.cedar.expressions import Expression
from pdp.cedar.index import Table
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.switches import Switch, switches_of

#: Answers at hand beside the candidates.
_ANSWERS_OF_EACH = 16


class LargeTable:
    """Rules of one table, too many to go through: `cases` are found by `switches`, the `rest` by what they ask.

    Where the rest are no more than `few`, they are `plain` ones, for each call to go through. `shadows` is what shadow
    policies among all of them ask.
    """

    __slots__ = ("cases", "plain", "rest", "shadows", "switches")

    def __init__(self, table: Table, switches: Sequence[Switch | None], shadows: frozenset[int], few: int) -> None:
        self.cases = frozenset(
            [number for numbers in table.values() for number in numbers if switches[number] is not None]
        )
        rest = {asked: [number for number in numbers if number not in self.cases] for asked, numbers in table.items()}
        is_short = sum(map(len, rest.values())) <= few
        self.plain = frozenset().union(*rest.values()) if is_short else frozenset()
        self.rest: Table = {} if is_short else rest
        self.shadows = frozenset([asked for asked, numbers in table.items() if not shadows.isdisjoint(numbers)])
        self.switches = switches_of(self.cases, switches)


class Plan:
    """How calls are answered, of all tools that have this alike.

    `conditions` are those of a tool's first rules, `asked` is what these ask of a principal; its further rules are
    cases of `switches`. `forbids` has a bit for each forbid, at its place. `large` are tables of still more rules.
    `shadows` is what the shadow policies among all of these ask of a principal. `input` is how arguments are read.
    """

    __slots__ = ("asked", "conditions", "forbids", "input", "large", "shadows", "switches")

    def __init__(
        self,
        asked: tuple[int, ...],
        conditions: tuple[Expression | None, ...],
        switches: tuple[Switch, ...],
        forbids: int,
        large: tuple[LargeTable, ...],
        shadows: frozenset[int],
        tool_input: ToolInput,
    ) -> None:
        self.asked = asked
        self.conditions = conditions
        self.switches = switches
        self.forbids = forbids
        self.large = large
        self.shadows = shadows
        self.input = tool_input


#: Plans by what they consist of.
Plans = dict[tuple[Any, ...], Plan]


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
