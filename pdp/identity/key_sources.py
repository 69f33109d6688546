"""Where key sets are read: a file, or a server. Both are bounded in size, and a server in time as well."""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import SplitResult, urlsplit

from pdp.errors import PdpError
from pdp.identity.jwks import MAX_JWKS_BYTES

Clock = Callable[[], float]

_HTTP_OK = 200
_REDIRECTS = range(300, 400)
_MAX_CAUSE = 200


class KeySourceError(PdpError):
    """A key set cannot be read now; the text says why."""


class KeySource(Protocol):
    """Where an issuer's key set is read."""

    def read(self) -> bytes:
        """The document as it is now. Raises KeySourceError."""


class FileKeySource:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes:
        """The file's content. Raises KeySourceError."""
        try:
            # A pipe in the place of the file would block.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise KeySourceError(f"`{self._path}` is not a file")
                content = file.read(MAX_JWKS_BYTES + 1)
        except OSError as error:
            raise KeySourceError(f"`{self._path}` cannot be read: {(error.strerror or str(error)).lower()}") from error
        if len(content) > MAX_JWKS_BYTES:
            raise KeySourceError(f"`{self._path}` is longer than {MAX_JWKS_BYTES} bytes")
        return content


class UrlKeySource:
    """A server, asked with HTTP over TLS, or without where the configuration says so.

    It has `timeout_seconds` for all of its answer. Redirects are not followed, proxies that the environment names not
    used: what the configuration says is where the keys come from.
    """

    def __init__(
        self, url: str, timeout_seconds: float, ca_file: str | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._ca_file = ca_file
        self._clock = clock

    def read(self) -> bytes:
        """The server's answer. Raises KeySourceError."""
        try:
            return self._read(self._clock() + self._timeout_seconds)
        except TimeoutError as error:
            raise KeySourceError(f"`{self._url}` did not answer within {self._timeout_seconds} s") from error
        # ValueError: what http.client and the encoding of host names raise for hostile bytes.
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise KeySourceError(f"`{self._url}` cannot be read: {_cause(error)}") from error

    def _read(self, deadline: float) -> bytes:
        parts = urlsplit(self._url)
        plain = socket.create_connection(_address(parts), timeout=self._timeout_seconds)
        with _TimedSocket(plain, deadline, self._clock) as connected:
            if parts.scheme == "https":
                connected.secure(ssl.create_default_context(cafile=self._ca_file), parts.hostname or "")
            connection = http.client.HTTPConnection(*_address(parts))
            # It asks for no more of a socket than that one has.
            connection.sock = cast(socket.socket, connected)
            headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
            connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", headers=headers)
            with connection.getresponse() as response:
                return self._content(response)

    def _content(self, response: http.client.HTTPResponse) -> bytes:
        if response.status in _REDIRECTS:
            raise KeySourceError(f"`{self._url}` redirects elsewhere; configure the address that has the keys")
        if response.status != _HTTP_OK:
            raise KeySourceError(f"`{self._url}` answers with the status {response.status}")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise KeySourceError(f"`{self._url}` answers in an encoding that was not asked for")
        content = response.read(MAX_JWKS_BYTES + 1)
        if len(content) > MAX_JWKS_BYTES:
            raise KeySourceError(f"`{self._url}` answers with more than {MAX_JWKS_BYTES} bytes")
        return content


def _cause(error: Exception) -> str:
    """The error's text, which may hold what the server sent."""
    text = "".join(character if character.isprintable() else "?" for character in str(error)[:_MAX_CAUSE])
    return text or type(error).__name__


def _address(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


class _TimedSocket:
    """The part of a socket that http.client uses, up to a deadline.

    A socket's own timeout begins anew with every byte that comes, so a server that sends one now and then would hold a
    reader for ever.
    """

    def __init__(self, plain: socket.socket, deadline: float, clock: Clock) -> None:
        self._socket = plain
        self._deadline = deadline
        self._clock = clock

    def __enter__(self) -> _TimedSocket:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on, with a server that can prove to be `host`."""
        self._socket = context.wrap_socket(self.timed(), server_hostname=host)

    def timed(self) -> socket.socket:
        """The socket, with what is left of the time. Raises TimeoutError if nothing is."""
        remaining = self._deadline - self._clock()
        if remaining <= 0:
            raise TimeoutError
        self._socket.settimeout(remaining)
        return self._socket

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        self.timed().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What comes in, as a file."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Do nothing: http.client lets go of a connection that will end before it reads the answer."""


class _Incoming(io.RawIOBase):
    """What comes in through a socket."""

    def __init__(self, source: _TimedSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is, at least one byte unless the other side has ended."""
        return self._source.timed().recv_into(buffer)
