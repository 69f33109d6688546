"""Which tools a subject could ever call: an answer for lists of tools, never a decision.

A call's arguments are not known yet, so a tool is hidden only where they cannot matter: a forbid applies whatever they
are, or no permit can apply. For that, policies have been taken apart into what is known before a call (`Guards`) and
the rest. All known parts are asked of Cedar at once, as policies of their own; the rest is taken to be possible.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import cedarpy

from pdp.cedar.authorize import UNKNOWN_TOOL
from pdp.cedar.cache import BoundedCache
from pdp.cedar.conditions import Guard
from pdp.cedar.engine import ask, read
from pdp.cedar.entities import EntityStore, references
from pdp.cedar.evaluate import NOT_PERMITTED, cedar_uids, forbidden_by
from pdp.cedar.index import Rule
from pdp.cedar.model import Denial, EntityUid, Subject
from pdp.cedar.policy_model import CallableTool, PolicyModel
from pdp.cedar.questions import MAX_KEY_LENGTH, require_acted_for, require_type
from pdp.cedar.slices import PolicySlices
from pdp.errors import InvalidRequestError

#: Answers kept, one for each tool of a list.
_ANSWERS = 200_000
_ON_BEHALF_OF = "on_behalf_of"

_Answers = dict[str, Denial | None]


class ToolFilter:
    """Answers for one snapshot. Safe to share between threads; its answers die with it."""

    def __init__(self, model: PolicyModel, slices: PolicySlices) -> None:
        self._model = model
        self._slices = slices
        self._kept: BoundedCache[tuple[Subject, str, bytes], _Answers] = BoundedCache(_ANSWERS)

    def filter(
        self, subject: Subject, server: str, names: Sequence[str], context: bytes, entities: EntityStore | None = None
    ) -> _Answers:
        """For each tool why the subject can never call it, or None if it could. `context` is JSON text, or empty.

        `entities` are those that a question of this subject can see, the bundle's if there are no others. Raises
        InvalidRequestError where the caller's part is malformed.
        """
        model, principal = self._model, subject.principal
        require_type(principal, "subject.entity.type")
        if model.principal_types is not None and principal.type not in model.principal_types:
            message = f"`{principal.type}` is not a principal type of tool calls in the bundle's schema"
            raise InvalidRequestError("subject.entity.type", message)
        given = model.context.read(context)
        if subject.on_behalf_of is not None:
            acted_for = require_acted_for(subject.on_behalf_of, model.on_behalf_of_type)
            given = {**given, _ON_BEHALF_OF: acted_for}
        key = (subject, server, context)
        known = self._kept.get(key)
        if known is None or not known.keys() >= set(names):
            store = model.entities if entities is None else entities
            known = {**(known or {}), **self._answer(principal, server, names, given, store)}
            if len(principal.id) + len(subject.facts) + len(server) + len(context) <= MAX_KEY_LENGTH:
                self._kept.put(key, known, 1 + len(known))
        return known if len(known) == len(names) else {name: known[name] for name in names}

    def _answer(
        self, principal: EntityUid, server: str, names: Sequence[str], given: dict[str, Any], store: EntityStore
    ) -> _Answers:
        tools = {name: self._model.tools.get((server, name)) for name in names}
        asked = self._slices.index.principal((principal, store.ancestors(principal)))
        rules = {name: self._rules(asked, tool, store) for name, tool in tools.items() if tool is not None}
        candidates = {id(rule): rule for found in rules.values() for rule in found}
        tool = next((tool for tool in tools.values() if tool is not None), None)
        held = self._held(candidates.values(), principal, tool, given, store) if tool is not None else frozenset()
        return {name: _denial(rules[name], held, given) if name in rules else UNKNOWN_TOOL for name in names}

    def _rules(self, asked: frozenset[int], tool: CallableTool, store: EntityStore) -> list[Rule]:
        """The enforced rules whose scope matches a call of this tool, by a principal that has what is `asked`."""
        sides = ((uid, store.ancestors(uid)) for uid in (tool.action, tool.resource))
        return [rule for rule in self._slices.applicable(asked, *sides) if not rule.policy.shadow]

    def _held(
        self,
        rules: Iterable[Rule],
        principal: EntityUid,
        tool: CallableTool,
        given: dict[str, Any],
        store: EntityStore,
    ) -> frozenset[str]:
        """The texts of those guards that hold, of all that can be known."""
        found = list(rules)
        guards = {guard.text: guard for rule in found for guard in rule.policy.guards.known if _is_known(guard, given)}
        if not guards:
            return frozenset()
        texts = list(guards)
        literals = frozenset[EntityUid]().union(*(rule.policy.literals for rule in found))
        roots = {principal, tool.action, tool.resource, *references(given), *literals}
        entities = store.slice(roots, max(rule.policy.derefs for rule in found))
        request = {**cedar_uids(principal, tool.action, tool.resource), "context": json.dumps(given)}
        [answer] = ask([request], _as_permits(texts), entities, None)
        decision, reasons, errors = read(answer)
        if decision == "NoDecision":
            raise InvalidRequestError("subject.entity", "; ".join(errors))
        return frozenset(texts[int(reason.removeprefix("g"))] for reason in reasons)


def _denial(rules: Sequence[Rule], held: frozenset[str], given: dict[str, Any]) -> Denial | None:
    """Why no call of a tool can be allowed, or None where one could."""
    forbids = [rule for rule in rules if rule.policy.effect == "forbid" and _applies_to_all(rule, held)]
    if forbids:
        return forbidden_by(forbids)
    permits = (rule for rule in rules if rule.policy.effect == "permit")
    return None if any(_can_apply(rule, held, given) for rule in permits) else NOT_PERMITTED


def _applies_to_all(rule: Rule, held: frozenset[str]) -> bool:
    guards = rule.policy.guards
    return not guards.is_open and all(guard.text in held for guard in guards.known)


def _can_apply(rule: Rule, held: frozenset[str], given: dict[str, Any]) -> bool:
    return all(guard.text in held or not _is_known(guard, given) for guard in rule.policy.guards.known)


def _is_known(guard: Guard, given: dict[str, Any]) -> bool:
    """Whether all that a guard reads of the context is given. What is not given may still come with a call, but for
    whom the subject acts for: that is known to be nobody.
    """
    return all(key in given or key == _ON_BEHALF_OF for key in guard.keys)


def _as_permits(texts: Sequence[str]) -> cedarpy.PolicySet:
    """Conditions as policies of their own, named `g0`, `g1`, …: Cedar names those that hold as reasons."""
    everything = '{"op":"All"}'
    policies = ",".join(
        f'"g{number}":{{"effect":"permit","principal":{everything},"action":{everything},"resource":{everything},'
        f'"conditions":[{text}]}}'
        for number, text in enumerate(texts)
    )
    return cedarpy.PolicySet.from_json_str(f'{{"staticPolicies":{{{policies}}},"templates":{{}},"templateLinks":[]}}')
