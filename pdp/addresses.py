"""Addresses to listen on, and who can reach them."""

from __future__ import annotations

import ipaddress


def host_of(address: str) -> str:
    """The host part of `host:port`; the address itself for unix sockets. ValueError if it is neither."""
    if address.startswith("unix:") and len(address) > len("unix:") and "\0" not in address:
        return address
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    # `::1:80` is the address ::0001:0080 and no port, and not what its writer means.
    unclear = ":" in host and not bracketed
    if not colon or not host or unclear or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError(f"`{address}` is not an address; write `host:port`, `[v6]:port` or `unix:/path`")
    return host.removeprefix("[").removesuffix("]")


def is_local(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_problem(address: str, everywhere: bool) -> str:
    """What is wrong with an address to listen on, `everywhere` if it may be for other machines; empty for nothing."""
    try:
        host = host_of(address)
    except ValueError as error:
        return str(error)
    if everywhere or is_local(host):
        return ""
    return (
        f"`{address}` can be reached from other machines and TLS is not configured; "
        "listen on a loopback address or a unix socket, give `server.tls_certificate` and `server.tls_key`, or set "
        "`server.allow_insecure_network = true`"
    )
