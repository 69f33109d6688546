"""Addresses that several processes are to listen on at the same time."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pdp.addresses import host_of
from pdp.config import Config
from pdp.errors import ConfigError


@contextmanager
def reserved(config: Config) -> Iterator[Config]:
    """The configuration with its free ports picked, and all its ports kept for this user's processes.

    The sockets that keep them take no connections. Raises ConfigError with every address that somebody else has.
    """
    problems: list[str] = []
    with ExitStack() as sockets:

        def taken(addresses: Sequence[str]) -> list[str]:
            found = []
            for address in addresses:
                try:
                    found.append(_reserve(address, sockets))
                except OSError as error:
                    problems.append(f"cannot listen on `{address}`: {(error.strerror or str(error)).lower()}")
            return found

        listen, admin = taken(config.server.listen), taken(config.server.admin_listen)
        authzen = taken([config.authzen.listen] if config.authzen.listen else [])
        if problems:
            raise ConfigError(problems)
        server = config.server.model_copy(update={"listen": tuple(listen), "admin_listen": tuple(admin)})
        update = {"server": server, "authzen": config.authzen.model_copy(update={"listen": "".join(authzen)})}
        yield config.model_copy(update=update)


def _reserve(address: str, sockets: ExitStack) -> str:
    """Bind to all that the address stands for; gives it with its port. Raises OSError."""
    name, port = host_of(address), int(address.rpartition(":")[2])
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, place in dict.fromkeys(found):
        bound = (place[0], port, *place[2:])
        # Whoever listens there already, be it with the same option, would share the calls without anybody noticing.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _only_v6(probe, family)
            probe.bind(bound)
        held = sockets.enter_context(socket.socket(family, kind, protocol))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _only_v6(held, family)
        held.bind(bound)
        port = held.getsockname()[1]
    return f"{address.rpartition(':')[0]}:{port}"


def _only_v6(bound: socket.socket, family: int) -> None:
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
