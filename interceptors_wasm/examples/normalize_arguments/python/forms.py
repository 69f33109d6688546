"""The forms that a text can be brought into: each function gives a text in its one form, or raises RefusedError."""
# ruff: noqa: INP001

import ipaddress
import re
import sys
import unicodedata
from datetime import UTC, datetime, timedelta


class RefusedError(Exception):
    """A text cannot be brought into the form. The message says what it has to be, and the agent may see it."""


# ---- characters


def _invisible():
    """A character class: format and control characters, fillers and variation selectors; not tab and line ends."""
    extra = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
    ranges = []
    for code in range(sys.maxunicode + 1):
        if code in extra or (unicodedata.category(chr(code)) in ("Cc", "Cf") and chr(code) not in "\t\n\r"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return re.compile("[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]+")


_INVISIBLE = _invisible()  # made once, when the component is built


def strip_invisible(text):
    return _INVISIBLE.sub("", text)


def collapse_whitespace(text):
    return re.sub(r"\s+", " ", text)


def nfc(text):
    return unicodedata.normalize("NFC", text)


def nfkc(text):
    return unicodedata.normalize("NFKC", text)


# ---- paths


def path(text, root=None):
    """A POSIX path without `.`, `..`, doubled and last slashes. With `root`: absolute, and below it."""
    if "\0" in text or not text:
        raise RefusedError("must be a path")
    if root is not None and text.startswith("~"):
        raise RefusedError("must be a path without `~`")
    if root is not None and not text.startswith("/"):
        text = f"{root}/{text}"
    absolute = text.startswith("/")
    parts = []
    for part in text.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".", "..") or (part == ".." and not absolute):
            parts.append(part)
    canonical = ("/" if absolute else "") + "/".join(parts) or "."
    if root is not None and root != "/" and canonical != root and not canonical.startswith(root + "/"):
        raise RefusedError(f"must be a path below `{root}`")
    return canonical


# ---- hosts and addresses

_NUMBER = r"(?:0[xX][0-9a-fA-F]{0,8}|[0-9]{1,11})"
_OLD_IPV4 = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LOCAL_PART = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")


def hostname(text):
    """A host in lower case, without a last dot, other scripts as `xn--`; IP addresses in their shortest usual form."""
    text = re.sub("[\u3002\uff0e\uff61]", ".", text.strip())
    text = unicodedata.normalize("NFKC", text).lower().removesuffix(".")
    if ":" in text:
        return _ipv6(text)
    if _OLD_IPV4.fullmatch(text):
        return _ipv4(text)
    labels = [label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in text.split(".")]
    if len(".".join(labels)) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise RefusedError("must be the name of a host")
    return ".".join(labels)


def _ipv6(text):
    try:
        address = ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise RefusedError("must be the name of a host") from None
    return f"[{address}]" if text.startswith("[") else str(address)


def _ipv4(text):
    """`127.1`, `0x7f.1` and `2130706433` reach 127.0.0.1 as well: the C library has always read addresses so."""
    parts = [_old_number(part) for part in text.split(".")]
    last = parts.pop()
    if any(part > 255 for part in parts) or last >= 256 ** (4 - len(parts)):
        raise RefusedError("must be the name of a host")
    number = sum(part << (24 - 8 * i) for i, part in enumerate(parts)) + last
    return str(ipaddress.IPv4Address(number))


def _old_number(part):
    try:
        if part.startswith("0x"):
            return int(part[2:] or "0", 16)
        return int(part, 8 if part.startswith("0") and part != "0" else 10)
    except ValueError:
        raise RefusedError("must be the name of a host") from None


def email(text):
    """A mail address with its host as `hostname` has it. What stands before the `@` stays: it may tell cases apart."""
    local, at, host = unicodedata.normalize("NFC", text.strip()).rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local) or local.startswith(".") or local.endswith(".") or ".." in local:
        raise RefusedError("must be a mail address")
    try:
        return f"{local}@{hostname(host)}"
    except RefusedError:
        raise RefusedError("must be a mail address") from None


# ---- dates and times

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "(?P<month_name>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\\.?"
_DAY = "(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_SECONDS = r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
_CLOCK = rf"(?:(?:,?\s+|\s*t\s*|,\s*)(?P<hour>[0-9]{{1,2}}):(?P<minute>[0-9]{{2}}){_SECONDS})?"
_COMPACT_CLOCK = r"(?:t(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})(?P<second>[0-9]{2})?)?"
_ZONE = r"(?:\s*(?P<zone>z|utc|gmt|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_DATE_FORMS = [
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"(?P<year>[0-9]{{4}})(?P<sign>[-/.])(?P<month>[0-9]{{1,2}})(?P=sign)(?P<day>[0-9]{{1,2}}){_CLOCK}{_ZONE}",
        rf"(?P<year>[0-9]{{4}})(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}}){_COMPACT_CLOCK}{_ZONE}",
        rf"(?:[a-z]{{3,9}},?\s+)?{_DAY}[\s-]+{_MONTH},?[\s-]+(?P<year>[0-9]{{4}}){_CLOCK}{_ZONE}",
        rf"(?:[a-z]{{3,9}},?\s+)?{_MONTH}\s+{_DAY},?\s+(?P<year>[0-9]{{4}}){_CLOCK}{_ZONE}",
    )
]
_UNIX = re.compile(r"(?P<seconds>[0-9]{10})(?P<milliseconds>[0-9]{3})?", re.ASCII)


def date_time(text):
    """A date, or a date and time, as ISO 8601 has it: in UTC where the text names a zone.

    `03/04/2024` is refused: nobody knows which of them is the month.
    """
    text = text.strip()[:80]
    try:
        if unix := _UNIX.fullmatch(text):
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(unix["seconds"]))
            return _iso(moment, unix["milliseconds"], "Z")
        for form in _DATE_FORMS:
            if found := form.fullmatch(text):
                return _from_parts(found.groupdict())
    except (ValueError, OverflowError):
        pass  # the 30th of February
    raise RefusedError("must be a date or a time such as 2024-05-31 or 2024-05-31T12:00:00Z")


def _from_parts(parts):
    month = int(parts["month"]) if parts.get("month") else _MONTHS.index(parts["month_name"].lower()) + 1
    day = (int(parts["year"]), month, int(parts["day"]))
    if parts["hour"] is None:
        if parts["zone"]:
            raise ValueError
        return datetime(*day, tzinfo=UTC).date().isoformat()
    moment = datetime(*day, int(parts["hour"]), int(parts["minute"]), int(parts["second"] or 0), tzinfo=UTC)
    zone = parts["zone"]
    return _iso(moment - _offset(zone), parts.get("fraction"), "Z" if zone else "")


def _offset(zone):
    if zone is None or zone.lower() in ("z", "utc", "gmt"):
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[3:].removeprefix(":") or 0)
    if hours > 14 or minutes > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if zone[0] == "-" else offset


def _iso(moment, fraction, zone):
    fraction = (fraction or "").rstrip("0")
    return moment.replace(tzinfo=None).isoformat() + (f".{fraction}" if fraction else "") + zone


# ---- numbers and booleans: these give JSON text

_INTEGER = re.compile(r"[+]?(?P<value>-?[0-9]{1,400})(?:\.0{1,400})?", re.ASCII)
_REAL = re.compile(r"[+]?(?P<value>-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?)", re.ASCII)
_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")


def integer(text):
    found = _INTEGER.fullmatch(text.strip())
    if not found:
        raise RefusedError("must be a whole number")
    return str(int(found["value"]))


def number(text):
    found = _REAL.fullmatch(text.strip())
    if not found:
        raise RefusedError("must be a number")
    return found["value"]


def boolean(text):
    word = text.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise RefusedError("must be true or false")
    return "true" if word in _TRUE else "false"
