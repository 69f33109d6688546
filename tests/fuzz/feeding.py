"""Random requests for every RPC of a service, put to its handlers as grpc would, and the answers held to an oracle.

Each request is made from a seed and a number alone, so any of them can be made again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NoReturn

import grpc
import jwt
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2
from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, decision_service_pb2, interceptor_pb2
from tests.fuzz.asked_world import AUDIENCE, ISSUER, LISTED, SET, Hinted, plain_cedar_allows
from tests.fuzz.forms import Chance, FormMaker
from tests.grpc.service import Service
from tests.modules import answering
from tests.unit.identity.making import Signer

_ALLOW = decision_pb2.DECISION_ALLOW
#: What no request may be answered with.
BUGS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}

#: How often each RPC is asked.
_SHARES = {
    "Authorize": 300, "AuthorizeBatch": 60, "Decide": 250, "Intercept": 100, "FilterTools": 80, "CheckRequest": 80,
    "CheckResponse": 60, "Check": 50, "Process": 50, "GetStatus": 3, "ListInterceptors": 3, "Reload": 1,
    "PutInterceptor": 3, "DeleteInterceptor": 3, "WatchRevisions": 2,
}  # fmt: skip

#: The arguments that the tools declare.
_TYPED = ("n", "owner")


class EndedError(Exception):
    """A call ended with a status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code


class _Context:
    """What handlers need of grpc's."""

    def __init__(self) -> None:
        self._code: grpc.StatusCode | None = None

    def code(self) -> grpc.StatusCode | None:
        """With what it was ended."""
        return self._code

    def time_remaining(self) -> float:
        """A minute, always."""
        return 60.0

    def is_active(self) -> bool:
        """The caller waits."""
        return True

    def invocation_metadata(self) -> tuple[()]:
        """None."""
        return ()

    def peer(self) -> str:
        """Somebody."""
        return "ipv4:127.0.0.1:1"

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """As grpc."""
        self._code = code
        raise EndedError(code, details)

    def abort_with_status(self, status: Any) -> NoReturn:
        """As grpc."""
        self._code = status.code
        raise EndedError(status.code, status.details)


def methods() -> list[MethodDescriptor]:
    """Every RPC of every service."""
    from envoy.service.auth.v3 import external_auth_pb2  # noqa: PLC0415
    from envoy.service.ext_proc.v3 import external_processor_pb2  # noqa: PLC0415

    services = [
        decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"],
        admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
        ext_mcp_pb2.DESCRIPTOR.services_by_name["ExtMcp"],
        external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"],
        external_processor_pb2.DESCRIPTOR.services_by_name["ExternalProcessor"],
    ]
    return [method for service in services for method in service.methods]


def handlers(service: Service) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """The real handlers, with the error boundary around them, by the RPC's name."""
    state: Any = service.app._servers[0]._grpc
    found = {}
    for method in methods():
        path = f"/{method.containing_service.full_name}/{method.name}"
        found[method.name] = state._state.registered_method_handlers[path]
    return found


class Feeder:
    """Makes requests, has them answered by `answer`, and looks at what comes."""

    def __init__(self, answer: Callable[[MethodDescriptor, list[bytes]], list[Any]], key: Signer, world: str) -> None:
        self._answer = answer
        self._closed = world == "closed"
        self._chance = Chance()
        self._hinted = Hinted(self._chance, key)
        self._key = key
        self._forms = FormMaker(self._chance, self._hinted.hints(), SET)
        self._methods = methods()
        self._weights = [_SHARES[method.name] for method in self._methods]
        #: How calls ended, by RPC and status, or by what was decided.
        self.ends: Counter[str] = Counter()

    def feed(self, seed: int, numbers: Iterable[int]) -> None:
        """Put these requests. Fails with the one whose answer must not be."""
        for number in numbers:
            method, parts = self.request(seed, number)
            try:
                end = self._end(method, parts)
            except Exception as error:
                shown = [part.hex() for part in parts]
                raise AssertionError(f"seed {seed}, request {number}, {method.name}: {error!r}\n{shown}") from error
            self.ends[f"{method.name} {end}"] += 1

    def request(self, seed: int, number: int) -> tuple[MethodDescriptor, list[bytes]]:
        """The RPC and the messages of a request."""
        self._chance.seed(f"{seed}/{number}")
        [method] = self._chance.choices(self._methods, self._weights)
        self._hinted.administering = method.containing_service.name == "AdminService"
        return method, list(self._parts(method))

    def _parts(self, method: MethodDescriptor) -> Iterator[bytes]:
        shaped = {"Process": self._exchange, "Check": self._check, "PutInterceptor": self._put}.get(method.name)
        if method.name == "FilterTools" and self._chance.randrange(3) == 0:
            yield from self._listing(method)
            return
        if shaped is not None and self._chance.randrange(4):
            yield from shaped(method)
            return
        for _ in range(self._chance.randint(0, 4) if method.client_streaming else 1):
            message = self._forms.data(method.input_type)
            if method.name.startswith("Check") and method.name != "Check" and self._chance.randrange(5):
                # What says who asks: one message after another is one message.
                message += GetMessageClass(method.input_type)(metadata_context={"sub": "a"}).SerializeToString()
            yield message

    def _headers(self, **more: str) -> list[dict[str, Any]]:
        usual = {"content-type": "application/json", "x-agent": self._chance.mostly(("a", "b"), ("", "c")), **more}
        return [{"key": key, "raw_value": value.encode()} for key, value in usual.items()]

    def _exchange(self, method: MethodDescriptor) -> Iterator[bytes]:
        """The messages of one HTTP request, some of them missing, twice or damaged."""
        kind = GetMessageClass(method.input_type)
        modes = {"request_body_mode": 2, "response_body_mode": 1}
        heads = {"headers": {"headers": self._headers(**{":method": "POST"})}, "end_of_stream": False}
        answer = {"headers": {"headers": self._headers(**{":status": "200"})}, "end_of_stream": False}
        whole = [
            kind(protocol_config=modes, request_headers=heads),
            kind(request_body={"body": self._hinted.mcp(), "end_of_stream": True}),
            kind(response_headers=answer),
            kind(response_body={"body": self._hinted.mcp(), "end_of_stream": True}),
        ]
        for message in whole:
            data = message.SerializeToString()
            odd = self._chance.randrange(20)
            if odd == 0:
                yield self._forms.data(method.input_type)
            if odd != 1:
                yield data + data if odd == 2 else data

    def _check(self, method: MethodDescriptor) -> Iterator[bytes]:
        """An HTTP request as Envoy shows it."""
        http = {"method": "POST", "raw_body": self._hinted.mcp(), "header_map": {"headers": self._headers()}}
        yield GetMessageClass(method.input_type)(attributes={"request": {"http": http}}).SerializeToString()

    def _listing(self, method: MethodDescriptor) -> Iterator[bytes]:
        """The tools as they are pinned: those that were shown otherwise before are what they were again."""
        subject = {"entity": {"type": "Agent", "id": "a"}}
        tools = [{"name": listed["name"], "definition_json": json.dumps(listed).encode()} for listed in LISTED]
        yield GetMessageClass(method.input_type)(subject=subject, server="srv", tools=tools).SerializeToString()

    def _put(self, method: MethodDescriptor) -> Iterator[bytes]:
        """A module with a binding, mostly refused for the binding."""
        binding = self._forms.message(interceptor_pb2.InterceptorBinding.DESCRIPTOR)
        kind = GetMessageClass(method.input_type)
        yield kind(binding=binding).SerializeToString()
        yield kind(chunk=answering()[: self._chance.choice((3, 200, 10_000))]).SerializeToString()

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _end(self, method: MethodDescriptor, parts: list[bytes]) -> str:
        """How a call ended. Fails where it may not end so."""
        try:
            answers = self._answer(method, parts)
        except EndedError as error:
            if error.code in BUGS:
                raise
            return error.code.name
        kind = GetMessageClass(method.input_type)
        if method.name == "Process":
            return self._processed(parts, answers)
        if method.client_streaming or method.server_streaming:
            return "OK"
        judge = getattr(self, f"_judge_{method.name.lower()}", None)
        return "OK" if judge is None else str(judge(kind.FromString(parts[0]), answers[0]))

    def _judge_authorize(self, request: Any, answer: Any) -> str:
        assert answer.decision in (_ALLOW, decision_pb2.DECISION_DENY)
        if answer.decision == _ALLOW:
            self._require_allowed(request, request.tool_call.arguments_json)
            return "ALLOW"
        return str(decision_pb2.DenialCode.Name(answer.denial.code))

    def _judge_authorizebatch(self, request: Any, answer: Any) -> str:
        for question, result in zip(request.requests, answer.results, strict=True):
            if result.WhichOneof("result") == "response":
                self._judge_authorize(question, result.response)
        return "OK"

    def _judge_decide(self, request: Any, answer: Any) -> str:
        if answer.decision == _ALLOW:
            self._require_allowed(request, answer.arguments_json)
            return "ALLOW"
        return str(decision_pb2.DenialCode.Name(answer.denial.code))

    def _judge_intercept(self, request: Any, answer: Any) -> str:
        if answer.decision == _ALLOW:
            assert (request.tool_call.server, request.tool_call.tool) != ("srv", "locked")
            return "ALLOW"
        return "DENY"

    def _judge_filtertools(self, request: Any, answer: Any) -> str:
        assert not (self._closed and answer.allowed), answer
        assert len(answer.allowed) + len(answer.hidden) == len(request.tools)
        return "ALLOW" if answer.allowed else "DENY"

    def _judge_checkrequest(self, request: Any, answer: Any) -> str:
        kind = answer.WhichOneof("result")
        assert kind, answer
        if kind == "error":
            return "DENY"
        assert not (self._closed and request.method == "tools/call"), answer
        assert request.method != "tools/call" or json.loads(request.mcp_request)["name"] != "locked"
        return "ALLOW"

    def _judge_checkresponse(self, request: Any, answer: Any) -> str:
        assert answer.WhichOneof("result"), answer
        return "DENY" if answer.WhichOneof("result") == "error" else "ALLOW"

    def _judge_check(self, request: Any, answer: Any) -> str:
        if answer.HasField("denied_response"):
            assert answer.status.code != 0
            return "DENY"
        http = request.attributes.request.http
        assert not (self._closed and _is_call(http.raw_body or http.body.encode())), answer
        return "ALLOW"

    def _processed(self, parts: list[bytes], answers: list[Any]) -> str:
        kinds = [answer.WhichOneof("response") for answer in answers]
        assert "immediate_response" not in kinds[:-1], "something came after the last word"
        if "request_body" in kinds and self._closed:
            from envoy.service.ext_proc.v3 import external_processor_pb2  # noqa: PLC0415

            message = external_processor_pb2.ProcessingRequest.FromString(parts[kinds.index("request_body")])
            assert not _is_call(message.request_body.body)
        return "DENY" if "immediate_response" in kinds else "ALLOW"

    def _require_allowed(self, request: Any, arguments: bytes) -> None:
        """Fail unless plain Cedar allows it too."""
        assert not self._closed
        subject, more = self._established(request.subject)
        context = json.loads(request.context_json or b"{}")
        added = [*json.loads(request.entities_json or b"[]"), *more]
        if request.HasField("tool_call"):
            call = request.tool_call
            given = json.loads(arguments or b"{}").items()
            whole = {name: int(value) if type(value) is float else value for name, value in given}
            # An argument that is null is one that is not given.
            context["input"] = {name: value for name, value in whole.items() if name in _TYPED and value is not None}
            action, resource = f"{call.server}/{call.tool}", {"type": "Server", "id": call.server}
        else:
            asked = request.action_on_resource
            assert asked.action.type == "Action"
            action, resource = asked.action.id, {"type": asked.resource.type, "id": asked.resource.id}
        assert plain_cedar_allows(subject, action, resource, context, added), (subject, action, context)

    def _established(self, subject: Any) -> tuple[dict[str, str], list[Any]]:
        """Who asks, and what a token adds to the entities."""
        if subject.WhichOneof("subject") == "entity":
            return {"type": subject.entity.type, "id": subject.entity.id}, []
        public = self._key.private.public_key()
        claims = jwt.decode(subject.token, public, algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
        uid = {"type": "Agent", "id": claims["sub"]}
        groups = [{"type": "Group", "id": name} for name in claims.get("groups", [])]
        return uid, [{"uid": uid, "attrs": {}, "parents": groups}]


def _is_call(body: bytes) -> bool:
    """Whether a body, as any reader would take it, calls a tool."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("method") == "tools/call"


def in_process(service: Service) -> Callable[[MethodDescriptor, list[bytes]], list[Any]]:
    """Has requests answered by the handlers themselves."""
    found = handlers(service)

    def answer(method: MethodDescriptor, parts: list[bytes]) -> list[Any]:
        handler, context = found[method.name], _Context()
        read: Any = handler.request_deserializer
        received: Any = map(read, parts) if method.client_streaming else read(parts[0])
        kinds = ("stream_" if method.client_streaming else "unary_", "stream" if method.server_streaming else "unary")
        answered = getattr(handler, "".join(kinds))(received, context)
        # Who watches is told at once how it is, and then nothing for as long as it stays so.
        most = None if method.client_streaming else 1
        messages = list(islice(answered, most)) if method.server_streaming else [answered]
        write: Any = handler.response_serializer
        return [GetMessageClass(method.output_type).FromString(write(message)) for message in messages]

    return answer
