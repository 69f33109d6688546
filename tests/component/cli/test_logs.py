"""The service's own log."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from pdp.logs import configure
from pdp.telemetry_config import TelemetryConfig

HOSTILE = "a\x1b[2J\nb\u202e"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream that takes nothing, like a full disk or a pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def telemetry(log_format: Literal["auto", "json", "console"] = "auto", level: Any = "info") -> TelemetryConfig:
    return TelemetryConfig(log_format=log_format, log_level=level)


def log_everything() -> None:
    """One event of ours, one with an exception, and one of a library."""
    log = structlog.get_logger("test")
    log.info("ours", text=HOSTILE, number=1)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("failed")
    logging.getLogger("grpc.made_up").warning("theirs %s", HOSTILE)


def test_json_is_one_object_a_line() -> None:
    """In JSON every line is one object with event, level and time, also for libraries and exceptions."""
    stream = io.StringIO()
    assert configure(telemetry(), stream, {}) == "json"
    log_everything()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["ours", "failed", f"theirs {HOSTILE}"]
    assert [event["level"] for event in events] == ["info", "error", "warning"]
    assert all(event["timestamp"].endswith("Z") for event in events)
    assert (events[0]["text"], events[0]["number"]) == (HOSTILE, 1)
    assert f"ValueError: {HOSTILE}" in events[1]["exception"]


def test_people_see_no_control_characters() -> None:
    """On the console, what a terminal could act on is escaped everywhere, in exceptions too."""
    stream = io.StringIO()
    assert configure(telemetry("console"), stream, {}) == "console"
    log_everything()
    text = stream.getvalue()
    assert all(line.isprintable() for line in text.splitlines())
    assert text.count(r"\x1b[2J") >= 3
    assert "Traceback (most recent call last):\n" in text


@pytest.mark.parametrize(
    ("environ", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_auto_is_for_people_on_a_terminal(environ: dict[str, str], colored: bool) -> None:
    """`auto` is the console's format on a terminal, with colors unless its user wants none."""
    stream = Terminal()
    assert configure(telemetry(), stream, environ) == "console"
    structlog.get_logger().info("event")
    assert ("\x1b[" in stream.getvalue()) is colored


def test_the_level_holds() -> None:
    """What is less than the configured level is not written."""
    stream = io.StringIO()
    configure(telemetry("json", "error"), stream, {})
    structlog.get_logger().warning("less")
    structlog.get_logger().error("more")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["more"]


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    """Where the stream fails, or is closed, logging goes on in silence."""
    for stream in (Broken(), io.StringIO()):
        configure(telemetry("json"), stream, {})
        stream.close()
        log_everything()
