"""Has the health service of gRPC say what `/readyz` says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from pdp.server import Server

_log = structlog.get_logger("pdp")

_LOOK_SECONDS = 0.5


@contextmanager
def telling(blocking: Callable[[], Sequence[str]], servers: Sequence[Server]) -> Iterator[None]:
    """Tell it, in the background."""
    state = ServingState(blocking, servers)
    state.start()
    try:
        yield
    finally:
        state.stop()


class ServingState:
    """Looks at what keeps calls from coming here, and tells it, until it is stopped."""

    def __init__(self, blocking: Callable[[], Sequence[str]], servers: Sequence[Server]) -> None:
        self._blocking = blocking
        self._servers = servers
        self._told: tuple[str, ...] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving-state", daemon=True)

    def start(self) -> None:
        """Look for the first time, and begin."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Tell what is true now, if it is new."""
        reasons = tuple(self._blocking())
        if reasons == self._told:
            return
        for server in self._servers:
            server.set_serving(not reasons)
        if reasons:
            _log.error("not serving", reasons=reasons)
        elif self._told:
            _log.info("serving again")
        self._told = reasons

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the top of a thread: what it last told would stand for ever
                _log.error("serving state", exc_info=error)
