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
#: Types, names and entities: all of them from policies and schemas, or in the record anyway.
_WITHOUT_VALUES: Final = re.compile(
    rf"type error: expected (?:{_TYPE}|one of \[{_TYPE}(?:, {_TYPE})*\]), got {_TYPE}"
    r"|(?:record|`[\w:]+::\"[^\n]*\"`) does not have the attribute `\w+`"
    r"|entity `[\w:]+::\"[^\n]*\"` does not exist"
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
