"""One HTTP/1.1 connection: h11 reads the protocol, an application answers in a thread of a pool.

Every wait has an end: for the next request, for all of one request, for the peer to take an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import h11

from pdp.servicers.gateways.authzen_places import Place

#: Bytes taken from a peer at once. h11 bounds only a head that is not complete yet, so a head that comes at once is
#: bounded by this.
READ_BYTES: Final = 16 * 1024
#: A request line with its headers.
_MAX_HEAD_BYTES: Final = 16 * 1024
_VERSIONS: Final = (b"1.1", b"1.0")
#: Lines of a head that end without a return, or go on in the next line: what h11 takes and others may read otherwise.
_UNCLEAR: Final = re.compile(rb"(?<!\r)\n|\n[ \t]")
#: How long a peer may go on sending what is not read any more: reset at once, it might lose the answer.
_LINGER_SECONDS: Final = 1.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body. Names of headers are in lower case; `deadline` is a time of `time.monotonic`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    certificate_names: tuple[str, ...]
    deadline: float

    def values(self, name: str) -> list[str]:
        """The values of a header, in the order in which they came."""
        return [value for known, value in self.headers if known == name]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. Length and date are added to its headers."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


#: What answers an admitted request, given its body.
Admitted = Callable[[bytes], Response]


class Application(Protocol):
    """What answers. Neither method may raise; both are called in threads of a pool."""

    def admit(self, head: Head, /) -> Response | Admitted:
        """The answer to a request whose body need not be read, or what answers once it is there."""

    def refuse(self, status: int, message: str, head: Head | None, /) -> Response:
        """The answer to what is no request, or is too large or too slow; `head` where it came that far."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much of anything a peer may take. Sizes in bytes, times in seconds."""

    max_body_bytes: int
    #: For a request to come in and its answer to be found, and as long again for the peer to take it. A new connection
    #: has as long to begin.
    request_seconds: float = 10.0
    #: Between two requests.
    idle_seconds: float = 60.0


class _RefusedError(Exception):
    """A request that is not answered by the application."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Serves the requests of one connection, one after another."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        application: Application,
        pool: Executor,
        limits: ConnectionLimits,
        certificate_names: tuple[str, ...],
        place: Place,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._application = application
        self._pool = pool
        self._limits = limits
        self._names = certificate_names
        self._place = place
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._head: Head | None = None
        #: The answer to HEAD has none, also where the rest of its head is refused.
        self._without_body = False
        self._idle = False
        #: No further request is taken.
        self._ending = False

    async def run(self) -> None:
        """Serve until either side has had enough. Raises OSError or TimeoutError where the peer is gone or stuck."""
        while await self._begins():
            response = await self._respond()
            if response is None:
                return
            await self._send(response)
            if self._ending or not self._is_done():
                await self._linger()
                return
            self._h11.start_next_cycle()

    def drain(self) -> None:
        """Take no further request; one that is being served is answered."""
        self._ending = True
        if self._idle:
            self._writer.close()

    async def _begins(self) -> bool:
        """Wait for the first bytes of a request."""
        if self._ending:
            return False
        if self._h11.trailing_data[0]:
            return True
        limits = self._limits
        # Who has not asked anything yet, and maybe has no right to, holds a place for a shorter time.
        seconds = limits.idle_seconds if self._head else min(limits.idle_seconds, limits.request_seconds)
        self._idle = True
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(READ_BYTES)
        except TimeoutError:
            return False
        finally:
            self._idle = False
        self._h11.receive_data(data)
        # What comes at the moment of the end could be decided, and not be answered any more.
        return bool(data) and not self._ending

    async def _respond(self) -> Response | None:
        """The answer to the next request; None where the peer closed instead."""
        self._head, self._without_body = None, False
        deadline = time.monotonic() + self._limits.request_seconds
        try:
            async with asyncio.timeout_at(deadline):
                head = self._head = await self._read_head(deadline)
            if head is None:
                return None
            admitted = await self._in_pool(lambda: self._application.admit(head))
            if isinstance(admitted, Response):
                return admitted
            self._place.admit()
            async with asyncio.timeout_at(deadline):
                body = await self._read_body(head)
        except _RefusedError as error:
            return await self._refuse(error.status, str(error))
        except TimeoutError:
            return await self._refuse(408, "the request did not come in time")
        except h11.RemoteProtocolError as error:
            return await self._refuse(error.error_status_hint or 400, "this is not an HTTP/1.1 request")
        return await self._in_pool(lambda: admitted(body))

    async def _refuse(self, status: int, message: str) -> Response:
        # Where a request that cannot be read ends, and the next one begins, is anybody's guess.
        self._ending = True
        return await self._in_pool(lambda: self._application.refuse(status, message, self._head))

    async def _in_pool(self, answer: Callable[[], _Result]) -> _Result:
        with self._place.answering():
            return await asyncio.get_running_loop().run_in_executor(self._pool, answer)

    async def _read_head(self, deadline: float) -> Head | None:
        waiting = self._h11.trailing_data[0]
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            await self._receive()
            waiting = self._h11.trailing_data[0]
        if isinstance(event, h11.ConnectionClosed):
            return None
        assert isinstance(event, h11.Request), "a request begins with its head"
        self._without_body = event.method == b"HEAD"
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
        head = Head(event.method.decode("ascii"), event.target.decode("ascii"), headers, self._names, deadline)
        if event.http_version not in _VERSIONS:
            raise _RefusedError(505, "only HTTP/1.1 and HTTP/1.0 are served")
        _require_clear(head, event.http_version, waiting[: len(waiting) - len(self._h11.trailing_data[0])])
        return head

    async def _read_body(self, head: Head) -> bytes:
        limit = self._limits.max_body_bytes
        # h11 has checked that it is a number.
        if any(int(length) > limit for length in head.values("content-length")):
            raise _RefusedError(413, f"the request is longer than {limit} bytes")
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > limit:
                raise _RefusedError(413, f"the request is longer than {limit} bytes")
        assert isinstance(event, h11.EndOfMessage), "a body ends with its message"
        if event.headers:
            raise _RefusedError(400, "headers behind the body are not read")
        return bytes(body)

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                self._writer.write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            await self._receive()
        return event

    async def _receive(self) -> None:
        data = await self._reader.read(READ_BYTES)
        if not data and self._place.is_lost:
            # To work out an answer that nobody gets would keep those waiting who came instead.
            raise ConnectionResetError
        self._h11.receive_data(data)
        # Data that is already here comes without a pause, and others wait for this thread too.
        await asyncio.sleep(0)

    async def _send(self, response: Response) -> None:
        is_last = self._ending or not self._is_read()
        headers = [("Date", formatdate(usegmt=True)), *response.headers, ("Content-Length", str(len(response.body)))]
        if is_last:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase
        sent = self._h11.send(h11.Response(status_code=response.status, headers=headers, reason=reason)) or b""
        if not self._without_body:
            sent += self._h11.send(h11.Data(data=response.body)) or b""
        sent += self._h11.send(h11.EndOfMessage()) or b""
        self._writer.write(sent)
        async with asyncio.timeout(self._limits.request_seconds):
            await self._writer.drain()

    def _is_read(self) -> bool:
        """Whether all of the request is here, be it that nobody wanted it."""
        with contextlib.suppress(h11.RemoteProtocolError):
            while self._h11.their_state is h11.SEND_BODY and self._h11.next_event() is not h11.NEED_DATA:
                pass
        return self._h11.their_state not in (h11.SEND_BODY, h11.ERROR)

    def _is_done(self) -> bool:
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _linger(self) -> None:
        if self._h11.their_state not in (h11.SEND_BODY, h11.ERROR):
            return
        if self._writer.can_write_eof():
            self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(READ_BYTES):
                    pass


def _require_clear(head: Head, version: bytes, text: bytes) -> None:
    """Raise _RefusedError where another reader of this head, the proxy before this server, may see another request."""
    if _UNCLEAR.search(text):
        raise _RefusedError(400, "a line of the head is folded, or ends without a carriage return")
    encoded = bool(head.values("transfer-encoding"))
    if encoded and head.values("content-length"):
        raise _RefusedError(400, "the request has a length and a transfer encoding")
    if encoded and version == b"1.0":
        raise _RefusedError(400, "HTTP/1.0 has no transfer encodings")
