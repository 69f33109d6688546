"""Messages as cases write them: protobuf's JSON form, with `*_json` as text, and `*` for any text."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from pdp._gen.pdp.v1 import decision_service_pb2 as pb

ANY = "*"
METHODS: dict[str, tuple[type[Message], type[Message]]] = {
    "Authorize": (pb.AuthorizeRequest, pb.AuthorizeResponse),
    "AuthorizeBatch": (pb.AuthorizeBatchRequest, pb.AuthorizeBatchResponse),
    "Intercept": (pb.InterceptRequest, pb.InterceptResponse),
    "Decide": (pb.DecideRequest, pb.DecideResponse),
    "FilterTools": (pb.FilterToolsRequest, pb.FilterToolsResponse),
}


def request_of(method: str, written: Mapping[str, Any]) -> Message:
    """The request that a case writes. Raises json_format.ParseError."""
    return ParseDict(_read(written), METHODS[method][0]())


def response_of(method: str, written: Mapping[str, Any]) -> Message:
    """The response that a case writes. Raises json_format.ParseError."""
    return ParseDict(_read(written), METHODS[method][1]())


def written(message: Message) -> dict[str, Any]:
    """A message as cases write it."""
    found: dict[str, Any] = _walk(MessageToDict(message, preserving_proto_field_name=True), _decoded)
    return found


def expanded(value: Any) -> Any:
    """What a case writes, with each `{"repeat": …, "times": …}` as the text that it stands for."""
    if isinstance(value, dict):
        if value.keys() == {"repeat", "times"}:
            return value["repeat"] * value["times"]
        return {name: expanded(item) for name, item in value.items()}
    return [expanded(item) for item in value] if isinstance(value, list) else value


def filled(expected: Any, actual: Any) -> Any:
    """`expected`, with what is really there in place of each `*`; equal to `actual` if and only if that fits."""
    if expected == ANY and isinstance(actual, str) and actual:
        return actual
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {name: filled(value, actual.get(name)) for name, value in expected.items()}
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [filled(*pair) for pair in zip(expected, actual, strict=True)]
    return expected


def _read(value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _walk(expanded(dict(value)), _encoded)
    return found


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "backslashreplace")


def _walk(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_walk(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: change(item) if name.endswith("_json") and isinstance(item, str) else _walk(item, change)
        for name, item in value.items()
    }
