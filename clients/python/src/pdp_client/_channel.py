"""What both clients are made of: checked settings, and the channel options that follow from them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from os import PathLike
from pathlib import Path

import grpc

#: How long a call may take where nobody says otherwise.
DEFAULT_DEADLINE_SECONDS = 1.0
#: The largest answer that is taken where nobody says otherwise.
DEFAULT_MAX_RECEIVE_BYTES = 16 * 1024 * 1024

#: gRPC's service config: what is tried again, and how often. No call of DecisionService does more twice than once. It
#: is `clients/service_config.json`, which all clients have.
SERVICE_CONFIG = """\
{
  "methodConfig": [
    {
      "name": [{"service": "pdp.v1.DecisionService"}],
      "retryPolicy": {
        "maxAttempts": 3,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    }
  ],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
}
"""

_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 5_000
_FIRST_BACKOFF_MS = 100
_MAX_BACKOFF_MS = 2_000
_NO_LIMIT = -1

_KEY = re.compile(r"[!-~]+")
# What names a host and a port, and nothing but these.
_HOST_AND_PORT = re.compile(r"(?:dns:///)?(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):[0-9]{1,5}")
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_PEM_BEGINS = "-----BEGIN "

#: PEM itself as bytes, or the path of a file with it; a `str` is always a path.
Pem = bytes | str | PathLike[str]


@dataclass(frozen=True)
class Tls:
    """How to encrypt and whom to trust; `Tls()` is TLS with the system's roots.

    `ca`: the certificates that the service's is checked against, in place of the system's. `certificate` and `key`: the
    client's own, for mutual TLS; both or neither. `server_name`: the name that the service's certificate must have, in
    place of the host in the target. PEM is given as bytes, or as the path of a file; a `str` is always a path. When a
    client is made, it raises OSError if a file cannot be read, and ValueError if there is no PEM in it.
    """

    ca: Pem | None = None
    certificate: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Refuse half of a pair. Raises ValueError."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client certificate needs its key and a key its certificate; give both or neither")


@dataclass(frozen=True)
class Settings:
    """What a client was told, checked. `options` are for a channel, `metadata` goes with every call."""

    target: str
    deadline_seconds: float
    options: tuple[tuple[str, str | int], ...]
    credentials: grpc.ChannelCredentials | None = field(repr=False)
    metadata: tuple[tuple[str, str], ...] = field(repr=False)


def make_settings(
    target: str, tls: Tls | None, bearer: str | None, deadline_seconds: float, max_receive_bytes: int
) -> Settings:
    """Check what a client is told. Raises ValueError, or OSError where a file cannot be read."""
    if not target:
        raise ValueError("the target is empty; it is `host:port`, `[v6]:port` or `unix:/path`")
    if max_receive_bytes <= 0:
        raise ValueError(f"the largest answer has to be more than `{max_receive_bytes}` bytes")
    if bearer is not None:
        _check_bearer(bearer, target, tls)
    return Settings(
        target=target,
        deadline_seconds=checked_deadline(deadline_seconds),
        options=_options(max_receive_bytes, tls),
        credentials=None if tls is None else _credentials(tls),
        metadata=() if bearer is None else (("authorization", f"Bearer {bearer}"),),
    )


def checked_deadline(seconds: float) -> float:
    """`seconds`, if a call may take so long: there is no way to have no deadline. Raises ValueError."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a deadline has to be more than 0 seconds and finite, not `{seconds}`")
    return seconds


def is_local(target: str) -> bool:
    """Whether what is sent to `target` certainly stays on this machine; a name other than `localhost` might not."""
    if target.startswith("unix:"):
        return True
    if (match := _HOST_AND_PORT.fullmatch(target)) is None:
        return False
    host = match[1] or match[2]
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _LOOPBACK)


def _check_bearer(bearer: str, target: str, tls: Tls | None) -> None:
    # The key is in none of these texts: they end in logs.
    if not _KEY.fullmatch(bearer):
        raise ValueError("a bearer key is made of visible ASCII characters, at least one")
    if tls is None and not is_local(target):
        raise ValueError(
            f"a bearer key would be sent in clear to `{target}`; use TLS, a unix socket or a loopback address"
        )


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    ca, key, certificate = _pem("ca", tls.ca), _pem("key", tls.key), _pem("certificate", tls.certificate)
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _pem(name: str, value: Pem | None) -> bytes | None:
    if value is None:
        return None
    # As a path it would stand in the error about a file that is not there: a private key in a log.
    if isinstance(value, str) and _PEM_BEGINS in value:
        raise ValueError(f"`{name}` of the TLS is PEM in a `str`, which is the path of a file; give PEM as bytes")
    content = value if isinstance(value, bytes) else Path(value).read_bytes()
    # Given but empty is a file that lost its content. To gRPC it would be as if nothing was given.
    if _PEM_BEGINS.encode() not in content:
        raise ValueError(f"`{name}` of the TLS has no PEM in it")
    return content


def _options(max_receive_bytes: int, tls: Tls | None) -> tuple[tuple[str, str | int], ...]:
    return (
        ("grpc.service_config", SERVICE_CONFIG),
        # What DNS says is not to change what is tried again.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.max_receive_message_length", max_receive_bytes),
        ("grpc.max_send_message_length", _NO_LIMIT),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        # Without this the pings end after two without a call between them.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", _FIRST_BACKOFF_MS),
        # How long one attempt to connect may take; the default is 20 seconds.
        ("grpc.min_reconnect_backoff_ms", _MAX_BACKOFF_MS),
        ("grpc.max_reconnect_backoff_ms", _MAX_BACKOFF_MS),
        # Each client has a connection of its own.
        ("grpc.use_local_subchannel_pool", 1),
        *(_in_clear() if tls is None else _with_tls(tls)),
    )


def _in_clear() -> tuple[tuple[str, str | int], ...]:
    # A proxy of the environment would get everything, calls to this very machine too, and read it.
    return (("grpc.enable_http_proxy", 0),)


def _with_tls(tls: Tls) -> tuple[tuple[str, str | int], ...]:
    return () if tls.server_name is None else (("grpc.ssl_target_name_override", tls.server_name),)
