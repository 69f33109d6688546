"""What the service listens with: the gRPC servers, and AuthZEN over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import structlog

from pdp._gen.pdp.v1 import admin_service_pb2, decision_service_pb2
from pdp.bundle.store import SnapshotStore
from pdp.call import Admission
from pdp.config import Config, ServerConfig
from pdp.identity.callers import Callers
from pdp.server import Server, Service
from pdp.servicers.admin import AdminServicer
from pdp.servicers.decision import DecisionServicer
from pdp.servicers.gateways.authzen import AuthZen
from pdp.servicers.gateways.authzen_connection import ConnectionLimits
from pdp.servicers.gateways.authzen_http import AuthZenHttp, json_limits
from pdp.servicers.gateways.authzen_mapping import MappingOptions
from pdp.servicers.gateways.authzen_server import HttpServer, ServerOptions, TlsContexts
from pdp.servicers.gateways.services import gateway_services
from pdp.telemetry.observer import Observer
from pdp.tls import ServerCertificate, TlsFiles

_log = structlog.get_logger("pdp")


def make_certificate(config: ServerConfig) -> ServerCertificate | None:
    """The certificate of this service, if it has one. Raises ConfigError."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    files = TlsFiles(config.tls_certificate, config.tls_key, config.tls_client_ca)
    return ServerCertificate(files, lambda problems: _log.error("certificate", problems=problems))


def make_servers(
    config: Config,
    answering: DecisionServicer,
    administering: AdminServicer,
    admission: Admission,
    certificate: ServerCertificate | None,
    observer: Observer,
) -> list[Server]:
    """The gRPC servers, listening: DecisionService's, and AdminService's where it has one of its own.

    Raises ConfigError where one cannot listen.
    """
    decision = Service(
        decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"],
        answering,
        "decide",
        brief={"Authorize", "Decide"},
    )
    admin = Service(admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"], administering, "admin")
    gateways = [
        Service(asked.descriptor, asked.servicer, "decide", stream_threads=asked.stream_threads, denies_itself=True)
        for asked in gateway_services(answering, config.envoy, config.agentgateway)
    ]
    asking = [decision, *gateways]
    server = config.server

    def listening(addresses: Sequence[str], services: Sequence[Service]) -> Server:
        return Server(addresses, services, server, config.limits, admission, certificate, observer)

    if server.admin_listen:
        return [listening(server.listen, asking), listening(server.admin_listen, [admin])]
    # Where callers have no rights of their own, whoever reaches the listener has all of them, and changing the service
    # is for this machine only.
    private = server.is_local and not server.allow_insecure_network
    return [listening(server.listen, [*asking, admin] if private or admission.callers.configured else asking)]


def make_authzen_server(config: Config, certificate: ServerCertificate | None) -> HttpServer | None:
    """AuthZEN's server, not yet answering, if it is switched on. Raises ConfigError if it cannot listen."""
    section, server = config.authzen, config.server
    if not section.listen:
        return None
    return HttpServer(
        section.listen,
        ConnectionLimits(config.limits.message_bytes, section.request_seconds, section.idle_seconds),
        ServerOptions(section.threads, section.connections, server.drain_seconds, shared=server.workers > 1),
        TlsContexts(certificate) if certificate is not None else None,
    )


def make_authzen(
    config: Config, answering: DecisionServicer, store: SnapshotStore, callers: Callers, observer: Observer, url: str
) -> AuthZenHttp:
    """What answers at AuthZEN's server, which is reached at `url`."""
    limits, mapping = config.limits, MappingOptions(**config.authzen.mapping())
    authzen = AuthZen(answering, lambda: store.current().authorizer.model.tools, mapping, limits.batch_requests)
    documents = json_limits(limits.message_bytes, limits.batch_requests)
    return AuthZenHttp(authzen, callers, mapping, documents, config.authzen.public_url or url, observer)


def start_all(
    stack: ExitStack, servers: Sequence[Server], authzen: HttpServer | None, answers: Callable[[str], AuthZenHttp]
) -> None:
    """Start everything. `stack` stops it: AuthZEN is told first and waited for last, so that all drain at once."""
    if authzen is not None:
        stack.callback(authzen.stop)
        authzen.start(answers(authzen.url))
    for server in servers:
        server.start()
        stack.callback(server.stop)
    if authzen is not None:
        stack.callback(authzen.drain)
