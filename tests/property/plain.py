"""Plain cedarpy, asked about random requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import cedarpy

from tests.property.conditions import Request


def ask_cedar(
    policies: Sequence[str], requests: Sequence[Request], entities: Sequence[dict[str, Any]]
) -> list[cedarpy.AuthzResult]:
    """What Cedar says to each request; to it the policies are `policy0`, `policy1`, … in their order."""
    arguments = [
        {
            **{name: getattr(request, name)._asdict() for name in ("principal", "action", "resource")},
            "context": json.dumps(request.context),
        }
        for request in requests
    ]
    parsed = cedarpy.PolicySet.from_str("\n".join(policies))
    answers = cedarpy.is_authorized_batch(arguments, parsed, cedarpy.Entities.from_json_str(json.dumps(entities)))
    for answer in answers:
        assert answer.decision is not cedarpy.Decision.NoDecision, answer.diagnostics.errors
    return list(answers)
