"""Records to a stream of NATS JetStream."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from pdp.decision_log.backlog import Batch
from pdp.decision_log.draining import OpenExporter
from pdp.decision_log.exporting import ExportError, RefusedError
from pdp.decision_log.marks import STUB_BEGIN
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError
from pdp.secret_files import require_secret

_CONNECT_SECONDS = 2
_ACK_SECONDS = 2.0
#: Longer than everything within one attempt can take.
_ATTEMPT_SECONDS = 5.0
#: What a stream answers to a message that is larger than its own limit (`JSStreamMessageExceedsMaximumErr`).
_LARGER_THAN_STREAM_TAKES = 10_054
#: `NATS/1.0` and the one header, with their line ends.
_HEADERS_BYTES = len("NATS/1.0\r\nNats-Msg-Id: \r\n\r\n")


class _TlsClient(Client):
    """A client that says nothing to a server without TLS.

    What a server says of itself comes in clear, and the library believes a server there that wants no TLS, whatever the
    scheme of its address, and would tell it password and records.
    """

    def _connect_command(self) -> bytes:
        if self._server_info.get("tls_required") is not True:
            raise nats.errors.Error("the server does not speak TLS, and its address is `tls://`")
        return super()._connect_command()


class NatsExporter:
    """Publishes each record and waits for the stream's word that it is stored.

    A record that is published again has the same `Nats-Msg-Id`, writer and number, so that within the stream's
    duplicate window it is stored once. Connections live on a loop of their own, which also answers the server's pings
    while there is nothing to publish.
    """

    def __init__(self, servers: Sequence[str], subject: str, options: Mapping[str, Any] | None = None) -> None:
        """`options` go to `nats.connect`: credentials, certificates."""
        self._servers = list(servers)
        self._subject = subject
        self._options = dict(options or {})
        self._client: Any = None
        #: What of the batch in hand is stored.
        self._stored: set[str] = set()
        #: What went wrong in the background since something was stored: the library tries again and again to connect.
        self._why = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="decision-log-nats", daemon=True)
        self._thread.start()

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        running = asyncio.run_coroutine_threadsafe(self._publish_all(batch), self._loop)
        try:
            running.result(_ATTEMPT_SECONDS)
        except TimeoutError as error:
            running.cancel()
            raise ExportError(self._why or "the server does not answer") from error
        except ExportError:
            raise
        except nats.js.errors.APIError as error:
            kind = RefusedError if error.err_code == _LARGER_THAN_STREAM_TAKES else ExportError
            raise kind(f"the stream answers: {error.description}"[:200]) from error
        except (nats.errors.Error, OSError) as error:
            raise ExportError(_text(error)) from error
        self._stored.clear()
        self._why = ""

    def sync(self) -> None:
        """Nothing to be done: the stream has what it said it has."""

    def close(self) -> None:
        """As in `Exporter`."""
        if self._client is not None:
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(_ATTEMPT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _publish_all(self, batch: Batch) -> None:
        if self._client is None:
            self._client = await self._connected()
        stream = self._client.jetstream(timeout=_ACK_SECONDS)
        messages = [(_name(batch.writer, seq, line), line) for seq, line in enumerate(batch.lines, batch.first_seq)]
        # The server would end the connection. Nothing of the batch is published before, so that the order stays.
        most = self._client.max_payload
        if any(len(name) + _HEADERS_BYTES + len(line) > most for name, line in messages):
            raise RefusedError(f"the server takes messages of {most} bytes at most")
        waiting = [self._publish(stream, name, line) for name, line in messages if name not in self._stored]
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _publish(self, stream: Any, name: str, line: bytes) -> None:
        await stream.publish(self._subject, line, headers={"Nats-Msg-Id": name})
        self._stored.add(name)

    async def _connected(self) -> Any:
        client = _TlsClient() if self._servers[0].startswith("tls://") else Client()
        await client.connect(
            servers=self._servers,
            name="pdp decision log",
            connect_timeout=_CONNECT_SECONDS,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            error_cb=self._hear,
            **self._options,
        )
        return client

    async def _hear(self, error: Exception) -> None:
        self._why = _text(error)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _name(writer: str, seq: int, line: bytes) -> str:
    """What tells a message from others; a stub is not the record that it stands for."""
    return f"{writer}:{seq}:refused" if line.startswith(STUB_BEGIN) else f"{writer}:{seq}"


def opener(config: DecisionLogConfig) -> OpenExporter:
    """What opens the exporter that a configuration asks for. Raises ConfigError."""
    for server in config.nats_servers:
        if not server.startswith(("nats://", "tls://")):
            raise ConfigError(
                [f"`decision_log.nats_servers`: `{server}` is not `nats://host:port` or `tls://host:port`"]
            )
    if len({server.partition(":")[0] for server in config.nats_servers}) > 1:
        raise ConfigError(["`decision_log.nats_servers`: either all are `tls://` or none"])
    options = {**_credentials(config), **_tls(config)}
    return lambda slot: NatsExporter(config.nats_servers, config.nats_subject, options)


def _credentials(config: DecisionLogConfig) -> dict[str, str]:
    for key in ("nats_credentials", "nats_nkey_seed"):
        path = getattr(config, key)
        if path is not None and not path.is_file():
            raise ConfigError([f"`decision_log.{key}`: `{path}` is not a file"])
        if path is not None:
            require_secret(path, path.stat())
    options = {
        "user_credentials": str(config.nats_credentials or ""),
        "nkeys_seed": str(config.nats_nkey_seed or ""),
        "user": config.nats_user,
        "password": config.nats_password.get_secret_value(),
        "token": config.nats_token.get_secret_value(),
    }
    return {name: value for name, value in options.items() if value}


def _tls(config: DecisionLogConfig) -> dict[str, ssl.SSLContext]:
    """What servers are checked with."""
    if config.nats_ca is None:
        return {}
    if not config.nats_servers[0].startswith("tls://"):
        raise ConfigError(["`decision_log.nats_ca` goes with servers that are `tls://`"])
    try:
        return {"tls": ssl.create_default_context(cafile=config.nats_ca)}
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise ConfigError([f"`decision_log.nats_ca`: `{config.nats_ca}` cannot be read: {cause}"]) from error
