"""Records to a stream of NATS JetStream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nats
import nats.errors
import nats.js.errors

from pdp.decision_log.backlog import Batch
from pdp.decision_log.draining import OpenExporter
from pdp.decision_log.exporting import ExportError
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError

_CONNECT_SECONDS = 2
_ACK_SECONDS = 2.0
#: Longer than everything within one attempt can take.
_ATTEMPT_SECONDS = 5.0


class NatsExporter:
    """Publishes each record and waits for the stream's word that it is stored.

    A record that is published again has the same `Nats-Msg-Id`, writer and number, so that within the stream's
    duplicate window it is stored once. Connections live on a loop of their own, which also answers the server's pings
    while there is nothing to publish.
    """

    def __init__(self, servers: Sequence[str], subject: str, credentials: Path | None) -> None:
        self._servers = list(servers)
        self._subject = subject
        self._credentials = credentials
        self._client: Any = None
        #: What of the batch in hand is stored.
        self._stored: set[tuple[str, int]] = set()
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
            raise ExportError("the server does not answer") from error
        except (nats.errors.Error, OSError) as error:
            raise ExportError(f"{type(error).__name__}: {error}"[:200]) from error
        self._stored.clear()

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
        ids = ((batch.writer, seq) for seq in range(batch.first_seq, batch.last_seq + 1))
        waiting = [
            self._publish(stream, each, line)
            for each, line in zip(ids, batch.lines, strict=True)
            if each not in self._stored
        ]
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _publish(self, stream: Any, name: tuple[str, int], line: bytes) -> None:
        headers = {"Nats-Msg-Id": f"{name[0]}:{name[1]}"}
        await stream.publish(self._subject, line, headers=headers)
        self._stored.add(name)

    async def _connected(self) -> Any:
        options: dict[str, Any] = {"user_credentials": str(self._credentials)} if self._credentials else {}
        return await nats.connect(
            servers=self._servers,
            name="pdp decision log",
            connect_timeout=_CONNECT_SECONDS,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            error_cb=_ignored,
            **options,
        )


async def _ignored(error: Exception) -> None:
    """What goes wrong shows where something is published."""


def opener(config: DecisionLogConfig, on_error: Callable[[str], None]) -> OpenExporter:
    """What opens the exporter that a configuration asks for. Raises ConfigError."""
    for server in config.nats_servers:
        if not server.startswith(("nats://", "tls://")):
            raise ConfigError(
                [f"`decision_log.nats_servers`: `{server}` is not `nats://host:port` or `tls://host:port`"]
            )
    if config.nats_credentials is not None and not config.nats_credentials.is_file():
        raise ConfigError([f"`decision_log.nats_credentials`: `{config.nats_credentials}` is not a file"])
    return lambda slot: NatsExporter(config.nats_servers, config.nats_subject, config.nats_credentials)
