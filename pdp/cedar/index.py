"""Which policies can apply to a request, by their scope alone.

Cedar evaluates every policy of a set, so its cost is linear in the set. A policy whose scope does not match is false
and cannot err, so leaving it out changes neither the decision, nor the determining policies, nor the errors. The
index may name too many policies, never too few.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pdp.cedar.model import EntityUid
from pdp.cedar.policies import Constraint, Policy

_Key = Hashable
_Leaves = dict[_Key, list[int]]
_Value = TypeVar("_Value")


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

    def is_for(self, principal: EntityUid, action: EntityUid, resource: EntityUid) -> bool:
        """Whether the scope matches a request for which the index names this rule.

        The index looks at `is T in E` as at `in E`, and at an action that is named as at a group of that name.
        """
        scope = self.policy.scope
        return (
            scope.principal.entity_type in (None, principal.type)
            and scope.resource.entity_type in (None, resource.type)
            and (not scope.exact_action or scope.actions == (action,))
        )

    def _filled(self, constraint: Constraint) -> Constraint:
        if constraint.slot is None:
            return constraint
        return constraint._replace(uid=self.slots[constraint.slot], slot=None)


class PolicyIndex:
    """Finds the rules whose scope a request can match. Immutable once made."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._by_action: dict[EntityUid | None, dict[_Key, _Leaves]] = {}
        for number, rule in enumerate(rules):
            actions = rule.policy.scope.actions
            for action in (None,) if actions is None else actions:
                by_principal = self._by_action.setdefault(action, {})
                by_resource = by_principal.setdefault(_constraint_key(rule.principal), {})
                by_resource.setdefault(_constraint_key(rule.resource), []).append(number)

    def candidates(
        self,
        principal: tuple[EntityUid, Iterable[EntityUid]],
        action: tuple[EntityUid, Iterable[EntityUid]],
        resource: tuple[EntityUid, Iterable[EntityUid]],
    ) -> tuple[int, ...]:
        """The numbers, ascending, of the rules that can apply. Each argument is a uid and all its ancestors."""
        found: set[int] = set()
        principal_keys = _request_keys(*principal)
        resource_keys = _request_keys(*resource)
        for action_key in (None, action[0], *action[1]):
            by_principal = self._by_action.get(action_key)
            if by_principal is None:
                continue
            for by_resource in _matching(by_principal, principal_keys):
                for numbers in _matching(by_resource, resource_keys):
                    found.update(numbers)
        return tuple(sorted(found))


def _matching(table: dict[_Key, _Value], keys: Sequence[_Key]) -> Iterable[_Value]:
    if len(table) < len(keys):
        return [value for key, value in table.items() if key in keys]
    return [table[key] for key in keys if key in table]


def _constraint_key(constraint: Constraint) -> _Key:
    if constraint.uid is None:
        return constraint.entity_type
    return constraint.uid if constraint.exact else ("in", constraint.uid)


def _request_keys(uid: EntityUid, ancestors: Iterable[EntityUid]) -> list[_Key]:
    return [None, uid.type, uid, ("in", uid), *(("in", ancestor) for ancestor in ancestors)]
