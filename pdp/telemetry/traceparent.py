"""The W3C's `traceparent`: which trace a call belongs to, as its caller says."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: Later versions may have more behind the flags.
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_NO_VERSION = "ff"
_FIRST_VERSION = "00"
_SAMPLED = 1
#: Longer ones are not looked at.
_MAX_LENGTH = 512


class Parent(NamedTuple):
    """The caller's span: ids in lower-case hexadecimal, and whether the caller records it."""

    trace_id: str
    span_id: str
    sampled: bool


def parse(text: str) -> Parent | None:
    """The caller's span; None for what is not well-formed, which is passed over as the standard has it."""
    match = _FORM.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and more) or not (int(trace_id, 16) and int(span_id, 16)):
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
