"""Values to JSON text, in one way only: equal values give equal text, so that texts can be compared and digested."""

from __future__ import annotations

from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from pdp.cedar.strict_json import JsonError


def canonical_text(value: Any) -> str:
    """The one way to write a JSON value: no blanks, keys sorted by code point, numbers by `canonical_number`, strings
    escaped only where JSON demands it.

    Takes what `strict_json.parse_value` gives, and finite floats. Raises JsonError for anything else.
    """
    try:
        return _written(value)
    except RecursionError:
        raise JsonError("", "nests too deeply to be written") from None


def _written(value: Any) -> str:
    if type(value) is str:
        return encode_basestring(value)
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is dict:
        return "{" + ",".join(f"{encode_basestring(key)}:{_written(value[key])}" for key in sorted(value)) + "}"
    if type(value) is list:
        return "[" + ",".join(map(_written, value)) + "]"
    if type(value) is float:
        return canonical_number(Decimal(repr(value)))
    if type(value) is int or type(value) is Decimal:
        return canonical_number(value)
    raise JsonError("", f"`{type(value).__name__}` is not a JSON value")


def canonical_number(value: int | Decimal) -> str:
    """The one way to write a number, exactly: `100` for `1e2`, `1.5` for `1.50`, `0` for `-0.0`.

    An exponent (`1e+21`) stands only beyond 21 digits before the point or 6 zeros behind it, so short text stays
    short. Raises JsonError where the number is not finite.
    """
    if isinstance(value, int) and abs(value) < 10**21:
        return str(value)
    sign, digits, exponent = Decimal(value).as_tuple()
    if not isinstance(exponent, int):
        raise JsonError("", "a number is not finite")
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return "0"
    return ("-" if sign else "") + _placed(text.rstrip("0"), len(text) + exponent - 1)


def _placed(digits: str, power: int) -> str:
    """`digits`, the first of which is worth 10 to the `power`."""
    if not -7 <= power <= 20:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{digits[0]}{tail}e{power:+d}"
    if power < 0:
        return "0." + "0" * (-power - 1) + digits
    whole, tail = digits[: power + 1].ljust(power + 1, "0"), digits[power + 1 :]
    return f"{whole}.{tail}" if tail else whole
