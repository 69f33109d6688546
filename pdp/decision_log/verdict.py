"""What a record says of an answer, whoever asked. Pure, but for what is kept.

Answers that come from a cache come again and again as the same object, so their texts are kept by identity: to compare
answers by value would cost more than to write them.
"""

from __future__ import annotations

from collections.abc import Iterable
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from pdp.cedar.model import Authorization, Denial, ShadowReport
from pdp.decision_log.evaluation_errors import without_values

_MAX_KEPT = 4_096
#: Longer texts are written anew each time, so that what is kept stays small.
_MAX_KEPT_TEXT = 1_024


class Verdict(NamedTuple):
    """The parts of a record, in their order; what was asked stands between the first two.

    `decision` and `grounds` are members of an object, `shadow` is empty or members that begin with a comma.
    """

    decision: str
    grounds: str
    shadow: str


#: By identity. An entry holds its answer, so no other object has that identity meanwhile.
_kept: dict[int, tuple[Authorization, Verdict]] = {}


def verdict(answer: Authorization) -> Verdict:
    """The texts of an answer."""
    kept = _kept.get(id(answer))
    if kept is not None and kept[0] is answer:
        return kept[1]
    made = Verdict(
        f'"decision":"{"ALLOW" if answer.allowed else "DENY"}",{coded(answer.denial)}',
        f'"policies":{strings(policy.policy_id for policy in answer.determining)},"errors":{_errors(answer)}',
        _shadow(answer.shadow) if answer.shadow is not None else "",
    )
    # An answer is kept with its text, and its errors can quote arguments of any length.
    if not answer.errors and len(made.decision) + len(made.grounds) + len(made.shadow) <= _MAX_KEPT_TEXT:
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        _kept[id(answer)] = (answer, made)
    return made


def coded(denial: Denial | None) -> str:
    """Why it is a denial; the code is empty where it is none."""
    return f'"code":"{denial.code.value}","message":{quoted(denial.message)}' if denial is not None else '"code":""'


def strings(values: Iterable[str]) -> str:
    """A list of strings."""
    return f"[{','.join(map(quoted, values))}]"


def _errors(answer: Authorization) -> str:
    if not answer.errors:
        return "[]"
    shown = (f'{{"policy":{quoted(e.policy_id)},"message":{quoted(without_values(e.message))}}}' for e in answer.errors)
    return f"[{','.join(shown)}]"


def _shadow(shadow: ShadowReport) -> str:
    would_be = f",{coded(shadow.would_be_denial)}" if shadow.would_be_denial is not None else ""
    return (
        f',"shadow":{{"would_be_decision":"{"ALLOW" if shadow.would_allow else "DENY"}",'
        f'"flipping":{strings(shadow.flipping)},"matched":{strings(shadow.matched)}{would_be}}}'
    )
