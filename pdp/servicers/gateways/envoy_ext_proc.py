"""`envoy.service.ext_proc.v3.ExternalProcessor`: Envoy shows each HTTP request and response, and waits.

For each message that Envoy sends exactly one goes back. A stream that is closed means to Envoy that it may go on
unchecked, so whatever goes wrong is said in an `ImmediateResponse`, which ends the request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import structlog
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.ext_proc.v3 import processing_mode_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.type.v3 import http_status_pb2

from pdp.call import RpcCall
from pdp.errors import InvalidRequestError
from pdp.gateway_config import EnvoyConfig
from pdp.servicers.gateways.asker import Asker, Within, guarded
from pdp.servicers.gateways.envoy_headers import header_pairs, metadata_of
from pdp.servicers.gateways.exchange import Exchange
from pdp.servicers.gateways.mcp_http import JSON
from pdp.servicers.gateways.refusals import HttpAnswer, RefusedError, refused_http
from pdp.servicers.gateways.sources import Facts

_log = structlog.get_logger("pdp.gateways")

_SERVICE_UNAVAILABLE = 503

_Mode = processing_mode_pb2.ProcessingMode
_REQUEST_MODES = (_Mode.BUFFERED,)
_RESPONSE_MODES = (_Mode.STREAMED, _Mode.BUFFERED)


class ExternalProcessorServicer:
    """Answers Envoy. A stream keeps a thread from the request's head to the response's end, so there is a bound."""

    def __init__(self, asker: Asker, config: EnvoyConfig) -> None:
        self._asker = asker
        self._config = config
        self._free = threading.BoundedSemaphore(config.streams)

    def Process(self, requests: Iterator[pb.ProcessingRequest], call: RpcCall) -> Iterator[pb.ProcessingResponse]:
        """One HTTP request and its response."""
        if not self._free.acquire(blocking=False):
            _log.error("too many streams at the same time", streams=self._config.streams)
            busy = RefusedError("the policy decision point is busy", "exhausted", _SERVICE_UNAVAILABLE)
            yield _immediate(refused_http(busy, None))
            return
        try:
            yield from self._answers(requests, call)
        finally:
            self._free.release()

    def _answers(self, requests: Iterator[pb.ProcessingRequest], call: RpcCall) -> Iterator[pb.ProcessingResponse]:
        exchange = Exchange(self._asker, self._config, Within(call.caller, self._config.decision_seconds))
        stream = _Stream(exchange, _route(call))
        for request in _until_cancelled(requests):
            answer = stream.answer(request)
            yield answer
            if answer.HasField("immediate_response"):
                return


class _Stream:
    """The messages about one HTTP request, answered one by one."""

    def __init__(self, exchange: Exchange, route: dict[str, str]) -> None:
        self._exchange = exchange
        self._route = route
        self._begun = False
        self._is_buffered = False

    def answer(self, request: pb.ProcessingRequest) -> pb.ProcessingResponse:
        """Exactly one answer; whatever goes wrong, it is a refusal."""
        try:
            return guarded("ExternalProcessor.Process", lambda: self._answered(request))
        except RefusedError as refusal:
            return _immediate(refused_http(refusal, self._exchange.asked))

    def _answered(self, request: pb.ProcessingRequest) -> pb.ProcessingResponse:
        if not self._begun:
            self._begin(request)
        kind = request.WhichOneof("request")
        if kind == "request_headers":
            return self._request_headers(request)
        if kind == "request_body":
            return self._request_body(request.request_body)
        if kind == "response_headers":
            return self._response_headers(request.response_headers)
        if kind == "response_body":
            return self._response_body(request.response_body)
        if kind in ("request_trailers", "response_trailers"):
            return pb.ProcessingResponse(**{kind: pb.TrailersResponse()})
        raise RefusedError("Envoy sent what is not known here", "internal")

    def _begin(self, request: pb.ProcessingRequest) -> None:
        """Refuse an Envoy that would not show everything, or not wait: it says so in the first message."""
        modes = request.protocol_config
        if (
            request.observability_mode
            or modes.request_body_mode not in _REQUEST_MODES
            or modes.response_body_mode not in _RESPONSE_MODES
        ):
            _log.error(
                "Envoy is configured so that nothing can be enforced; set `request_body_mode: BUFFERED`, "
                "`response_body_mode: STREAMED` and no `observability_mode`"
            )
            raise RefusedError("the gateway is not configured for the policy decision point", "internal")
        self._is_buffered = modes.response_body_mode == _Mode.BUFFERED
        self._begun = True

    def _request_headers(self, request: pb.ProcessingRequest) -> pb.ProcessingResponse:
        head = request.request_headers
        headers = list(header_pairs(head.headers.headers))
        facts = Facts(headers, metadata_of(request.metadata_context), self._route)
        self._exchange.request_head(facts, facts.header(":method") or "", head.end_of_stream)
        # A compressed answer could not be looked at.
        plain = pb.HeaderMutation(remove_headers=["accept-encoding"])
        return pb.ProcessingResponse(request_headers=pb.HeadersResponse(response=_changed(plain)))

    def _request_body(self, body: pb.HttpBody) -> pb.ProcessingResponse:
        other = self._exchange.request_body(body.body, body.end_of_stream)
        common = pb.CommonResponse() if other is None else _replaced(other)
        return pb.ProcessingResponse(request_body=pb.BodyResponse(response=common))

    def _response_headers(self, head: pb.HttpHeaders) -> pb.ProcessingResponse:
        facts = Facts(list(header_pairs(head.headers.headers)))
        status = facts.header(":status") or ""
        if not status.isdecimal():
            raise RefusedError("the response has no status", "internal")
        self._exchange.response_head(int(status), facts, head.end_of_stream)
        # What goes on is rarely as long as what came.
        mutation = pb.HeaderMutation() if head.end_of_stream else pb.HeaderMutation(remove_headers=["content-length"])
        return pb.ProcessingResponse(response_headers=pb.HeadersResponse(response=_changed(mutation)))

    def _response_body(self, body: pb.HttpBody) -> pb.ProcessingResponse:
        if self._is_buffered and not body.end_of_stream:
            raise RefusedError("the response did not come as a whole", "internal")
        passed_on = self._exchange.response_part(body.body, body.end_of_stream)
        common = _replaced(passed_on) if self._is_buffered else pb.CommonResponse(body_mutation=_body(passed_on))
        return pb.ProcessingResponse(response_body=pb.BodyResponse(response=common))


def _until_cancelled(requests: Iterator[pb.ProcessingRequest]) -> Iterator[pb.ProcessingRequest]:
    """The messages, until Envoy has no more, or nobody is there any longer."""
    while True:
        try:
            request = next(requests)
        except (StopIteration, grpc.RpcError):
            return
        except InvalidRequestError:
            # An error of the RPC could let the request pass; the empty message is refused like any that nobody knows.
            request = pb.ProcessingRequest()
        yield request


def _route(call: RpcCall) -> dict[str, str]:
    """What the route's configuration says. A key that is there twice says nothing."""
    pairs = [(key, value) for key, value in call.context.invocation_metadata() or () if isinstance(value, str)]
    keys = [key for key, _ in pairs]
    return {key: value for key, value in pairs if keys.count(key) == 1}


def _changed(mutation: pb.HeaderMutation) -> pb.CommonResponse:
    return pb.CommonResponse(header_mutation=mutation)


def _body(body: bytes) -> pb.BodyMutation:
    return pb.BodyMutation(body=body) if body else pb.BodyMutation(clear_body=True)


def _replaced(body: bytes) -> pb.CommonResponse:
    """Another body as a whole; its length has to be said."""
    length = pb.HeaderMutation(set_headers=[_header("content-length", str(len(body)))])
    return pb.CommonResponse(header_mutation=length, body_mutation=_body(body))


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, raw_value=value.encode()),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _immediate(answer: HttpAnswer) -> pb.ProcessingResponse:
    return pb.ProcessingResponse(
        immediate_response=pb.ImmediateResponse(
            status=http_status_pb2.HttpStatus(code=http_status_pb2.StatusCode.ValueType(answer.status)),
            headers=pb.HeaderMutation(set_headers=[_header("content-type", JSON)]),
            body=answer.body,
            details="denied_by_pdp",
        )
    )
