"""`envoy.service.auth.v3.Authorization`: Envoy shows each HTTP request with its body, and asks whether it may go on.

It can change no body and shows no response: a call whose arguments would have to be changed is denied, no list is
filtered and no result passes an interceptor. An RPC error could mean to Envoy that everything may go on
(`failure_mode_allow`), so whatever goes wrong is a denied `CheckResponse`.
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import code_pb2, status_pb2

from pdp.call import Call
from pdp.gateway_config import EnvoyConfig
from pdp.servicers.gateways.asker import Asker, guarded
from pdp.servicers.gateways.envoy_headers import header_pairs, metadata_of
from pdp.servicers.gateways.exchange import Exchange
from pdp.servicers.gateways.mcp_http import JSON
from pdp.servicers.gateways.refusals import HttpAnswer, RefusedError, overloaded, refused_http
from pdp.servicers.gateways.sources import Facts

_PARTIAL = "x-envoy-auth-partial-body"
#: What Envoy shows in the place of bytes that are no UTF-8, where it does not `pack_as_bytes`; the server gets them.
_STAND_IN = "!"


class AuthorizationServicer:
    """Answers Envoy."""

    def __init__(self, asker: Asker, config: EnvoyConfig) -> None:
        self._asker = asker
        self._config = config

    def Check(self, request: external_auth_pb2.CheckRequest, call: Call) -> external_auth_pb2.CheckResponse:
        """May this HTTP request go on?"""
        exchange = Exchange(self._asker, self._config, call)
        try:
            guarded("Authorization.Check", lambda: _check(exchange, request.attributes))
        except RefusedError as refusal:
            return _denied(refused_http(refusal, exchange.asked))
        return external_auth_pb2.CheckResponse(status=status_pb2.Status(code=code_pb2.OK))

    def overloaded(self, method: str) -> external_auth_pb2.CheckResponse:
        """The answer to a call of `method` that there is no time for."""
        return _denied(refused_http(overloaded(), None))


def _check(exchange: Exchange, attributes: Any) -> None:
    """Raises RefusedError unless it may."""
    http = attributes.request.http
    facts = _facts(attributes, http)
    body = http.raw_body or http.body.encode()
    if http.body and _STAND_IN in http.body:
        raise RefusedError(
            f"`{_STAND_IN}` may stand for what is no text; the gateway has to `pack_as_bytes`", "invalid"
        )
    if facts.header(_PARTIAL) not in (None, "false"):
        raise RefusedError("the message did not come as a whole", "invalid")
    exchange.request_head(facts, http.method, ended=not body)
    if body and exchange.request_body(body, whole=True) is not None:
        raise RefusedError("the arguments of this call would have to be changed, which this gateway cannot do")


def _facts(attributes: Any, http: Any) -> Facts:
    """Headers are in one of two fields, as Envoy is configured."""
    headers = [*header_pairs(http.header_map.headers), *((key.lower(), value) for key, value in http.headers.items())]
    return Facts(headers, metadata_of(attributes.metadata_context), dict(attributes.context_extensions))


def _denied(answer: HttpAnswer) -> external_auth_pb2.CheckResponse:
    header = base_pb2.HeaderValue(key="content-type", value=JSON)
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED),
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=http_status_pb2.StatusCode.ValueType(answer.status)),
            headers=[base_pb2.HeaderValueOption(header=header)],
            body=answer.body.decode(),
        ),
    )
