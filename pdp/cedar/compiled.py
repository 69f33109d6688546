"""Requests answered without Cedar's evaluator, where that is certain to change nothing.

A request's candidates are known, and their conditions are expressions that look at what is at hand. Where each of them
says yes or no, Cedar would say the same and so the answer is known. Where one is unsure (an error, an extension type
that only Cedar knows) there is no answer from here, and the caller asks Cedar.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pdp.cedar.cache import BoundedCache
from pdp.cedar.candidates import Candidates, LargeTable, Plan
from pdp.cedar.entities import EntityStore
from pdp.cedar.evaluate import authorization_of
from pdp.cedar.expressions import Facts
from pdp.cedar.index import PolicyIndex, Rule, Table, matching, rules_of
from pdp.cedar.kept_entities import Lineage
from pdp.cedar.model import Authorization
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.switches import Switch, find_switches, switches_of
from pdp.cedar.values import UnsureError

#: Answers that are kept, each counted with the policies that made it.
_ANSWERS = 65_536
#: Tables of no more rules are gone through one by one.
_FEW = 16


class CompiledPolicies:
    """Answers for one snapshot, whose entities are `entities`. Safe to share between threads."""

    def __init__(self, rules: Sequence[Rule], index: PolicyIndex, entities: EntityStore) -> None:
        self._rules = rules
        self._index = index
        self._entities = entities
        self._conditions = [rule.policy.condition for rule in rules]
        self._switches = find_switches(self._conditions)
        self._large_tables: dict[int, LargeTable] = {}
        self._shadows = frozenset(number for number, rule in enumerate(rules) if rule.policy.shadow)
        self._forbids = [rule.policy.effect == "forbid" for rule in rules]
        self._nothing = authorization_of([], has_shadow=False)
        #: The answers where one rule decides alone and no shadow policy applies. Most calls get one of these.
        self._alone = [authorization_of([rule], has_shadow=rule.policy.shadow) for rule in rules]
        #: Says of what a lineage remembers that it is of these policies: the next ones may have the same entities.
        self._mark = object()
        #: What lineages remember; for all that are asked the same there is one object.
        self._of_members: dict[frozenset[int], tuple[object, frozenset[int]]] = {}
        self._answers: BoundedCache[tuple[bool, tuple[int, ...]], Authorization] = BoundedCache(_ANSWERS)

    def tools(self, tools: Mapping[tuple[str, str], CallableTool]) -> dict[str, dict[str, Candidates]]:
        """What calls of tools match as far as the bundle's entities say, by tool and server.

        Where there are many tools, many servers have the same: so the fewest names have to be fetched.
        """
        plans: dict[Plan, Plan] = {}
        found: dict[str, dict[str, Candidates]] = {}
        servers: dict[str, str] = {}
        for (server, name), tool in tools.items():
            of_servers = found.setdefault(name, {})
            of_servers[servers.setdefault(server, server)] = self.candidates(tool, self._entities, plans)
        return found

    def candidates(
        self, tool: CallableTool, entities: EntityStore, plans: dict[Plan, Plan] | None = None
    ) -> Candidates:
        """The candidates of calls of one tool, where `entities` say what its action and its server are in.

        Tools that are made with the same `plans` share these.
        """
        few: set[int] = set()
        large: list[LargeTable] = []
        for table in self._index.tables(*((uid, entities.ancestors(uid)) for uid in (tool.action, tool.resource))):
            # There is no empty list in it, and many tools may have the same long table.
            if len(table) > _FEW or sum(map(len, table.values())) > _FEW:
                large.append(self._large(table))
                few.update(large[-1].plain)
            else:
                few.update(*table.values())
        plain = sorted([number for number in few if not self._is_rare_case(number)])
        cases = sorted(few.difference(plain))
        numbers = (*plain, *cases)
        asked = [self._index.asked[number] for number in numbers]
        plan = Plan(
            asked=tuple(asked[: len(plain)]),
            conditions=tuple([self._conditions[number] for number in plain]),
            switches=switches_of(cases, self._switches),
            forbids=sum(1 << place for place, number in enumerate(numbers) if self._forbids[number]),
            shadows=frozenset(
                [wanted for number, wanted in zip(numbers, asked, strict=True) if number in self._shadows]
            ),
            large=tuple(large),
            input=tool.input,
        )
        if plans is not None:
            plan = plans.setdefault(plan, plan)
        return Candidates(tool, plan, numbers, (*(self._alone[number] for number in numbers), self._nothing))

    def _is_rare_case(self, number: int) -> bool:
        switch = self._switches[number]
        return switch is not None and number not in switch.common

    def _large(self, table: Table) -> LargeTable:
        # The index keeps its tables, so each goes by its own id.
        known = self._large_tables.get(id(table))
        if known is None:
            known = self._large_tables.setdefault(id(table), LargeTable(table, self._switches, self._shadows, _FEW))
        return known

    def answer(self, candidates: Candidates, facts: Facts) -> Authorization | None:
        """The answer to a call, or None where that is for Cedar to say. `facts` are all that the call may see."""
        asked = self._asked_of(facts)
        plan = candidates.plan
        held, bit = 0, 1
        try:
            for wanted, condition in zip(plan.asked, plan.conditions, strict=True):
                if wanted in asked:
                    found = None if condition is None else condition.value(facts)
                    if found is True:
                        held += bit
                    elif found is not False:
                        return None
                bit += bit
            if plan.switches:
                held += self._held_cases(candidates, asked, facts)
            more = self._held_in_tables(candidates, asked, facts) if plan.large else None
        except UnsureError:
            return None
        has_shadow = not plan.shadows.isdisjoint(asked) or (bool(plan.large) and _has_shadow(plan.large, asked))
        if more:
            return self._answer_of([*more, *_at(candidates.numbers, held)] if held else [*more], has_shadow)
        if has_shadow:
            key = ~held
        else:
            # Where a forbid holds, permits make no difference to the answer.
            key = held = held & plan.forbids or held
            if not key & (key - 1):
                # A power of two, or zero, which takes the last one: one rule decides, or none holds.
                return candidates.alone[key.bit_length() - 1]
        last = candidates.last
        if last is None or last[0] != key:
            answer = candidates.answers.get(key) or self._kept_answer(candidates, key, held, has_shadow)
            candidates.last = last = (key, answer)
        return last[1]

    def _kept_answer(self, candidates: Candidates, key: int, held: int, has_shadow: bool) -> Authorization:
        answer = self._answer_of(_at(candidates.numbers, held), has_shadow)
        candidates.keep(key, answer)
        return answer

    def _answer_of(self, held: list[int], has_shadow: bool) -> Authorization:
        """The answer where these rules hold; the same object for the same rules, as long as it is kept."""
        if len(held) == 1 and not has_shadow:
            return self._alone[held[0]]
        satisfied = tuple(sorted(held))
        known = self._answers.get((has_shadow, satisfied))
        if known is None:
            known = authorization_of([self._rules[number] for number in satisfied], has_shadow=has_shadow)
            self._answers.put((has_shadow, satisfied), known, 1 + len(satisfied))
        return known

    def _holds(self, number: int, facts: Facts) -> bool:
        """Whether a rule's condition does. Raises UnsureError unless it surely does or does not."""
        condition = self._conditions[number]
        found = None if condition is None else condition.value(facts)
        if found is not True and found is not False:
            raise UnsureError
        return found

    def _held_cases(self, candidates: Candidates, asked: frozenset[int], facts: Facts) -> int:
        """The candidates among the cases of switches that apply and hold, as bits at their places.

        Raises UnsureError unless each surely does or does not.
        """
        found: dict[Switch | None, Collection[int]] = {}
        for switch in candidates.plan.switches:
            try:
                numbers = switch.numbers(facts)
            except UnsureError:
                # So is each of its cases; those that apply will say so themselves.
                numbers = candidates.numbers
            if numbers is not None:
                found[switch] = numbers
        held = 0
        if found:
            for place in range(len(candidates.plan.conditions), len(candidates.numbers)):
                number = candidates.numbers[place]
                may_hold = number in found.get(self._switches[number], ())
                if may_hold and self._index.asked[number] in asked and self._holds(number, facts):
                    held += 1 << place
        return held

    def _held_in_tables(self, candidates: Candidates, asked: frozenset[int], facts: Facts) -> set[int]:
        """The rules in large tables that apply and hold. Raises UnsureError unless each surely does or does not."""
        held: set[int] = set()
        for large in candidates.plan.large:
            for cases in matching(large.cases, asked):
                # All of them apply, so where a switch is unsure one of them is.
                for switch in cases.switches:
                    numbers = switch.numbers(facts)
                    if numbers is not None:
                        for number in cases.numbers.intersection(numbers):
                            if self._holds(number, facts):
                                held.add(number)
            if large.rest:
                held.update([number for number in rules_of([large.rest], asked) if self._holds(number, facts)])
        # A rule that names several groups of an action can stand in several tables.
        return held.difference(candidates.numbers) if held else held

    def _asked_of(self, facts: Facts) -> frozenset[int]:
        """What scopes ask of principals and this one has."""
        principal, entity = facts.principal, facts.principal_entity
        if entity is None:
            return self._index.asked_of(principal, self._index.asked_of_type(principal.type))
        lineage: Lineage = entity[1] if isinstance(entity, tuple) else entity.lineage
        mark, members = lineage.asked
        # A request's own entities can say what a principal is and is in, for this request alone.
        if mark is not self._mark or facts.entities is not self._entities:
            members = self._asked_of_members(lineage, facts.entities)
        return self._index.asked_of(principal, members)

    def _asked_of_members(self, lineage: Lineage, entities: EntityStore) -> frozenset[int]:
        parents = lineage.parents
        places = frozenset(parents).union(*map(entities.ancestors, parents))
        members = self._index.asked_of_members(lineage.type, places)
        if entities is self._entities:
            lineage.asked = self._of_members.setdefault(members, (self._mark, members))
        return members


def _at(numbers: Sequence[int], places: int) -> list[int]:
    """The numbers at those places whose bit is set."""
    return [number for place, number in enumerate(numbers) if places >> place & 1]


def _has_shadow(tables: Sequence[LargeTable], asked: frozenset[int]) -> bool:
    """Whether any rule in these that applies is a shadow policy."""
    for table in tables:  # noqa: SIM110 - a generator costs each call more
        if not table.shadows.isdisjoint(asked):
            return True
    return False
