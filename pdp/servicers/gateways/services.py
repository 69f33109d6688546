"""The services of gateways' protocols, as they are configured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from pdp._gen.agentgateway.dev.ext_mcp import ext_mcp_pb2
from pdp.errors import ConfigError
from pdp.gateway_config import AgentgatewayConfig, EnvoyConfig
from pdp.servicers.gateways.agentgateway import ExtMcpServicer
from pdp.servicers.gateways.asker import Asker, Core

#: Threads beyond the streams that may be open at the same time, which tell the others that there are too many.
_REFUSING_THREADS = 2


@dataclass(frozen=True, slots=True)
class GatewayService:
    """A service's descriptor, what answers it, and how many threads its streams need; 0 where it has none."""

    descriptor: ServiceDescriptor
    servicer: Any
    stream_threads: int = 0


def gateway_services(core: Core, envoy: EnvoyConfig, agentgateway: AgentgatewayConfig) -> Iterator[GatewayService]:
    """The services that are switched on. Raises ConfigError where what one needs is not installed."""
    asker = Asker(core)
    if agentgateway.enabled:
        yield GatewayService(ext_mcp_pb2.DESCRIPTOR.services_by_name["ExtMcp"], ExtMcpServicer(asker, agentgateway))
    if envoy.ext_proc or envoy.ext_authz:
        yield from _envoy_services(asker, envoy)


def _envoy_services(asker: Asker, config: EnvoyConfig) -> Iterator[GatewayService]:
    try:
        # Only who uses Envoy has its messages installed.
        from envoy.service.auth.v3 import external_auth_pb2  # noqa: PLC0415
        from envoy.service.ext_proc.v3 import external_processor_pb2  # noqa: PLC0415

        from pdp.servicers.gateways.envoy_ext_authz import AuthorizationServicer  # noqa: PLC0415
        from pdp.servicers.gateways.envoy_ext_proc import ExternalProcessorServicer  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(["`[envoy]` needs Envoy's messages; install them with `pip install 'pdp[envoy]'`"]) from error
    if config.ext_proc:
        descriptor = external_processor_pb2.DESCRIPTOR.services_by_name["ExternalProcessor"]
        threads = config.streams + _REFUSING_THREADS
        yield GatewayService(descriptor, ExternalProcessorServicer(asker, config), threads)
    if config.ext_authz:
        descriptor = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"]
        yield GatewayService(descriptor, AuthorizationServicer(asker, config))
