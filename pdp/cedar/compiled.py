"""Requests answered without Cedar's evaluator, where that is certain to change nothing.

A request's candidates are known, and their conditions are expressions that look at what is at hand. Where each of them
says yes or no, Cedar would say the same and so the answer is known. Where one is unsure (an error, an extension type
that only Cedar knows) there is no answer from here, and the caller asks Cedar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pdp.cedar.cache import BoundedCache, CacheCounts
from pdp.cedar.entities import EntityStore
from pdp.cedar.evaluate import authorization_of
from pdp.cedar.expressions import Expression, Facts
from pdp.cedar.index import PolicyIndex, Rule, Side, Table, rules_of
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.questions import MAX_KEY_LENGTH
from pdp.cedar.values import UnsureError

#: Answers that are kept, each counted with the policies that made it.
_ANSWERS = 65_536
#: Combinations of groups whose part in scopes is at hand, each counted with its groups.
_MEMBERS = 65_536
#: What a table of rules may ask of principals, in how many ways, to be gone through one by one.
_FEW = 8


class Candidate(NamedTuple):
    """A rule as it is evaluated: what it asks of a principal, as a number, and its condition."""

    number: int
    asked: int
    condition: Expression | None
    shadow: bool


class Candidates(NamedTuple):
    """The rules that an action and a resource match; `many` stand in tables by what they ask of a principal."""

    few: tuple[Candidate, ...]
    many: tuple[Table, ...]


class CompiledPolicies:
    """Answers for one snapshot. Safe to share between threads; what it keeps dies with it.

    `entities` are the bundle's. `size` bounds the principals that are kept, `counts` tells how often they were found.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        index: PolicyIndex,
        entities: EntityStore,
        size: int,
        counts: CacheCounts | None = None,
    ) -> None:
        self._rules = rules
        self._index = index
        self._entities = entities
        self._candidates = [
            Candidate(number, self._index.asked[number], rule.policy.condition, rule.policy.shadow)
            for number, rule in enumerate(rules)
        ]
        self._principals: BoundedCache[EntityUid, frozenset[int]] = BoundedCache(size, counts)
        self._members: BoundedCache[tuple[str, tuple[EntityUid, ...]], frozenset[int]] = BoundedCache(_MEMBERS)
        self._answers: BoundedCache[tuple[bool, tuple[int, ...]], Authorization] = BoundedCache(_ANSWERS)

    def candidates(self, action: Side, resource: Side) -> Candidates:
        """The candidates of calls of one tool."""
        tables = self._index.tables(action, resource)
        few = {number for table in tables if len(table) <= _FEW for numbers in table.values() for number in numbers}
        many = tuple(table for table in tables if len(table) > _FEW)
        return Candidates(tuple(self._candidates[number] for number in sorted(few)), many)

    def answer(self, candidates: Candidates, facts: Facts) -> Authorization | None:
        """The answer to a call, or None where that is for Cedar to say. `facts` are all that the call may see."""
        held: list[int] = []
        has_shadow = False
        try:
            for number, _, condition, shadow in self._applicable(candidates, facts):
                found = None if condition is None else condition.value(facts)
                if found is True:
                    held.append(number)
                elif found is not False:
                    return None
                has_shadow = has_shadow or shadow
        except UnsureError:
            return None
        satisfied = tuple(sorted(held)) if len(held) > 1 else tuple(held)
        known = self._answers.get((has_shadow, satisfied))
        if known is None:
            known = authorization_of([self._rules[number] for number in satisfied], has_shadow=has_shadow)
            self._answers.put((has_shadow, satisfied), known, 1 + len(satisfied))
        return known

    def _applicable(self, candidates: Candidates, facts: Facts) -> Iterable[Candidate]:
        asked = self._asked_of(facts)
        few = [candidate for candidate in candidates.few if candidate.asked in asked]
        if not candidates.many:
            return few
        # A rule that names several groups of an action can stand in several tables.
        numbers = rules_of(candidates.many, asked).union(candidate.number for candidate in few)
        return [self._candidates[number] for number in numbers]

    def _asked_of(self, facts: Facts) -> frozenset[int]:
        """What scopes ask of principals and this one has."""
        if facts.entities is not self._entities:
            # The request's own entities can say what a principal is in, for this request alone.
            return self._asked_anew(facts.principal, facts.entities)
        known = self._principals.get(facts.principal)
        if known is None:
            known = self._asked_anew(facts.principal, self._entities)
            if len(facts.principal.id) <= MAX_KEY_LENGTH:
                self._principals.put(facts.principal, known)
        return known

    def _asked_anew(self, principal: EntityUid, entities: EntityStore) -> frozenset[int]:
        entity = entities.get(principal)
        parents = () if entity is None else entity.parents
        if entities is not self._entities:
            return self._index.asked_of(principal, self._asked_of_members(principal.type, parents, entities))
        members = self._members.get((principal.type, parents))
        if members is None:
            members = self._asked_of_members(principal.type, parents, entities)
            self._members.put((principal.type, parents), members, 1 + len(parents))
        return self._index.asked_of(principal, members)

    def _asked_of_members(
        self, entity_type: str, parents: Sequence[EntityUid], entities: EntityStore
    ) -> frozenset[int]:
        places = frozenset(parents).union(*map(entities.ancestors, parents))
        return self._index.asked_of_members(entity_type, places)
