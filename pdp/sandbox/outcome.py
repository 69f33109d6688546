"""What interceptors made of a payload: values, for the answer and for the decision log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pdp.cedar.model import Denial
from pdp.sandbox.model import ErrorClass

OutcomeVerdict = Literal["pass", "transform", "deny", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one interceptor did. `error_class` is set exactly with the verdict `failed`.

    `stated` holds the facts it stated, of those that its binding declares, as it wrote them; `annotations` the same in
    explicit Cedar JSON. `denies` tells whether the payload stops here, or in shadow mode would stop.
    """

    name: str
    verdict: OutcomeVerdict
    shadow: bool
    duration_ns: int
    denies: bool
    reason: str = ""
    error_class: ErrorClass | None = None
    stated: Mapping[str, Any] | None = None
    annotations: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Interception:
    """What a chain made of a payload. `denial` is None exactly when the payload may go on, as `payload` has it.

    `payload` is JSON text: of the arguments in the phase `request`, of the result in the phase `response`.
    """

    payload: bytes
    mutated: bool
    outcomes: tuple[Outcome, ...]
    denial: Denial | None = None
