"""Which policies can apply to a request, by their scope alone.

Cedar evaluates every policy of a set, so its cost is linear in the set. A policy whose scope does not match is false
and cannot err, so leaving it out changes neither the decision, nor the determining policies, nor the errors. The
index names exactly the policies whose scope matches.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pdp.cedar.model import EntityUid
from pdp.cedar.policies import Constraint, Policy, Scope

_Key = Hashable
_K = TypeVar("_K", bound=Hashable)
_Value = TypeVar("_Value")

#: One side of a request: a uid and all its ancestors.
Side = tuple[EntityUid, Iterable[EntityUid]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What Cedar evaluates: a static policy, or a template linked with `slots`."""

    id: str
    policy: Policy
    slots: Mapping[str, EntityUid] = field(default_factory=dict)

    @property
    def principal(self) -> Constraint:
        """The principal part of the scope, slot filled."""
        return self._filled(self.policy.scope.principal)

    @property
    def resource(self) -> Constraint:
        """The resource part of the scope, slot filled."""
        return self._filled(self.policy.scope.resource)

    def _filled(self, constraint: Constraint) -> Constraint:
        if constraint.slot is None:
            return constraint
        return constraint._replace(uid=self.slots[constraint.slot], slot=None)


#: Rules, by number, of one action and resource constraint: by the number of what they ask of a principal.
Table = dict[int, list[int]]


class PolicyIndex:
    """Finds the rules whose scope a request matches. Immutable once made."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_action: dict[_Key, dict[_Key, Table]] = {}
        #: What scopes ask of principals gets numbers: they are compared with each request.
        self._numbers: dict[_Key, int] = {}
        #: Whom or what they name.
        self._named: set[EntityUid] = set()
        #: The number of what each rule asks of a principal.
        self.asked: list[int] = []
        for number, rule in enumerate(rules):
            asked = self._numbers.setdefault(_constraint_key(rule.principal), len(self._numbers))
            if rule.principal.uid is not None:
                self._named.add(rule.principal.uid)
            self.asked.append(asked)
            for action in _action_keys(rule.policy.scope):
                tables = self._by_action.setdefault(action, {})
                tables.setdefault(_constraint_key(rule.resource), {}).setdefault(asked, []).append(number)
        #: What anybody has of what scopes ask, and what all have of a type that a scope names.
        self._of_anybody = self._numbers_of([None])
        self._of_type = {key: self._numbers_of([None, key]) for key in self._numbers if isinstance(key, str)}

    def _numbers_of(self, keys: Iterable[_Key]) -> frozenset[int]:
        return frozenset([self._numbers[key] for key in keys if key in self._numbers])

    def tables(self, action: Side, resource: Side) -> tuple[Table, ...]:
        """Where the rules stand that this action and resource match."""
        resource_keys = _request_keys(*resource)
        uid, groups = action
        found: list[Table] = []
        for key in (None, uid, ("in", uid), *(("in", group) for group in groups)):
            found += matching(self._by_action.get(key, {}), resource_keys)
        return tuple(found)

    def asked_of_members(self, entity_type: str, places: Iterable[EntityUid]) -> frozenset[int]:
        """The numbers of what scopes ask of principals and all of this type have that are in these places."""
        within = [(("in", place), ("is in", entity_type, place)) for place in self._named.intersection(places)]
        of_type = self.asked_of_type(entity_type)
        return of_type.union(self._numbers_of(key for pair in within for key in pair)) if within else of_type

    def asked_of_type(self, entity_type: str) -> frozenset[int]:
        """The numbers of what scopes ask of principals and all of this type have."""
        return self._of_type.get(entity_type, self._of_anybody)

    def asked_of(self, uid: EntityUid, as_member: frozenset[int]) -> frozenset[int]:
        """The numbers of what scopes ask of principals and this one has, beside what it has as a member."""
        if uid not in self._named:
            return as_member
        return as_member.union(self._numbers_of((uid, ("in", uid), ("is in", uid.type, uid))))

    def principal(self, principal: Side) -> frozenset[int]:
        """The numbers of what scopes ask of principals and this one has."""
        uid, ancestors = principal
        return self.asked_of(uid, self.asked_of_members(uid.type, ancestors))

    def candidates(self, principal: Side, action: Side, resource: Side) -> tuple[int, ...]:
        """The numbers, ascending, of the rules whose scope matches."""
        return tuple(sorted(rules_of(self.tables(action, resource), self.principal(principal))))


def rules_of(tables: Iterable[Table], asked: frozenset[int]) -> set[int]:
    """The numbers of the rules in `tables` that ask no more of a principal than it has."""
    found: set[int] = set()
    for table in tables:
        for numbers in matching(table, asked):
            found.update(numbers)
    return found


def matching(table: Mapping[_K, _Value], keys: Collection[_K]) -> list[_Value]:
    """What stands under those keys; quick where either is short."""
    if len(table) < len(keys):
        return [value for key, value in table.items() if key in keys]
    return [table[key] for key in keys if key in table]


def _action_keys(scope: Scope) -> Iterable[_Key]:
    if scope.actions is None:
        return (None,)
    return scope.actions if scope.exact_action else [("in", action) for action in scope.actions]


def _constraint_key(constraint: Constraint) -> _Key:
    if constraint.uid is None:
        return constraint.entity_type
    if constraint.exact:
        return constraint.uid
    if constraint.entity_type is None:
        return "in", constraint.uid
    return "is in", constraint.entity_type, constraint.uid


def _request_keys(uid: EntityUid, ancestors: Iterable[EntityUid]) -> frozenset[_Key]:
    """Every constraint that an entity with these ancestors meets."""
    places = (uid, *ancestors)
    within = ((("in", place), ("is in", uid.type, place)) for place in places)
    return frozenset((None, uid.type, uid, *(key for pair in within for key in pair)))
