"""The gRPC server: services, health, reflection, listeners, drain.

Synchronous, with a few threads: a decision is CPU work under the interpreter lock, and the asyncio server spends more
of the core per call (docs/decisions/0001-the-server-is-synchronous.md has the figures).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from pdp.call import Admission, Call, RpcCall
from pdp.call_pool import CallPool
from pdp.call_queue import CallQueue
from pdp.config import ServerConfig
from pdp.errors import ConfigError, InvalidRequestError, PermissionDeniedError, UnauthenticatedError
from pdp.identity.caller_config import Right
from pdp.identity.callers import NOBODY
from pdp.limits_config import LimitsConfig
from pdp.status import guard_stream, guard_unary
from pdp.telemetry.observer import Observer, Told
from pdp.telemetry.unknown_rpcs import UnknownRpcs
from pdp.tls import ServerCertificate

_log = structlog.get_logger("pdp.server")

#: A draining server that has answered no call at this many looks in a row has nothing to wait for.
_IDLE_CHECKS = 5
_IDLE_CHECK_SECONDS = 0.05


#: Streams from callers that are answered at once. They stay open while their callers think, so they have threads of
#: their own.
_REFLECTION_THREADS = 2
_STREAM_THREADS = 2
#: Callers that watch at the same time; others wait for one of these to go.
_WATCH_THREADS = 16
_PROBE_SECONDS = 1.0
_HANDSHAKE_MS = 20_000


class _Malformed:
    """Stands for bytes that are no message. Left to grpc, they would be an INTERNAL error."""


class Service:
    """A service's descriptor, the object whose methods answer its RPCs, and the right that callers need for them.

    Streams that go both ways keep a thread while they are open; `stream_threads` is how many there are for them. With
    `denies_itself`, calls of those who lack the right reach the servicer too, as of somebody who may ask nothing: to
    some gateways an RPC error means that everything may go on. For the same reason its servicer has a method
    `overloaded` that gives the answer, by the name of an RPC, to a call that there is no time for. RPCs in `brief` are
    answered in turns (`pdp.turns`).
    """

    def __init__(
        self,
        descriptor: ServiceDescriptor,
        servicer: object,
        right: Right,
        *,
        stream_threads: int = 0,
        denies_itself: bool = False,
        brief: Collection[str] = (),
    ) -> None:
        self.denies_itself = denies_itself
        self.brief = brief
        self.descriptor = descriptor
        self.servicer = servicer
        self.right = right
        self.stream_threads = stream_threads


class _Apart:
    """A handler that grpc runs in a thread pool of its own."""

    def __init__(self, handler: Callable[..., Any], pool: ThreadPoolExecutor) -> None:
        self._handler = handler
        self.experimental_thread_pool = pool

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._handler(request, context)


class _Denying:
    """A handler of a gateway's protocol. Where there is no time for it, the pool answers with `when_overloaded`."""

    def __init__(self, handler: Callable[..., Any], when_overloaded: Message) -> None:
        self._handler = handler
        self.when_overloaded = when_overloaded.SerializeToString()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._handler(request, context)


class Server:
    """One grpc server with health and, if configured, reflection. `addresses` are those really bound.

    Health is for everyone who can connect: what looks after the service has no credentials.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        services: Sequence[Service],
        server: ServerConfig,
        limits: LimitsConfig,
        admission: Admission,
        certificate: ServerCertificate | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Without a `certificate` connections are not encrypted."""
        self._observer = observer or Observer()
        self._config = server
        self._limits = limits
        self._admission = admission
        self._credentials = certificate.credentials() if certificate is not None else None
        self._names = [service.descriptor.full_name for service in services]
        self._health = health.HealthServicer(experimental_non_blocking=True)
        self._pool = CallPool(server.threads, limits)
        self._stream_pool = ThreadPoolExecutor(_STREAM_THREADS, thread_name_prefix="stream")
        self._watch_pool = ThreadPoolExecutor(_WATCH_THREADS, thread_name_prefix="watch")
        self._reflection_pool = ThreadPoolExecutor(_REFLECTION_THREADS, thread_name_prefix="reflection")
        self._grpc = grpc.server(
            self._pool,
            options=_options(server, limits),
            maximum_concurrent_rpcs=limits.concurrent_rpcs,
        )
        self._open_pools: list[CallPool] = []
        for service in services:
            handlers = self._handlers(service)
            self._grpc.add_registered_method_handlers(service.descriptor.full_name, handlers)
            generic = grpc.method_handlers_generic_handler(service.descriptor.full_name, handlers)
            self._grpc.add_generic_rpc_handlers((generic,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        if server.reflection:
            self._add_reflection()
        self._grpc.add_generic_rpc_handlers((UnknownRpcs(self._observer.metrics.rpc_errors),))
        self.set_serving(False)
        self.addresses = tuple(self._listen(address) for address in addresses)

    @property
    def queue(self) -> CallQueue:
        """The calls that wait for a thread, and what is counted about them."""
        return self._pool.queue

    def start(self) -> None:
        """Begin to answer."""
        self._grpc.start()

    def set_serving(self, serving: bool) -> None:
        """What the health service says, overall and for each service."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *self._names):
            self._health.set(name, state)

    def stop(self) -> None:
        """Say NOT_SERVING, take no new calls, let those in flight finish for as long as is configured."""
        self._health.enter_graceful_shutdown()
        stopped = self._grpc.stop(self._config.drain_seconds)
        # Watches of its health, and calls whose message never came, are open for as long as their callers like.
        idle_checks = 0
        while not stopped.wait(_IDLE_CHECK_SECONDS) and idle_checks < _IDLE_CHECKS:
            idle = all(pool.idle for pool in (self._pool, *self._open_pools))
            idle_checks = idle_checks + 1 if idle else 0
        self._grpc.stop(None).wait()
        pools = (self._pool, self._stream_pool, self._watch_pool, self._reflection_pool, *self._open_pools)
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)
        for address in self.addresses:
            if address.startswith("unix:"):
                Path(address.removeprefix("unix:")).unlink(missing_ok=True)

    def _add_reflection(self) -> None:
        servicer = reflection.ReflectionServicer((*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME))
        answer = self._admitting(
            "reflect", lambda requests, call: servicer.ServerReflectionInfo(requests, call.context)
        )
        handler = grpc.stream_stream_rpc_method_handler(
            _Apart(guard_stream("ServerReflection", answer), self._reflection_pool),
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        handlers = {"ServerReflectionInfo": handler}
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, handlers),))

    def _listen(self, address: str) -> str:
        if address.startswith("unix:"):
            return self._listen_unix(address)
        try:
            port = self._add_port(address)
        except RuntimeError as error:
            raise ConfigError([f"cannot listen on `{address}`: the address is in use or not this machine's"]) from error
        return f"{address.rpartition(':')[0]}:{port}"

    def _listen_unix(self, address: str) -> str:
        path = Path(address.removeprefix("unix:"))
        try:
            _remove_stale_socket(path)
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise ConfigError([f"cannot listen on `{address}`: {cause}"]) from error
        # The socket must never be wider open than configured, not even before the chmod below.
        previous = os.umask(0o177)
        try:
            self._add_port(f"unix:{path}")
            path.chmod(int(self._config.socket_mode, 8))
        except (RuntimeError, OSError) as error:
            raise ConfigError([f"cannot listen on `{address}`: {error}"]) from error
        finally:
            os.umask(previous)
        return address

    def _add_port(self, address: str) -> int:
        if self._credentials is None:
            return self._grpc.add_insecure_port(address)
        return self._grpc.add_secure_port(address, self._credentials)

    def _handlers(self, service: Service) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        streams: ThreadPoolExecutor = self._stream_pool
        if service.stream_threads:
            streams = CallPool(service.stream_threads, self._limits)
            self._open_pools.append(streams)
        return {method.name: self._handler(method, service, streams) for method in service.descriptor.methods}

    def _handler(
        self, method: MethodDescriptor, service: Service, streams: ThreadPoolExecutor
    ) -> grpc.RpcMethodHandler[Any, Any]:
        name = f"{service.descriptor.name}.{method.name}"
        answer: Callable[..., Any] = getattr(service.servicer, method.name)
        read = _reader(GetMessageClass(method.input_type))
        # Who may not ask is told so whatever it sent.
        refusing = _refusing_each(answer) if method.client_streaming else _refusing(answer)
        admitting = self._admitting(service.right, refusing, denies_itself=service.denies_itself)
        if method.client_streaming and method.server_streaming:
            talking = _Apart(self._observed_stream(name, guard_stream(name, admitting)), streams)
            return grpc.stream_stream_rpc_method_handler(talking, read, _written)
        if method.server_streaming:
            watching = _Apart(self._observed_stream(name, guard_stream(name, admitting)), self._watch_pool)
            return grpc.unary_stream_rpc_method_handler(watching, read, _written)
        guarded = self._observed(name, guard_unary(name, admitting))
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(_Apart(guarded, streams), read, _written)
        if service.denies_itself:
            guarded = _Denying(guarded, service.servicer.overloaded(method.name))  # type: ignore[attr-defined]
        if method.name in service.brief:
            guarded.brief = True  # type: ignore[attr-defined]  # for the pool
        return grpc.unary_unary_rpc_method_handler(guarded, read, _written)

    def _observed(self, name: str, guarded: Callable[..., Any]) -> Callable[..., Any]:
        answered = self._observer.answered

        def observed(request: Any, context: grpc.ServicerContext) -> Any:
            told = Told(_traceparent(context), getattr(request, "request_id", ""))
            return answered(name, told, partial(guarded, request, context), partial(_code, context))

        return observed

    def _observed_stream(self, name: str, guarded: Callable[..., Any]) -> Callable[..., Any]:
        streamed = self._observer.streamed

        def observed(request: Any, context: grpc.ServicerContext) -> Any:
            return streamed(name, Told(_traceparent(context)), guarded(request, context), lambda: _code(context))

        return observed

    def _admitting(
        self, right: Right, answer: Callable[..., Any], *, denies_itself: bool = False
    ) -> Callable[..., Any]:
        def admitted(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                call = self._admission.admit(context, right)
            except (UnauthenticatedError, PermissionDeniedError):
                if not denies_itself:
                    raise
                call = RpcCall(NOBODY, context)
            return answer(request, call)

        return admitted


def _options(server: ServerConfig, limits: LimitsConfig) -> list[tuple[str, int]]:
    return [
        # Two processes on one port would share calls silently; several workers do it on purpose.
        ("grpc.so_reuseport", int(server.workers > 1)),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        # A connection on which nobody speaks the protocol has its place for no longer than this.
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_receive_message_length", limits.message_bytes),
        # Further calls wait at the peer, which costs nothing here.
        ("grpc.max_concurrent_streams", min(limits.streams_per_connection, limits.concurrent_rpcs)),
        # It would refuse streams because of others that have ended and are not yet cleared away. Calls that nobody has
        # taken are bounded all the same, by what may be pending.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_metadata_size", 16 * 1024),
        # Clients may make sure of an idle connection; who does it more often than this is cut off.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _remove_stale_socket(path: Path) -> None:
    """Remove a socket that nobody listens on; anything else at that path is left and reported."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISSOCK(mode):
            raise ConfigError([f"cannot listen on `unix:{path}`: there is a file that is not a socket"])
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_SECONDS)  # a listener that is too busy to accept is still one
            probe.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    raise ConfigError([f"cannot listen on `unix:{path}`: another process listens there"])


def _traceparent(context: grpc.ServicerContext) -> str:
    """What a caller says about its trace; nothing where it says two things."""
    found = [value for key, value in context.invocation_metadata() or () if key == "traceparent"]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


def _code(context: grpc.ServicerContext) -> str:
    """The name of the status of a call that was aborted."""
    code: grpc.StatusCode | None = context.code()  # type: ignore[attr-defined]  # the stubs lack it
    return code.name if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN.name


def _reader(message: type[Message]) -> Callable[[bytes], Message | _Malformed]:
    def read(data: bytes) -> Message | _Malformed:
        try:
            return message.FromString(data)
        except DecodeError:
            return _Malformed()

    return read


def _written(message: Message) -> bytes:
    return message.SerializeToString()


def _refusing(answer: Callable[..., Any]) -> Callable[..., Any]:
    def checked(request: Message | _Malformed, call: Call) -> Any:
        return answer(_well_formed(request), call)

    return checked


def _refusing_each(answer: Callable[..., Any]) -> Callable[..., Any]:
    def checked(requests: Any, call: Call) -> Any:
        return answer(map(_well_formed, requests), call)

    return checked


def _well_formed(request: Message | _Malformed) -> Message:
    if isinstance(request, _Malformed):
        raise InvalidRequestError("", "the bytes are not a message of this RPC", "MALFORMED_MESSAGE")
    return request
