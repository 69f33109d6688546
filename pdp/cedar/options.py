"""How the decision core decides, and what it counts of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pdp.cedar.cache import CacheCounts

#: Who says what the policies say of a tool call. `compiled`: conditions that are evaluated here, and Cedar where those
#: are not certain. `cedar`: always Cedar. `checked`: both, and a denial where they do not agree.
Evaluator = Literal["compiled", "cedar", "checked"]


class EvaluatorCounts:
    """How often each evaluator gave the answer, and how often two of them disagreed.

    Between threads a count may get lost; none is ever taken back.
    """

    __slots__ = ("cedar", "compiled", "disputed")

    def __init__(self) -> None:
        self.compiled = 0
        self.cedar = 0
        self.disputed = 0


@dataclass(frozen=True, slots=True)
class AuthorizeCounts:
    """How often the caches helped, and who answered where none did.

    `decision` is asked with the question as it came, the others where Cedar is asked: `evaluation` with what it would
    see of the question.
    """

    decision: CacheCounts = field(default_factory=CacheCounts)
    evaluation: CacheCounts = field(default_factory=CacheCounts)
    shape: CacheCounts = field(default_factory=CacheCounts)
    slice: CacheCounts = field(default_factory=CacheCounts)
    evaluators: EvaluatorCounts = field(default_factory=EvaluatorCounts)


@dataclass(frozen=True, slots=True)
class AuthorizeOptions:
    """How to decide. Sizes count entries, `slice_cache` parsed policies; a `decision_cache` of 0 keeps no decision."""

    decision_cache: int = 10_000
    slice_cache: int = 100_000
    shape_cache: int = 32_768
    #: A forbid that fails to evaluate denies (Cedar alone would skip it).
    strict_policy_errors: bool = True
    evaluator: Evaluator = "compiled"
    counts: AuthorizeCounts = field(default_factory=AuthorizeCounts, compare=False)
