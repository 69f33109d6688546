"""Which policies can apply to a request."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.index import PolicyIndex, Rule
from pdp.cedar.model import EntityUid
from pdp.cedar.policies import Constraint, parse_policies

_TYPES = ["User", "Group", "A::User"]
_IDS = ["x", "y"]
_UIDS = [EntityUid(kind, name) for kind in _TYPES for name in _IDS]
_ACTIONS = [EntityUid("Action", name) for name in ("read", "write", "all")]

_SCOPES = st.sampled_from(
    [
        "{}",
        *(f"{{}} == {uid}" for uid in _UIDS),
        *(f"{{}} in {uid}" for uid in _UIDS),
        *(f"{{}} is {kind}" for kind in _TYPES),
        *(f"{{}} is {kind} in {uid}" for kind in _TYPES for uid in _UIDS),
    ]
)
_ACTION_SCOPES = st.sampled_from(
    [
        "action",
        "action in []",
        *(f"action == {uid}" for uid in _ACTIONS),
        *(f"action in {uid}" for uid in _ACTIONS),
        f"action in [{_ACTIONS[0]}, {_ACTIONS[2]}]",
    ]
)
_POLICIES = st.tuples(_SCOPES, _ACTION_SCOPES, _SCOPES)
_SIDES = st.tuples(st.sampled_from(_UIDS), st.sets(st.sampled_from(_UIDS), max_size=3))
_ACTION_SIDES = st.tuples(st.sampled_from(_ACTIONS), st.sets(st.sampled_from(_ACTIONS), max_size=2))


def _rules(scopes: Iterable[tuple[str, str, str]]) -> list[Rule]:
    texts = [f"permit({p.format('principal')}, {a}, {r.format('resource')});" for p, a, r in scopes]
    parsed = parse_policies("p.cedar", "\n".join(texts))
    assert not parsed.problems
    return [Rule(policy.id, policy) for policy in parsed.policies]


def _fits(constraint: Constraint, uid: EntityUid, ancestors: set[EntityUid]) -> bool:
    """Whether Cedar would find `uid` in this part of a scope."""
    if constraint.entity_type is not None and constraint.entity_type != uid.type:
        return False
    if constraint.uid is None:
        return True
    return constraint.uid == uid or (not constraint.exact and constraint.uid in ancestors)


@given(st.lists(_POLICIES, max_size=8), _SIDES, _ACTION_SIDES, _SIDES)
def test_just_the_policies_that_can_apply_are_found(
    scopes: list[tuple[str, str, str]],
    principal: tuple[EntityUid, set[EntityUid]],
    action: tuple[EntityUid, set[EntityUid]],
    resource: tuple[EntityUid, set[EntityUid]],
) -> None:
    """A rule is a candidate where the request matches its scope, and only there, in the order of the rules."""
    rules = _rules(scopes)
    found = PolicyIndex(rules).candidates(principal, action, resource)
    assert list(found) == sorted(set(found))
    for number, rule in enumerate(rules):
        scope = rule.policy.scope
        met = {action[0]} if scope.exact_action else {action[0], *action[1]}
        applies = (
            _fits(rule.principal, *principal)
            and _fits(rule.resource, *resource)
            and (scope.actions is None or not met.isdisjoint(scope.actions))
        )
        assert (number in found) is applies, rule.policy.text


def test_policies_for_others_are_left_out() -> None:
    """The index is of use: of many policies for single users, a request meets its own."""
    rules = _rules([(f'{{}} == User::"u{number}"', "action", "{}") for number in range(500)])
    index = PolicyIndex(rules)
    asked = (EntityUid("User", "u7"), frozenset[EntityUid]())
    nothing = (EntityUid("Action", "read"), frozenset[EntityUid]())
    assert index.candidates(asked, nothing, asked) == (7,)


def test_links_have_the_scope_of_their_slots() -> None:
    """A template's scope is that of the entities it is linked with."""
    parsed = parse_policies("p.cedar", "permit(principal in ?principal, action, resource == ?resource);")
    [template] = parsed.policies
    group, doc = EntityUid("Group", "g"), EntityUid("Doc", "d")
    rule = Rule("link", template, {"?principal": group, "?resource": doc})
    assert (rule.principal, rule.resource) == (Constraint(uid=group), Constraint(uid=doc, exact=True))
    index = PolicyIndex([rule])
    action = (EntityUid("Action", "read"), frozenset[EntityUid]())
    user = EntityUid("User", "u")
    assert index.candidates((user, {group}), action, (doc, frozenset())) == (0,)
    assert index.candidates((user, frozenset()), action, (doc, frozenset())) == ()
    assert index.candidates((user, {group}), action, (EntityUid("Doc", "e"), {doc})) == ()
