"""Cedar values as expressions hold them here.

Booleans, integers of 64 bits and strings are Python's. An entity is its `EntityUid`, a decimal a `DecimalValue`, a
record a dictionary and a set a list in any order, repetitions allowed. What stands inside a record or a set is as it
came: a value, or explicit Cedar JSON (`{"__entity": …}`, `{"__extn": …}`) that `plain` makes one.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from pdp.cedar.model import EntityUid

Value = Any

LONG_MIN, LONG_MAX = -(2**63), 2**63 - 1

#: Cedar keeps a decimal as a count of ten-thousandths.
_DECIMAL = re.compile(r"(-?)([0-9]{1,15})\.([0-9]{1,4})\Z")


class UnsureError(Exception):
    """Here nothing can be said of an expression: it errs, or has a value of a kind that only Cedar itself knows.

    It carries no text, because nobody reads it: whoever meets it asks Cedar.
    """


@dataclass(frozen=True, slots=True, order=True)
class DecimalValue:
    """A decimal as a count of ten-thousandths."""

    units: int


def plain(found: Any) -> Value:
    """A value as it stood in explicit Cedar JSON. Raises UnsureError for an extension value other than a decimal."""
    if type(found) is dict:
        if "__entity" in found:
            uid = found["__entity"]
            return EntityUid(uid["type"], uid["id"])
        if "__extn" in found:
            return _extension(found["__extn"])
    return found


def _extension(call: Mapping[str, Any]) -> DecimalValue:
    if call["fn"] != "decimal" or "arg" not in call:
        raise UnsureError
    return decimal_value(call["arg"])


def decimal_value(text: Any) -> DecimalValue:
    """The decimal that `text` writes. Raises UnsureError where it is no text, or none that surely is a decimal."""
    match = _DECIMAL.match(text) if type(text) is str else None
    # Cedar takes sixteen digits before the point at the very ends of its range; those are left to it.
    if match is None:
        raise UnsureError
    sign, whole, places = match.groups()
    units = int(whole + places.ljust(4, "0"))
    if units > LONG_MAX:
        raise UnsureError
    return DecimalValue(-units if sign else units)


def canonical(value: Value) -> Hashable:
    """A form that is equal for values that Cedar calls equal, and for no others. Raises UnsureError."""
    try:
        return _canonical(value)
    except RecursionError:
        raise UnsureError from None


def canonical_items(items: list[Value]) -> frozenset[Hashable]:
    """The canonical forms of a set's items. Raises UnsureError."""
    # Sets of strings are the common ones, and strings are their own forms.
    return frozenset(items if set(map(type, items)) <= {str} else map(canonical, items))


def _canonical(value: Value) -> Hashable:
    if isinstance(value, str):
        return value
    kind: type = type(value)
    # To Python `True` is 1, and an entity is a pair of strings. A bare integer would hash as anybody can work out, and
    # arguments could be made of which all hash alike; a string beside it is hashed under a secret.
    if kind is int or kind is bool:
        return kind.__name__, value
    if kind is list:
        return "set", canonical_items(value)
    if kind is EntityUid:
        return "entity", *value
    if kind is dict:
        if "__entity" in value or "__extn" in value:
            return _canonical(plain(value))
        return "record", frozenset((name, _canonical(inner)) for name, inner in value.items())
    if kind is DecimalValue:
        return "decimal", value.units
    raise UnsureError
