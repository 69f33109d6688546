"""Asking Cedar through cedarpy, with as little around the evaluation as it allows.

cedarpy's public call turns every answer from JSON text into objects, timings included, which costs a third of a small
evaluation. Answers repeat, so the text without its timings is compared instead and read once. That uses cedarpy's
extension module directly; where it does not behave as expected (tried once at import), the public call is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import cedarpy

#: One answer in a form that is equal for equal answers; `read` understands it.
RawAnswer = str | tuple[str, tuple[str, ...], tuple[str, ...]]

_Requests = list[dict[str, Any]]
_Ask = Callable[[_Requests, cedarpy.PolicySet, cedarpy.Entities, cedarpy.Schema | None], list[RawAnswer]]


class CedarAnswer(NamedTuple):
    """Cedar's answer. `reasons` and the policies in `errors` are named as in the policy set, in no order.

    `decision` is `Allow`, `Deny`, or `NoDecision` for a request that Cedar could not build.
    """

    decision: str
    reasons: tuple[str, ...]
    errors: tuple[str, ...]


def read(answer: RawAnswer) -> CedarAnswer:
    """What a raw answer says."""
    if isinstance(answer, tuple):
        return CedarAnswer(*answer)
    document = json.loads(answer)
    diagnostics = document["diagnostics"]
    return CedarAnswer(document["decision"], tuple(diagnostics.get("reason", ())), tuple(diagnostics["errors"]))


def ask_publicly(
    requests: _Requests, policies: cedarpy.PolicySet, entities: cedarpy.Entities, schema: cedarpy.Schema | None
) -> list[RawAnswer]:
    """Ask through cedarpy's public interface."""
    results = cedarpy.is_authorized_batch(requests, policies, entities, schema)
    return [
        (result.decision.value, tuple(result.diagnostics.reasons), tuple(result.diagnostics.errors))
        for result in results
    ]


#: Timings are the last part of an answer. The text before them cannot hold this: inside strings quotes are escaped.
_TIMINGS = ',"metrics":'


def ask_directly(
    requests: _Requests, policies: cedarpy.PolicySet, entities: cedarpy.Entities, schema: cedarpy.Schema | None
) -> list[RawAnswer]:
    """Ask cedarpy's extension module."""
    inner = entities._inner  # noqa: SLF001 - see the module's docstring
    texts = cedarpy._internal.is_authorized_batch(requests, policies, inner, schema, False)  # noqa: SLF001
    return [f"{text[:end]}}}" if (end := text.find(_TIMINGS)) > 0 else text for text in texts]


def _choose() -> _Ask:
    """The direct way if it gives what the public one gives, otherwise the public one."""
    uid = {"type": "Probe", "id": ""}
    action = {"type": "Action", "id": ""}
    request = {"principal": uid, "action": action, "resource": uid, "context": "{}"}
    policies = cedarpy.PolicySet.from_str(
        "permit(principal, action, resource); permit(principal, action, resource) when { context.absent };"
    )
    entities = cedarpy.Entities.from_json_str("[]")
    refused = {**request, "context": "[]"}
    try:
        pairs = [
            [way([asked], policies, entities, None)[0] for way in (ask_directly, ask_publicly)]
            for asked in (request, refused)
        ]
        same = all(read(direct) == read(public) for direct, public in pairs)
    except (AttributeError, TypeError, ValueError, KeyError):
        same = False
    return ask_directly if same else ask_publicly


#: Asks Cedar about several requests that share policies, entities and schema; answers in their order.
ask: _Ask = _choose()
