"""An HTTP/1.1 server, with or without TLS, for an application whose answers are work for threads.

One thread holds all connections, so a slow peer costs memory and no thread; a pool of threads answers, and a
connection asks one thing at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from pdp.addresses import host_of
from pdp.errors import ConfigError
from pdp.servicers.gateways.authzen_connection import (
    READ_BYTES,
    Application,
    Connection,
    ConnectionLimits,
)
from pdp.servicers.gateways.authzen_places import Place, Places
from pdp.tls import Pem, ServerCertificate, TlsFiles

_log = structlog.get_logger("pdp.http")

_BACKLOG: Final = 128
#: After a failed accept, most likely for want of file descriptors.
_ACCEPT_PAUSE_SECONDS: Final = 0.5
_TLS_GOODBYE_SECONDS: Final = 1.0
#: Connections that have lost their places and are not gone yet, which takes them a moment.
_LEAVING: Final = 32


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`connections` at the same time; a further one takes the place of one whose peer is waited for, or is closed at
    once. `threads` that answer.

    `shared`: other processes of this user may listen at the same address.
    """

    threads: int = 4
    connections: int = 256
    drain_seconds: float = 10.0
    shared: bool = False


class HttpServer:
    """Listens from the beginning, answers between `start` and `stop`. `tls` gives the context of each new connection.

    Raises ConfigError where it cannot listen.
    """

    def __init__(
        self,
        address: str,
        limits: ConnectionLimits,
        options: ServerOptions,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._limits = limits
        self._options = options
        self._tls = tls
        self._socket = _listen(address, options.shared)
        #: The address really bound, `host:port`.
        self.address = f"{address.rpartition(':')[0]}:{self._socket.getsockname()[1]}"
        self.url = f"{'http' if tls is None else 'https'}://{self.address}"
        self._pool = ThreadPoolExecutor(options.threads, thread_name_prefix="http")
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = Places(options.connections)
        self._is_full = False

    def start(self, application: Application) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self._run, args=[application], name="http-connections", daemon=True)
        self._thread.start()
        self._started.wait()

    def drain(self) -> None:
        """Take no new requests from now on; returns at once."""
        if self._loop is not None:
            # The loop may have ended, and then there is nobody to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        """Take no new requests, let those that are being served finish for as long as is configured."""
        self.drain()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._socket.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, application: Application) -> None:
        try:
            asyncio.run(self._serve(application))
        finally:
            self._started.set()

    async def _serve(self, application: Application) -> None:
        self._loop = asyncio.get_running_loop()
        self._listen(application)
        self._started.set()
        await self._stopping.wait()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for connection in tuple(self._connections):
            connection.drain()
        await self._finish()

    async def _finish(self) -> None:
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=self._options.drain_seconds)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)

    def _listen(self, application: Application) -> None:
        if not self._stopping.is_set():
            asyncio.get_running_loop().add_reader(self._socket, self._accept, application)

    def _accept(self, application: Application) -> None:
        """Take one connection. In one step: a task that waits for one may be cancelled with a connection in its hands.

        One at a time, so that a flood of connections leaves those that are held their turn.
        """
        loop = asyncio.get_running_loop()
        if len(self._tasks) >= self._options.connections + _LEAVING:
            # Whoever comes waits until one is gone: to be turned away now, and heard a moment later, helps nobody.
            loop.remove_reader(self._socket)
            self._is_full = True
            return
        try:
            peer, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            _log.warning("no connection can be taken", error=str(error))
            loop.remove_reader(self._socket)
            loop.call_later(_ACCEPT_PAUSE_SECONDS, self._listen, application)
            return
        place = self._places.take(partial(_shut, peer))
        if place is None:
            peer.close()
            return
        task = loop.create_task(self._hold(peer, place, application))
        self._tasks.add(task)
        task.add_done_callback(partial(self._left, place, application))

    def _left(self, place: Place, application: Application, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        place.leave()
        if self._is_full:
            self._is_full = False
            self._listen(application)

    async def _hold(self, peer: socket.socket, place: Place, application: Application) -> None:
        """One connection from beginning to end; the boundary of what can go wrong with it."""
        try:
            reader, writer = await self._open(peer)
        except Exception as error:  # noqa: BLE001 - the boundary
            peer.close()
            _tell(error)
            return
        names = _certificate_names(writer.get_extra_info("peercert") or {})
        connection = Connection(reader, writer, application, self._pool, self._limits, names, place)
        self._connections.add(connection)
        if self._stopping.is_set():
            connection.drain()
        try:
            await connection.run()
            writer.close()
            async with asyncio.timeout(_TLS_GOODBYE_SECONDS):
                await writer.wait_closed()
        except Exception as error:  # noqa: BLE001 - the boundary
            _tell(error)
        finally:
            self._connections.discard(connection)
            writer.transport.abort()

    async def _open(self, peer: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        tls: dict[str, Any] = {}
        if self._tls is not None:
            tls["ssl"] = self._tls()
            tls["ssl_handshake_timeout"] = self._limits.request_seconds
            tls["ssl_shutdown_timeout"] = _TLS_GOODBYE_SECONDS
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer, **tls)
        # An answer is sent when all of it is, so that a peer that does not take it is noticed.
        transport.set_write_buffer_limits(high=0)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class TlsContexts:
    """A TLS context for each new connection, with the certificate that is in use then."""

    def __init__(self, certificate: ServerCertificate) -> None:
        """Raises ConfigError where the certificate cannot be used."""
        self._certificate = certificate
        self._pem = certificate.pem
        try:
            self._context = _context(certificate.files, self._pem)
        except (OSError, ValueError) as error:
            raise ConfigError([f"`{certificate.files.certificate}` cannot be used for TLS: {error}"]) from error

    def __call__(self) -> ssl.SSLContext:
        """The context."""
        self._certificate.refresh()
        pem = self._certificate.pem
        if pem is not self._pem:
            # The files may change again at this moment; then the next connection looks once more.
            with contextlib.suppress(OSError, ValueError):
                self._context = _context(self._certificate.files, pem)
                self._pem = pem
        return self._context


def _shut(peer: socket.socket) -> None:
    """End a connection at whatever point it is: those who hold it see that nothing comes any more."""
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)


def _tell(error: Exception) -> None:
    # A peer that went away, or had to, is its own business; TimeoutError is an OSError too.
    if not isinstance(error, OSError):
        _log.error("internal error", exc_info=error)


def _context(files: TlsFiles, pem: Pem) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Without a password, OpenSSL would ask for that of a key at the terminal.
    context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    if pem.client_ca is not None:
        context.load_verify_locations(cadata=pem.client_ca.decode("ascii", "replace"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _listen(address: str, shared: bool) -> socket.socket:
    host = host_of(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    port = int(address.rpartition(":")[2])
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=shared)
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise ConfigError([f"cannot listen on `{address}`: {cause}"]) from error
    listener.setblocking(False)
    return listener


def _certificate_names(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The alternative names in a verified certificate."""
    return tuple(str(value) for _, value in certificate.get("subjectAltName", ()))
