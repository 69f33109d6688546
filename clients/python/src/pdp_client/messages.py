"""Making requests, and reading answers and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from pdp_client._gen.pdp.v1 import decision_pb2
from pdp_client._gen.pdp.v1 import decision_service_pb2 as pb

_DOMAIN = "pdp.v1"
_DETAILS = "grpc-status-details-bin"


class ErrorInfo(NamedTuple):
    """What an error says to programs: an upper-case constant such as `MISSING_FIELD`, and the path of the wrong field.

    `field` is empty where the error is about none.
    """

    reason: str
    field: str


def entity(type_: str, id_: str, *, on_behalf_of: decision_pb2.EntityUid | None = None) -> decision_pb2.Subject:
    """The subject `type_::"id_"`, acting for somebody else where `on_behalf_of` says whom."""
    uid = decision_pb2.EntityUid(type=type_, id=id_)
    return decision_pb2.Subject(entity=uid, on_behalf_of=on_behalf_of)


def token(jwt: str) -> decision_pb2.Subject:
    """The subject that a signed token names; the service verifies it."""
    return decision_pb2.Subject(token=jwt)


def tool_call(
    server: str, tool: str, arguments: Mapping[str, Any] | bytes = b"", *, session_id: str = ""
) -> decision_pb2.ToolCall:
    """A call of a tool. `arguments` is one JSON object, or its UTF-8 text as bytes, which is sent as it is.

    Raises ValueError or TypeError where an object is no JSON: `nan`, a lone surrogate, a date.
    """
    text = arguments if isinstance(arguments, bytes) else _json(arguments)
    return decision_pb2.ToolCall(server=server, tool=tool, arguments_json=text, session_id=session_id)


def allowed(answer: pb.AuthorizeResponse | pb.InterceptResponse | pb.DecideResponse) -> bool:
    """Whether the answer is an allow. Nothing said, and anything that this client does not know, is none.

    An answer itself is always true in Python, a denial too: `if allowed(answer)`, never `if answer`.
    """
    return answer.decision == decision_pb2.DECISION_ALLOW


def error_info(error: grpc.RpcError) -> ErrorInfo | None:
    """What the service said about an error beside its code and its text, or None."""
    trailers = getattr(error, "trailing_metadata", lambda: None)() or ()
    for key, value in trailers:
        if key == _DETAILS and isinstance(value, bytes):
            return _from_details(value)
    return None


def _from_details(serialized: bytes) -> ErrorInfo | None:
    info = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(serialized).details:
            if detail.Unpack(info) and info.domain == _DOMAIN:
                return ErrorInfo(info.reason, info.metadata.get("field", ""))
    except DecodeError:
        pass
    return None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
