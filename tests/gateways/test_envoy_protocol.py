"""Envoy's external processing, message by message: orders and configurations that a well-meant Envoy has not."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import grpc
import pytest

from pdp.call import RpcCall
from pdp.errors import InvalidRequestError
from pdp.gateway_config import EnvoyConfig
from pdp.identity.callers import ANYONE
from pdp.servicers.gateways.asker import Asker
from tests.gateways.cores import NO_METADATA, AllowingCore
from tests.gateways.raw import call, result

pytestmark = pytest.mark.usefixtures("envoy_messages")

SETTINGS: dict[str, Any] = {"ext_proc": True, "server_from": "fixed:srv", "subject_from": "header:x-agent"}
POST = {":method": "POST", "content-type": "application/json", "x-agent": "coder"}
ANSWER = {":status": "200", "content-type": "application/json"}

_NONE, _STREAMED, _BUFFERED, _PARTIAL, _DUPLEX = range(5)


def asked(**fields: Any) -> Any:
    """A message of Envoy; the first one says how it is configured."""
    from envoy.service.ext_proc.v3 import external_processor_pb2  # noqa: PLC0415

    return external_processor_pb2.ProcessingRequest(**fields)


def modes(request: int = _BUFFERED, response: int = _STREAMED) -> dict[str, Any]:
    """How Envoy is configured."""
    return {"protocol_config": {"request_body_mode": request, "response_body_mode": response}}


def head(values: dict[str, str], *, ended: bool = False) -> dict[str, Any]:
    """The headers of a request or a response."""
    pairs = [{"key": key, "raw_value": value.encode()} for key, value in values.items()]
    return {"headers": {"headers": pairs}, "end_of_stream": ended}


def body(data: bytes, *, ended: bool = True) -> dict[str, Any]:
    """A part of a body."""
    return {"body": data, "end_of_stream": ended}


def answers(*requests: dict[str, Any] | Exception, **settings: Any) -> list[Any]:
    """What goes back for each message; an exception is what reading one raises."""
    from pdp.servicers.gateways.envoy_ext_proc import ExternalProcessorServicer  # noqa: PLC0415

    def received() -> Iterator[Any]:
        for request in requests:
            if isinstance(request, Exception):
                raise request
            yield asked(**request)

    servicer = ExternalProcessorServicer(Asker(AllowingCore()), EnvoyConfig(**{**SETTINGS, **settings}))
    return list(servicer.Process(received(), RpcCall(ANYONE, NO_METADATA)))


def kinds(*requests: dict[str, Any] | Exception, **settings: Any) -> list[str | None]:
    """Which kind of answer goes back for each message."""
    return [answer.WhichOneof("response") for answer in answers(*requests, **settings)]


FIRST = {**modes(), "request_headers": head(POST)}
CALL = {"request_body": body(call())}

REFUSED = {
    "no word about modes": ({"request_headers": head(POST)},),
    "bodies are not sent": ({**modes(_NONE), "request_headers": head(POST)},),
    "bodies are sent in pieces": ({**modes(_STREAMED), "request_headers": head(POST)},),
    "bodies are cut": ({**modes(_PARTIAL), "request_headers": head(POST)},),
    "bodies are sent both ways at once": ({**modes(_DUPLEX), "request_headers": head(POST)},),
    "results are not sent": ({**modes(response=_NONE), "request_headers": head(POST)},),
    "results are cut": ({**modes(response=_PARTIAL), "request_headers": head(POST)},),
    "nobody waits": ({**FIRST, "observability_mode": True},),
    "nothing is shown": (modes(),),
    "a body first": ({**modes(), **CALL},),
    "an answer first": ({**modes(), "response_headers": head(ANSWER)},),
    "an answer without a body first": ({**modes(), "response_headers": head(ANSWER, ended=True)},),
    "an answer's body first": ({**modes(), "response_body": body(result())},),
    "an answer before its message": (FIRST, {"response_headers": head(ANSWER)}),
    "two heads": (FIRST, {"request_headers": head(POST)}),
    "another head after the message": (FIRST, CALL, {"request_headers": head(POST)}),
    "a message twice": (FIRST, CALL, CALL),
    "a message in parts": (FIRST, {"request_body": body(call(), ended=False)}),
    "two methods": (
        {**modes(), "request_headers": {"headers": {"headers": 2 * [{"key": ":method", "value": "GET"}]}}},
    ),
    "an answer without a status": (FIRST, CALL, {"response_headers": head({})}),
    "an answer of two types": (
        FIRST,
        CALL,
        {
            "response_headers": {
                "headers": {
                    "headers": [
                        {"key": ":status", "value": "200"},
                        {"key": "content-type", "value": "application/json"},
                        {"key": "content-type", "value": "text/event-stream"},
                    ]
                }
            }
        },
    ),
    "an answer's body before its head": (FIRST, CALL, {"response_body": body(result())}),
    "two answers": (FIRST, CALL, {"response_headers": head(ANSWER)}, {"response_headers": head(ANSWER)}),
    "what is no message": (FIRST, InvalidRequestError("", "the bytes are not a message of this RPC")),
    "what is no message first": (InvalidRequestError("", "the bytes are not a message of this RPC"),),
}


@pytest.mark.parametrize("requests", REFUSED.values(), ids=REFUSED)
def test_the_last_message_is_refused(
    requests: tuple[dict[str, Any] | Exception, ...], logs: list[MutableMapping[str, Any]]
) -> None:
    """What cannot be enforced, or comes in a wrong order, ends in an ImmediateResponse: one answer for each message."""
    told = kinds(*requests)
    assert len(told) == len(requests)
    assert "immediate_response" not in told[:-1]
    assert told[-1] == "immediate_response"


def test_an_envoy_that_does_not_wait_is_told_of_in_the_log(logs: list[MutableMapping[str, Any]]) -> None:
    """With `observability_mode` nobody can deny anything, so the log says how Envoy is to be configured."""
    answers({**FIRST, "observability_mode": True})
    assert any("observability_mode" in event["event"] for event in logs)


def test_nothing_is_answered_after_a_refusal() -> None:
    """An ImmediateResponse is the last answer of a stream, whatever Envoy sends after it."""
    assert kinds(modes(), FIRST, CALL) == ["immediate_response"]


def test_a_caller_that_goes_away_ends_the_stream() -> None:
    """A stream that is cancelled ends, without an error."""
    assert kinds(FIRST, grpc.RpcError()) == ["request_headers"]


def test_trailers_are_no_way_in() -> None:
    """Trailers are answered as they are; a message in front of which they stand never ended, and is refused."""
    told = kinds(FIRST, {"request_body": body(call(), ended=False)}, {"request_trailers": {}})
    assert told == ["request_headers", "immediate_response"]
    told = kinds(FIRST, CALL, {"response_headers": head(ANSWER)}, {"response_trailers": {}})
    assert told[-1] == "response_trailers"


def test_an_answer_that_trailers_end_is_not_passed_on() -> None:
    """A JSON answer of which the end was not seen is not passed on, in parts or as a whole."""
    told = answers(FIRST, CALL, {"response_headers": head(ANSWER)}, {"response_body": body(result(), ended=False)})
    mutation = told[-1].response_body.response.body_mutation
    assert (mutation.WhichOneof("mutation"), mutation.clear_body) == ("clear_body", True)


def test_nothing_passes_after_the_end() -> None:
    """What comes after the end of an answer is not passed on."""
    after = {"response_body": body(result("mellon"))}
    told = answers(FIRST, CALL, {"response_headers": head(ANSWER)}, {"response_body": body(result())}, after)
    assert "mellon" not in str(told[-1])
    assert json.loads(told[-2].response_body.response.body_mutation.body) == json.loads(result())
