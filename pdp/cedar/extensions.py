"""Text of Cedar's extension values, made or checked so that Cedar never fails on it.

What is accepted here is a part of what Cedar's own parsers accept: where they are lenient (the year 0, leading zeros
without end), this is not.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from decimal import Decimal

from pdp.cedar.json_text import canonical_number

_LIMIT = 2**63
#: Cedar keeps a decimal as a 64-bit count of ten-thousandths.
_PLACES = 4
#: Integers nearer to 0 than this are decimals.
_WHOLE_LIMIT = _LIMIT // 10**_PLACES
_NO_DECIMAL = "is out of range for a decimal (-922337203685477.5808 to 922337203685477.5807)"

_ADDRESS = re.compile(r"([0-9.]{7,15}|[0-9A-Fa-f:]{2,39})(?:/(0|[1-9][0-9]{0,2}))?\Z")
_DATETIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3})?(?:Z|[+-](?:[01][0-9]|2[0-3])[0-5][0-9]))?\Z"
)
_AMOUNT = "([0-9]{1,19})"
_DURATION = re.compile(rf"-?(?=[0-9])(?:{_AMOUNT}d)?(?:{_AMOUNT}h)?(?:{_AMOUNT}m)?(?:{_AMOUNT}s)?(?:{_AMOUNT}ms)?\Z")
_UNITS_MS = (86_400_000, 3_600_000, 60_000, 1_000, 1)


def decimal_text(value: int | Decimal) -> str:
    """`value` as Cedar's decimal, exactly: `1.5`, `-0.0001`, `100.0`. Never rounds.

    Raises ValueError where Cedar has no such decimal.
    """
    if type(value) is int and -_WHOLE_LIMIT < value < _WHOLE_LIMIT:
        return f"{value}.0"
    text = canonical_number(value)
    whole, _, places = text.partition(".")
    if "e+" in text:
        raise ValueError(_NO_DECIMAL)
    if len(places) > _PLACES or "e-" in text:
        raise ValueError("has more than four decimal places, and is never rounded")
    if not -_LIMIT <= int(whole + places.ljust(_PLACES, "0")) < _LIMIT:
        raise ValueError(_NO_DECIMAL)
    return f"{whole}.{places or '0'}"


def long_value(value: int | Decimal) -> int:
    """`value` as Cedar's Long, exactly: 5 for `5.0` and for `5e0`. Raises ValueError where Cedar has no such Long."""
    text = canonical_number(value)
    if ("." in text and "e+" not in text) or "e-" in text:
        raise ValueError("must be an integer, not a fraction")
    if "e+" in text or not -_LIMIT <= int(text) < _LIMIT:
        raise ValueError("is out of range for an integer of 64 bits")
    return int(text)


def ipaddr_text(text: str) -> str:
    """`text` if it is an IPv4 or IPv6 address or range as Cedar takes it (`10.0.0.0/8`, `::1`), else ValueError."""
    match = _ADDRESS.match(text)
    if match is None:
        raise ValueError("must be an IP address or range such as `10.0.0.0/8` or `2001:db8::1`")
    address = ipaddress.ip_address(match.group(1))
    if match.group(2) is not None and int(match.group(2)) > address.max_prefixlen:
        raise ValueError(f"must have a prefix of at most {address.max_prefixlen} bits")
    return text


def datetime_text(text: str) -> str:
    """`text` if it is a date or a time as Cedar takes it (`2025-01-31`, `2025-01-31T12:00:00Z`), else ValueError."""
    match = _DATETIME.match(text)
    if match is None:
        raise ValueError("must be `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss`, then `.SSS` or nothing, then `Z` or `+hhmm`")
    dt.date.fromisoformat(match.group(1))
    return text


def duration_text(text: str) -> str:
    """`text` if it is a duration as Cedar takes it (`1h30m`, `-2d`, `250ms`), else ValueError."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("must be a duration such as `1d2h3m4s5ms`, units in this order")
    total = sum(int(amount or 0) * unit for amount, unit in zip(match.groups(), _UNITS_MS, strict=True))
    if total >= _LIMIT:
        raise ValueError("is out of range for a duration")
    return text
