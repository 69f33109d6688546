"""The context that the caller adds to a question: trusted to be honest, not trusted to be well-formed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import cedarpy

from pdp.cedar.arguments import FactType
from pdp.cedar.cache import BoundedCache
from pdp.cedar.entities import check_escapes
from pdp.cedar.strict_json import JsonError, JsonLimits, parse_object
from pdp.errors import InvalidArgumentsError, InvalidRequestError

#: Keys of a tool call's context that this service fills in. A caller that sends them is mistaken, or is passing on
#: what an agent made up.
RESERVED = frozenset({"input", "undeclared", "session_id", "interceptors", "on_behalf_of"})

_FIELD = "context_json"
#: Longer contexts are not kept: a thousand of 1 MiB would be too much memory.
_MAX_KEY_BYTES = 8_192
_PROBE = {
    "principal": {"type": "Probe", "id": ""},
    "action": {"type": "Action", "id": ""},
    "resource": {"type": "Probe", "id": ""},
}
_NO_POLICIES = cedarpy.PolicySet.from_str("")
_NO_ENTITIES = cedarpy.Entities.from_json_str("[]")


class CallerContext:
    """Reads callers' contexts.

    `types` are the declared keys of tool calls. `closed` refuses other keys: with a Cedar schema every key a policy
    can read is declared; without one, undeclared keys are taken as Cedar JSON.
    """

    def __init__(self, types: Mapping[str, FactType] | None = None, *, closed: bool = False) -> None:
        self._types = types or {}
        self._closed = closed
        self._limits = JsonLimits()
        self._known: BoundedCache[bytes, dict[str, Any]] = BoundedCache(1_024)

    def parse(self, context: bytes) -> dict[str, Any]:
        """The JSON object in `context`, empty for no bytes. Raises InvalidRequestError."""
        if not context:
            return {}
        try:
            document = parse_object(context, self._limits)
            check_escapes(document)
        except JsonError as error:
            raise InvalidRequestError(_FIELD, str(error), "INVALID_JSON") from error
        except ValueError as error:
            raise InvalidRequestError(_FIELD, str(error)) from error
        return document

    def read(self, context: bytes) -> dict[str, Any]:
        """A tool call's context as explicit Cedar JSON. Raises InvalidRequestError."""
        if not context:
            return {}
        known = self._known.get(context)
        if known is None:
            known = self._typed(self.parse(context))
            _require_representable(known)
            if len(context) <= _MAX_KEY_BYTES:
                self._known.put(context, known)
        return known

    def _typed(self, document: dict[str, Any]) -> dict[str, Any]:
        for name in document:
            if name in RESERVED:
                raise InvalidRequestError(_FIELD, f"`{name}` is filled in by the service and cannot be given")
            if self._closed and name not in self._types:
                raise InvalidRequestError(_FIELD, f"`{name}` is not declared under `[context]` in bundle.toml")
        return {name: self._value(name, value) for name, value in document.items()}

    def _value(self, name: str, value: Any) -> Any:
        if name not in self._types:
            return value
        try:
            return self._types[name].convert(value)
        except InvalidArgumentsError as error:
            raise InvalidRequestError(_FIELD, f"`{name}`: {error.message}") from error


def context_text(context: Mapping[str, Any]) -> str:
    """A parsed context as JSON text. Raises InvalidRequestError for numbers that Cedar has no form for."""
    try:
        return json.dumps(context)
    except TypeError as error:
        raise InvalidRequestError(_FIELD, "numbers with a fraction are not Cedar values") from error


def _require_representable(context: dict[str, Any]) -> None:
    """Cedar itself says whether it can take the context, before any part of it may be cut away."""
    text = context_text(context)
    result = cedarpy.is_authorized({**_PROBE, "context": text}, _NO_POLICIES, _NO_ENTITIES)
    if result.decision is cedarpy.Decision.NoDecision:
        message = "; ".join(result.diagnostics.errors).removeprefix("failed to build request: ")
        raise InvalidRequestError(_FIELD, message)
