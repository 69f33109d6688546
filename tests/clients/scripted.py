"""A gRPC server that does only what it is told: what a right service never does."""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.clients.messages import METHODS, response_of

Json = Mapping[str, Any]

_SERVICE = "pdp.v1.DecisionService"
_THREADS = 8


@dataclass(frozen=True)
class Seen:
    """One attempt of a call, as it arrived."""

    request: bytes
    remaining_seconds: float


class Script:
    """The answers by method, and what was seen. `key`: what callers have to send."""

    def __init__(self, answers: Mapping[str, list[Json]], key: str | None) -> None:
        self._answers = answers
        self._key = key
        self._lock = threading.Lock()
        self._seen: defaultdict[str, list[Seen]] = defaultdict(list)

    def seen(self, method: str) -> list[Seen]:
        """The attempts of a method so far."""
        with self._lock:
            return list(self._seen[method])

    def handlers(self) -> grpc.GenericRpcHandler:
        """Handlers of all methods, which take and give bytes."""
        by_name: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(self._handler(name)) for name in METHODS}
        return grpc.method_handlers_generic_handler(_SERVICE, by_name)

    def _handler(self, method: str) -> Any:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            return self._answer(method, request, context)

        return handle

    def _answer(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            attempts = self._seen[method]
            attempts.append(Seen(request, context.time_remaining()))
            answers = self._answers.get(method, [{"status": "UNIMPLEMENTED"}])
            answer = answers[min(len(attempts), len(answers)) - 1]
        given = dict(context.invocation_metadata()).get("authorization")
        if self._key is not None and given != f"Bearer {self._key}":
            answer = {"status": "UNAUTHENTICATED"}
        return _perform(method, answer, context)


def _perform(method: str, answer: Json, context: grpc.ServicerContext) -> bytes:
    if "response" in answer:
        message = response_of(method, answer["response"]).SerializeToString()
        return message + base64.b64decode(answer.get("more_base64", ""))
    if "response_base64" in answer:
        return base64.b64decode(answer["response_base64"])
    if "never" in answer:
        over = threading.Event()
        if context.add_callback(over.set):
            over.wait()
        return b""
    context.abort_with_status(rpc_status.to_status(_status(answer)))
    raise AssertionError("abort returned")


def _status(answer: Json) -> status_pb2.Status:
    code = grpc.StatusCode[answer["status"]].value[0]
    status = status_pb2.Status(code=code, message=answer.get("message", ""))
    if "reason" in answer:
        info = error_details_pb2.ErrorInfo(reason=answer["reason"], domain="pdp.v1")
        info.metadata["field"] = answer.get("field", "")
        detail = any_pb2.Any()
        detail.Pack(info)
        status.details.append(detail)
    return status


def scripted_server(script: Script) -> grpc.Server:
    """A server of this script, which listens nowhere yet."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scripted")
    return grpc.server(pool, handlers=[script.handlers()], options=[("grpc.so_reuseport", 0)])
