"""What may be written of why a policy could not be evaluated. Pure.

Cedar quotes values in its messages, and values come from arguments, which a log may be told not to hold. So only what
is known to hold none is written as it is; of everything else at most how it begins.
"""

from __future__ import annotations

import re
from typing import Final

_TYPE: Final = (
    r"(?:bool|long|string|set|record|ipaddr|decimal|datetime|duration|\((?:any entity type|entity of type `[\w:]+`)\))"
)
#: In an id that Cedar quotes, a quote has a backslash before it: what comes behind the id can hold values.
_UID: Final = r"[\w:]+::\"(?:[^\"\\\n]|\\[^\n])*\""
#: Types, names and entities: all of them from policies, schemas, entities and callers, none from arguments.
_WITHOUT_VALUES: Final = re.compile(
    rf"type error: expected (?:{_TYPE}|one of \[{_TYPE}(?:, {_TYPE})*\]), got {_TYPE}"
    rf"|(?:record|`{_UID}`) does not have the attribute `\w+`"
    rf"|entity `{_UID}` does not exist"
    r"|recursion limit reached"
)
#: What stands before a value.
_BEFORE_VALUES: Final = re.compile(
    r"type error"
    r"|error while evaluating `\w+` extension function"
    r"|integer overflow while attempting to (?:add|subtract|multiply|negate)"
)
_OTHER: Final = "evaluation failed"


def without_values(message: str) -> str:
    """Cedar's message, without values that it may quote."""
    if _WITHOUT_VALUES.fullmatch(message):
        return message
    begin = _BEFORE_VALUES.match(message)
    return begin.group() if begin else _OTHER
