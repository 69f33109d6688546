"""Cedar's JSON form of conditions to expressions that are evaluated here."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from pdp.cedar.cedar_types import ESCAPE_KEYS
from pdp.cedar.entity_expressions import Argument, Attribute, GetTag, Has, HasTag, In, Is
from pdp.cedar.expressions import TRUE, All, AnyOf, Constant, Expression, IfThenElse, Not, Variable
from pdp.cedar.model import EntityUid
from pdp.cedar.value_expressions import (
    PLAIN,
    Calculate,
    Compare,
    CompareWith,
    Contains,
    ContainsAll,
    ContainsAny,
    DecimalOf,
    Equal,
    IsEmpty,
    IsOneOf,
    IsValue,
    Like,
    RecordOf,
    SetOf,
)
from pdp.cedar.values import DecimalValue, UnsureError

#: Each level is a call inside a call when the expression is evaluated. Chains of `&&` and `||` are one level.
_MAX_DEPTH = 48
#: Expressions that later ones may share, by what they are made of: as long as some policy has them.
_shared: WeakValueDictionary[tuple[Any, ...], Expression] = WeakValueDictionary()


def read_conditions(conditions: Sequence[Mapping[str, Any]]) -> Expression | None:
    """What has to hold for a policy of these `conditions` to be satisfied; None where that is for Cedar to evaluate."""
    try:
        parts = [_condition(condition["kind"], _read(condition["body"], _MAX_DEPTH)) for condition in conditions]
    except UnsureError:
        return None
    return TRUE if not parts else parts[0] if len(parts) == 1 else _made(All, tuple(parts))


def _condition(kind: str, body: Expression) -> Expression:
    return body if kind == "when" else _made(Not, body)


def _made(make: Callable[..., Expression], *parts: Any) -> Expression:
    """The expression of these parts, the same for the same ones: policies have much in common, and what they share is
    sooner in the processor's caches.
    """
    # To Python `True` is 1.
    key = (make, *parts, *map(type, parts))
    found = _shared.get(key)
    return _shared.setdefault(key, make(*parts)) if found is None else found


def _read(node: Any, depth: int) -> Expression:
    """The expression of `node`. Raises UnsureError where it is of an unknown kind, or deeper than `depth`."""
    if not depth or not isinstance(node, dict) or len(node) != 1:
        raise UnsureError
    [(kind, body)] = node.items()
    read = _READERS.get(kind)
    if read is None:
        raise UnsureError
    return read(body, depth - 1)


def _value(body: Any, _: int) -> Expression:
    if type(body) in (bool, int, str):
        return _made(Constant, body)
    if isinstance(body, dict) and body.keys() == {"__entity"}:
        return _made(Constant, EntityUid(body["__entity"]["type"], body["__entity"]["id"]))
    raise UnsureError


def _variable(body: Any, _: int) -> Expression:
    known = _VARIABLES.get(body)
    if known is None:
        raise UnsureError
    return known


_VARIABLES = {name: Variable(name) for name in ("principal", "action", "resource", "context")}


def _attribute(body: Any, depth: int) -> Expression:
    of = _read(body["left"], depth)
    name = body["attr"]
    if type(of) is Attribute and of.of is _VARIABLES["context"] and of.names == ("input",) and name not in ESCAPE_KEYS:
        return _made(Argument, name)
    return _made(Attribute, of.of, (*of.names, name)) if type(of) is Attribute else _made(Attribute, of, (name,))


def _has(body: Any, depth: int) -> Expression:
    return _made(Has, _read(body["left"], depth), body["attr"])


def _is(body: Any, depth: int) -> Expression:
    of = _read(body["left"], depth)
    found = _made(Is, of, body["entity_type"])
    return _made(All, (found, _made(In, of, _read(body["in"], depth)))) if "in" in body else found


def _chain(kind: str, make: Callable[[tuple[Expression, ...]], Expression], body: Any, depth: int) -> Expression:
    """`&&` or `||`, which Cedar nests to the left: one level, however long the chain is."""
    nodes: list[Any] = []
    pending = [body["right"], body["left"]]
    while pending:
        node = pending.pop()
        if isinstance(node, dict) and node.keys() == {kind}:
            pending += (node[kind]["right"], node[kind]["left"])
        else:
            nodes.append(node)
    return _made(make, tuple(_read(node, depth) for node in nodes))


def _one(make: Callable[[Expression], Expression], body: Any, depth: int) -> Expression:
    return _made(make, _read(body["arg"], depth))


def _two(make: Callable[[Expression, Expression], Expression], body: Any, depth: int) -> Expression:
    return _made(make, _read(body["left"], depth), _read(body["right"], depth))


def _arguments(make: Callable[..., Expression], count: int, body: Any, depth: int) -> Expression:
    """A call of an extension function."""
    if len(body) != count:
        raise UnsureError
    return _made(make, *(_read(argument, depth) for argument in body))


def _equal(left: Expression, right: Expression) -> Expression:
    for of, other in ((left, right), (right, left)):
        if type(other) is Constant and type(other.constant) in PLAIN:
            return _made(IsValue, of, other.constant)
    return Equal(left, right)


def _compare(
    kind: type[int | DecimalValue], compare: Callable[[Any, Any], bool], left: Expression, right: Expression
) -> Expression:
    if type(right) is Constant and type(right.constant) is kind:
        return _made(CompareWith, compare, left, right.constant)
    return Compare(compare, kind, left, right)


def _contains(of: Expression, item: Expression) -> Expression:
    return IsOneOf(of.constant, item) if type(of) is Constant and type(of.constant) is list else Contains(of, item)


def _decimal(text: Expression) -> Expression:
    found = DecimalOf(text)
    # Text that is no decimal is an error whenever the policy is evaluated, so it is Cedar's to tell of.
    return Constant(found.value(_NO_FACTS)) if type(text) is Constant else found


def _if_then_else(body: Any, depth: int) -> Expression:
    return _made(IfThenElse, *(_read(body[part], depth) for part in ("if", "then", "else")))


def _like(body: Any, depth: int) -> Expression:
    literals = [""]
    for part in body["pattern"]:
        if part == "Wildcard":
            literals.append("")
        else:
            literals[-1] += part["Literal"]
    return _made(Like, _read(body["left"], depth), tuple(literals))


def _set(body: Any, depth: int) -> Expression:
    items = tuple(_read(item, depth) for item in body)
    if all(type(item) is Constant for item in items):
        return Constant([item.value(_NO_FACTS) for item in items])
    return SetOf(items)


def _record(body: Any, depth: int) -> Expression:
    # Such a record would look like an entity or an extension value.
    if not ESCAPE_KEYS.isdisjoint(body):
        raise UnsureError
    return RecordOf(tuple((name, _read(inner, depth)) for name, inner in body.items()))


#: Constants look at nothing.
_NO_FACTS: Any = None

_Reader = Callable[[Any, int], Expression]


def _compares(kind: type[int | DecimalValue], compare: Callable[[Any, Any], bool]) -> Callable[..., Expression]:
    return partial(_compare, kind, compare)


_READERS: dict[str, _Reader] = {
    "Value": _value,
    "Var": _variable,
    ".": _attribute,
    "has": _has,
    "is": _is,
    "in": partial(_two, In),
    "hasTag": partial(_two, HasTag),
    "getTag": partial(_two, GetTag),
    "&&": partial(_chain, "&&", All),
    "||": partial(_chain, "||", AnyOf),
    "!": partial(_one, Not),
    "if-then-else": _if_then_else,
    "==": partial(_two, _equal),
    "!=": partial(_two, lambda left, right: Not(_equal(left, right))),
    "<": partial(_two, _compares(int, operator.lt)),
    "<=": partial(_two, _compares(int, operator.le)),
    ">": partial(_two, _compares(int, operator.gt)),
    ">=": partial(_two, _compares(int, operator.ge)),
    "+": partial(_two, partial(Calculate, operator.add)),
    "-": partial(_two, partial(Calculate, operator.sub)),
    "*": partial(_two, partial(Calculate, operator.mul)),
    "neg": partial(_one, partial(Calculate, operator.sub, Constant(0))),
    "like": _like,
    "Set": _set,
    "Record": _record,
    "contains": partial(_two, _contains),
    "containsAll": partial(_two, ContainsAll),
    "containsAny": partial(_two, ContainsAny),
    "isEmpty": partial(_one, IsEmpty),
    "decimal": partial(_arguments, _decimal, 1),
    "lessThan": partial(_arguments, _compares(DecimalValue, operator.lt), 2),
    "lessThanOrEqual": partial(_arguments, _compares(DecimalValue, operator.le), 2),
    "greaterThan": partial(_arguments, _compares(DecimalValue, operator.gt), 2),
    "greaterThanOrEqual": partial(_arguments, _compares(DecimalValue, operator.ge), 2),
}
