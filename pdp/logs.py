"""The service's own log: one event a line, for people on a terminal and as JSON elsewhere.

Decision lines are another thing and go elsewhere (`pdp.decision_log`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pdp.bundle.layout import printable
from pdp.telemetry.scope import add_ids
from pdp.telemetry_config import TelemetryConfig

#: What of an event has several lines.
_LINES = ("exception", "stack")


def configure(
    telemetry: TelemetryConfig, stream: TextIO, environ: Mapping[str, str], **facts: object
) -> Literal["json", "console"]:
    """Send what this program and its libraries log to `stream`, with `facts` in every event.

    Returns the format that `auto` amounts to.
    """
    is_terminal = stream.isatty()
    log_format = telemetry.log_format
    if log_format == "auto":
        log_format = "console" if is_terminal else "json"
    colors = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    first: list[Processor] = [
        add_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_adding(facts)] if facts else []),
    ]
    last = _json() if log_format == "json" else _console(colors)
    level = logging.getLevelNamesMapping()[telemetry.log_level.upper()]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Logger(stream),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=first, processors=[_bare, *last])
    _configure_libraries(formatter, stream)
    return log_format


def _adding(facts: Mapping[str, object]) -> Processor:
    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**event, **facts}

    return add


class _Logger:
    """Writes finished lines. A log that cannot be written must not stop the service, nor fail a call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one event."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


class _Handler(logging.StreamHandler[TextIO]):
    """The same for what libraries log with the standard library."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Let the record go."""


def _configure_libraries(formatter: logging.Formatter, stream: TextIO) -> None:
    handler = _Handler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell of their own work below this; what is wrong they say at this level.
    root.setLevel(logging.WARNING)


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _console(colors: bool) -> list[Processor]:
    return [structlog.processors.format_exc_info, _escape, structlog.dev.ConsoleRenderer(colors=colors)]


def _bare(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Leave out what structlog keeps beside the event while the standard library passes it on."""
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, name, event)


def _escape(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Show what a terminal could act on as escapes: values come from bundles and from the network."""
    return {key: _escaped(key, value) for key, value in event.items()}


def _escaped(key: str, value: Any) -> Any:
    text = value if isinstance(value, str) else repr(value)
    if key in _LINES:
        return "\n".join(map(printable, text.splitlines()))
    return printable(text)
