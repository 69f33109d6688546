"""Why a message goes no further, and how MCP over HTTP says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pdp.errors import PdpError
from pdp.servicers.gateways.mcp_messages import Message, error_answer, tool_error

#: `denied`: by policy, or because it is not known. `invalid`: nothing that can be read. `exhausted`: too much of it.
#: `internal`: there is no decision.
Kind = Literal["denied", "invalid", "exhausted", "internal"]

_RPC_CODES: Final[dict[Kind, int]] = {"denied": -32001, "invalid": -32600, "exhausted": -32003, "internal": -32603}
_HTTP_CODES: Final[dict[Kind, int]] = {"denied": 403, "invalid": 400, "exhausted": 429, "internal": 500}
_HTTP_OK = 200


class RefusedError(PdpError):
    """This goes no further. The text is for the agent; `http_status` is for what has no JSON-RPC id to answer to."""

    def __init__(self, text: str, kind: Kind = "denied", http_status: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.http_status = http_status or _HTTP_CODES[kind]


def overloaded() -> RefusedError:
    """What there is no time to decide about."""
    return RefusedError("the policy decision point has more to do than it can; try again later", "exhausted")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer in place of the server's: its status, and one JSON document."""

    status: int
    body: bytes


def refused_message(refusal: RefusedError, asked: Message) -> bytes:
    """The JSON-RPC answer that tells a request's sender: the result of a tool, or an error of the protocol."""
    if asked.method == "tools/call":
        return tool_error(asked.id, refusal.text)
    return error_answer(asked.id, _RPC_CODES[refusal.kind], refusal.text)


def refused_http(refusal: RefusedError, asked: Message | None) -> HttpAnswer:
    """The HTTP answer. A request is answered with 200, because its agent reads only those; anything else is not."""
    if asked is not None and asked.is_request:
        return HttpAnswer(_HTTP_OK, refused_message(refusal, asked))
    return HttpAnswer(refusal.http_status, error_answer(None, _RPC_CODES[refusal.kind], refusal.text))
