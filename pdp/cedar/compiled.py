"""Requests answered without Cedar's evaluator, where that is certain to change nothing.

A request's candidates are known, and their conditions are expressions that look at what is at hand. Where each of them
says yes or no, Cedar would say the same and so the answer is known. Where one is unsure (an error, an extension type
that only Cedar knows) there is no answer from here, and the caller asks Cedar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pdp.cedar.cache import BoundedCache, CacheCounts
from pdp.cedar.entities import EntityStore
from pdp.cedar.evaluate import authorization_of
from pdp.cedar.expressions import Expression, Facts
from pdp.cedar.index import Rule
from pdp.cedar.model import Authorization, EntityUid
from pdp.cedar.questions import MAX_KEY_LENGTH
from pdp.cedar.slices import PolicySlices
from pdp.cedar.values import UnsureError

#: Answers that are kept, each counted with the policies that made it.
_ANSWERS = 65_536


class CallShape(NamedTuple):
    """What calls have in common that can be answered alike: `entities` and `subject_facts` as in a query."""

    principal: EntityUid
    action: EntityUid
    resource: EntityUid
    entities: bytes
    subject_facts: str


class _Candidates:
    """What can apply to calls of one shape.

    `satisfied` are the rules, by number, that are satisfied whatever the context says; `varying` those that look at
    it. `certain` is false where Cedar has to be asked anyway.
    """

    __slots__ = ("certain", "has_shadow", "satisfied", "varying")

    def __init__(self, rules: Mapping[int, Rule], facts: Facts) -> None:
        self.has_shadow = any(rule.policy.shadow for rule in rules.values())
        fixed: list[tuple[int, Expression]] = []
        varying: list[tuple[int, Expression]] = []
        for number, rule in rules.items():
            if rule.policy.condition is not None:
                (varying if rule.policy.context else fixed).append((number, rule.policy.condition))
        self.varying = tuple(varying)
        self.satisfied: tuple[int, ...] = ()
        self.certain = len(fixed) + len(varying) == len(rules)
        if self.certain:
            try:
                self.satisfied = _satisfied(fixed, facts)
            except UnsureError:
                self.certain = False


def _satisfied(conditions: Sequence[tuple[int, Expression]], facts: Facts) -> tuple[int, ...]:
    """The numbers of those that hold. Raises UnsureError unless each of them surely does or does not."""
    held = []
    for number, condition in conditions:
        found = condition.value(facts)
        if found is True:
            held.append(number)
        elif found is not False:
            raise UnsureError
    return tuple(held)


class CompiledPolicies:
    """Answers for one snapshot. Safe to share between threads; what it keeps dies with it.

    `size` bounds the shapes that are kept, `counts` tells how often they were found.
    """

    def __init__(self, slices: PolicySlices, size: int, counts: CacheCounts | None = None) -> None:
        self._slices = slices
        self._shapes: BoundedCache[CallShape, _Candidates] = BoundedCache(size, counts)
        self._answers: BoundedCache[tuple[bool, tuple[int, ...]], Authorization] = BoundedCache(_ANSWERS)

    def answer(self, shape: CallShape, context: Mapping[str, Any], entities: EntityStore) -> Authorization | None:
        """The answer to a call, or None where that is for Cedar to say.

        `context` is all of it, as explicit Cedar JSON, and `entities` all that `shape` can see.
        """
        facts = Facts(shape.principal, shape.action, shape.resource, context, entities)
        candidates = self._shapes.get(shape) or self._candidates(shape, facts)
        if not candidates.certain:
            return None
        try:
            satisfied = candidates.satisfied + _satisfied(candidates.varying, facts)
        except UnsureError:
            return None
        return self._answer(candidates.has_shadow, satisfied)

    def _candidates(self, shape: CallShape, facts: Facts) -> _Candidates:
        rules = self._slices.applicable(*((uid, facts.entities.ancestors(uid)) for uid in shape[:3]))
        found = _Candidates(rules, facts)
        names = sum(len(uid.type) + len(uid.id) for uid in shape[:3])
        if len(shape.entities) + len(shape.subject_facts) + names <= MAX_KEY_LENGTH:
            self._shapes.put(shape, found, 1 + len(found.varying) // 8)
        return found

    def _answer(self, has_shadow: bool, satisfied: tuple[int, ...]) -> Authorization:
        known = self._answers.get((has_shadow, satisfied))
        if known is None:
            rules = [self._slices.rule(number) for number in satisfied]
            known = authorization_of(rules, has_shadow=has_shadow)
            self._answers.put((has_shadow, satisfied), known, 1 + len(satisfied))
        return known
