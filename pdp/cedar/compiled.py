"""Requests answered without Cedar's evaluator, where that is certain to change nothing.

A request's candidates are known, and their conditions are expressions that look at what is at hand. Where each of them
says yes or no, Cedar would say the same and so the answer is known. Where one is unsure (an error, an extension type
that only Cedar knows) there is no answer from here, and the caller asks Cedar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdp.cedar.cache import BoundedCache
from pdp.cedar.entities import EntityStore
from pdp.cedar.evaluate import authorization_of
from pdp.cedar.expressions import Expression, Facts
from pdp.cedar.index import PolicyIndex, Rule, Table, rules_of
from pdp.cedar.kept_entities import Lineage
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.values import UnsureError

#: Answers that are kept, each counted with the policies that made it.
_ANSWERS = 65_536
#: Those at hand beside the candidates.
_ANSWERS_OF_EACH = 16
#: Tables of no more rules are gone through one by one.
_FEW = 16


#: Tuples that tools may have alike.
_Shared = dict[tuple[Any, ...], tuple[Any, ...]]


class Candidates:
    """A tool, and the rules that calls of it match.

    What rules ask of a principal, their conditions, their numbers, and the answers where one of them decides alone and
    no shadow policy applies, go together; behind those answers stands the one where no rule holds. `forbids` has a bit
    for each forbid, at its place; `many` are further rules, in tables by what they ask. `answers` keeps some: by the
    rules that decide, or, where a shadow policy applies, by those that hold with all bits the other way round; `last`
    is the one that was given last. A large bundle is seldom in the processor's caches, so a call looks at no more of it
    than it has to: `input` is the tool's, at hand.
    """

    __slots__ = ("alone", "answers", "asked", "conditions", "forbids", "input", "last", "many", "numbers", "tool")

    def __init__(
        self,
        tool: CallableTool,
        numbers: tuple[int, ...],
        asked: tuple[int, ...],
        conditions: tuple[Expression | None, ...],
        alone: tuple[Authorization, ...],
        forbids: int,
        many: tuple[Table, ...],
    ) -> None:
        self.input = tool.input
        self.forbids = forbids
        self.asked = asked
        self.conditions = conditions
        self.alone = alone
        self.many = many
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


class CompiledPolicies:
    """Answers for one snapshot, whose entities are `entities`. Safe to share between threads."""

    def __init__(self, rules: Sequence[Rule], index: PolicyIndex, entities: EntityStore) -> None:
        self._rules = rules
        self._index = index
        self._entities = entities
        self._conditions = [rule.policy.condition for rule in rules]
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
        shared: _Shared = {}
        found: dict[str, dict[str, Candidates]] = {}
        servers: dict[str, str] = {}
        for (server, name), tool in tools.items():
            of_servers = found.setdefault(name, {})
            of_servers[servers.setdefault(server, server)] = self.candidates(tool, self._entities, shared)
        return found

    def candidates(self, tool: CallableTool, entities: EntityStore, shared: _Shared | None = None) -> Candidates:
        """The candidates of calls of one tool, where `entities` say what its action and its server are in.

        What tools have alike is one object for all that are made with the same `shared`.
        """
        few: set[int] = set()
        many: list[Table] = []
        for table in self._index.tables(*((uid, entities.ancestors(uid)) for uid in (tool.action, tool.resource))):
            if len(table) > _FEW or sum(map(len, table.values())) > _FEW:
                many.append(table)
            else:
                few.update(*table.values())
        numbers = tuple(sorted(few))
        asked = tuple([self._index.asked[number] for number in numbers])
        conditions = tuple([self._conditions[number] for number in numbers])
        if shared is not None:
            asked, conditions = shared.setdefault(asked, asked), shared.setdefault(conditions, conditions)
        alone = (*(self._alone[number] for number in numbers), self._nothing)
        forbids = sum(1 << place for place, number in enumerate(numbers) if self._forbids[number])
        return Candidates(tool, numbers, asked, conditions, alone, forbids, tuple(many))

    def answer(self, candidates: Candidates, facts: Facts) -> Authorization | None:
        """The answer to a call, or None where that is for Cedar to say. `facts` are all that the call may see."""
        asked = self._asked_of(facts)
        held, bit = 0, 1
        try:
            for wanted, condition in zip(candidates.asked, candidates.conditions, strict=True):
                if wanted in asked:
                    found = None if condition is None else condition.value(facts)
                    if found is True:
                        held += bit
                    elif found is not False:
                        return None
                bit += bit
            more = self._held_of(candidates, asked, facts) if candidates.many else []
        except UnsureError:
            return None
        has_shadow = bool(self._shadows) and self._has_shadow(candidates, asked)
        if more:
            return self._answer_of(_at(candidates.numbers, held) + more, has_shadow)
        if has_shadow:
            key = ~held
        else:
            # Where a forbid holds, permits make no difference to the answer.
            key = held = held & candidates.forbids or held
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
        satisfied = tuple(sorted(held))
        known = self._answers.get((has_shadow, satisfied))
        if known is None:
            known = authorization_of([self._rules[number] for number in satisfied], has_shadow=has_shadow)
            self._answers.put((has_shadow, satisfied), known, 1 + len(satisfied))
        return known

    def _held_of(self, candidates: Candidates, asked: frozenset[int], facts: Facts) -> list[int]:
        """The rules in the tables that apply and hold. Raises UnsureError unless each surely does or does not."""
        held = []
        # A rule that names several groups of an action can stand in several tables.
        for number in rules_of(candidates.many, asked).difference(candidates.numbers):
            condition = self._conditions[number]
            found = None if condition is None else condition.value(facts)
            if found is True:
                held.append(number)
            elif found is not False:
                raise UnsureError
        return held

    def _has_shadow(self, candidates: Candidates, asked: frozenset[int]) -> bool:
        """Whether any rule that applies is a shadow policy."""
        few = zip(candidates.numbers, candidates.asked, strict=True)
        if any(wanted in asked and number in self._shadows for number, wanted in few):
            return True
        return not self._shadows.isdisjoint(rules_of(candidates.many, asked))

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
