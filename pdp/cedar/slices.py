"""The policies that can apply to one request, ready for Cedar.

The same candidates come up again and again, so their parsed sets are kept. Shadow policies get sets of their own, by
effect: Cedar names only forbids where a forbid matches, and a shadow report names everything that matched.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import cedarpy

from pdp.cedar.cache import BoundedCache, CacheCounts
from pdp.cedar.context import ContextCut, ContextUse
from pdp.cedar.index import PolicyIndex, Rule, Side, rules_of
from pdp.cedar.model import Authorization, EntityUid

#: Different answers of one slice that are kept: most slices have a handful, errors can name any entity.
_ANSWERS = 256


class PolicyGroup:
    """Some rules parsed as one Cedar policy set. `rules` maps Cedar's ids in that set to rules."""

    __slots__ = ("policy_set", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        texts: list[str] = []
        links: list[dict[str, object]] = []
        templates: dict[str, str] = {}
        self.rules: dict[str, Rule] = {}
        for rule in rules:
            if not rule.policy.slots:
                self.rules[f"policy{len(texts)}"] = rule
                texts.append(rule.policy.text)
                continue
            template = templates.get(rule.policy.id)
            if template is None:
                template = templates[rule.policy.id] = f"policy{len(texts)}"
                texts.append(rule.policy.text)
            new_id = f"link{len(links)}"
            self.rules[new_id] = rule
            values = {slot: rule.slots[slot]._asdict() for slot in rule.policy.slots}
            links.append({"template_id": template, "new_id": new_id, "values": values})
        # Cedar names the policies of a text `policy0`, `policy1`, … in the order of the text.
        parsed = cedarpy.PolicySet.from_str("\n".join(texts))
        self.policy_set = parsed.with_linked_batch(links) if links else parsed


class PolicyGroups(NamedTuple):
    """Rules by what they are asked for; None stands for no rules. Shadow rules are apart by effect."""

    enforced: PolicyGroup | None
    shadow_permits: PolicyGroup | None
    shadow_forbids: PolicyGroup | None

    @property
    def has_shadow(self) -> bool:
        """Whether any rule is a shadow policy."""
        return self.shadow_permits is not None or self.shadow_forbids is not None


class PolicySlice:
    """The candidates of one request shape, ready for Cedar. Each set of them is parsed when it is first asked.

    `literals`, `derefs` and `cut` say what else they can look at. `answers` keeps what has been made of what
    Cedar said.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self.has_shadow = any(rule.policy.shadow for rule in rules)
        self.literals = frozenset[EntityUid]().union(*(rule.policy.literals for rule in rules))
        self.derefs = max((rule.policy.derefs for rule in rules), default=0)
        self.cut = ContextCut(ContextUse.union(rule.policy.context for rule in rules))
        self.answers: BoundedCache[Hashable, Authorization] = BoundedCache(_ANSWERS)

    @property
    def weight(self) -> int:
        """How many policies are held parsed: what a slice costs to keep."""
        return len(self._rules) + 1

    @cached_property
    def all(self) -> PolicyGroups:
        """All candidates. The enforced group is there even if it is empty: Cedar checks the request all the same."""
        groups = _groups(self._rules)
        return groups if groups.enforced else groups._replace(enforced=PolicyGroup(()))

    @cached_property
    def fixed(self) -> PolicyGroups:
        """The candidates that never look at the context: for one shape they always say the same."""
        return _groups([rule for rule in self._rules if not rule.policy.context])

    @cached_property
    def varying(self) -> PolicyGroups:
        """The candidates that look at the context."""
        return _groups([rule for rule in self._rules if rule.policy.context])


def _groups(rules: Sequence[Rule]) -> PolicyGroups:
    enforced = [rule for rule in rules if not rule.policy.shadow]
    permits = [rule for rule in rules if rule.policy.shadow and rule.policy.effect == "permit"]
    forbids = [rule for rule in rules if rule.policy.shadow and rule.policy.effect == "forbid"]
    return PolicyGroups(*(PolicyGroup(part) if part else None for part in (enforced, permits, forbids)))


class PolicySlices:
    """Slices by candidate set, kept in a bounded cache (`size` counts policies). Safe to share between threads."""

    def __init__(self, rules: Sequence[Rule], size: int, counts: CacheCounts | None = None) -> None:
        self._rules = rules
        self._index = PolicyIndex(rules)
        self._slices: BoundedCache[tuple[int, ...], PolicySlice] = BoundedCache(size, counts)

    @property
    def index(self) -> PolicyIndex:
        """The rules by their scope."""
        return self._index

    def applicable(self, asked: frozenset[int], action: Side, resource: Side) -> list[Rule]:
        """The rules whose scope a request matches; `asked` is what `PolicyIndex.principal` says of who asks."""
        return [self._rules[number] for number in sorted(rules_of(self._index.tables(action, resource), asked))]

    def find(self, principal: Side, action: Side, resource: Side) -> PolicySlice:
        """The slice for a request."""
        numbers = self._index.candidates(principal, action, resource)
        found = self._slices.get(numbers)
        if found is None:
            found = PolicySlice([self._rules[number] for number in numbers])
            self._slices.put(numbers, found, found.weight)
        return found
