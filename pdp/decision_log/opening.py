"""The sink that a configuration asks for."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import stat
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pdp.decision_log.draining import Checkpoints, OpenExporter
from pdp.decision_log.file_exporter import FileExporter, end_last_line, path_of_writer
from pdp.decision_log.otlp_exporter import opener
from pdp.decision_log.pipe_exporter import PipeExporter
from pdp.decision_log.signing_key import read_signing_key
from pdp.decision_log.sinks import DecisionSink, NullSink, StreamSink
from pdp.decision_log.spool_sink import SpoolSink
from pdp.decision_log_config import DecisionLogConfig
from pdp.errors import ConfigError
from pdp.private_directory import UntrustedDirectoryError, state_directory

_MIB = 1024 * 1024

#: Hears of what goes wrong, for the service's own log; may itself fail.
OnError = Callable[[str], None]


def open_sink(
    config: DecisionLogConfig, environ: Mapping[str, str], on_error: OnError, service: str = ""
) -> DecisionSink:
    """The sink, open. Raises ConfigError.

    `service` tells services from each other that have the same spool directory and both write to standard output:
    what one leaves in its spool is not for the other to print.
    """
    if config.sink == "none":
        return NullSink()
    key = read_signing_key(config.signing_key) if config.signing_key is not None else None
    if config.spool_dir == "":
        if key is not None:
            raise ConfigError(["`decision_log.signing_key` signs what goes by way of a spool; there is none"])
        return _in_memory(config, on_error)
    identity, open_exporter = _medium(config, service)
    base = Path(config.spool_dir) if config.spool_dir is not None else state_directory(environ) / "spool"
    root = base / hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    open_exporter = open_exporter or partial(_open_stream, config, root / "turns")
    checkpoints = Checkpoints(config.checkpoint_seconds, key)
    try:
        return SpoolSink(root, config.spool_mib * _MIB, config.when_full, open_exporter, checkpoints, on_error)
    except _MediumError as error:
        raise ConfigError([f"the decision log cannot be written to {error}"]) from error
    except UntrustedDirectoryError as error:
        raise ConfigError([f"the decision log's spool `{root}` {error}; see `decision_log.spool_dir`"]) from error
    except OSError as error:
        cause = f"the decision log's spool `{root}` cannot be used: {_cause(error)}; see `decision_log.spool_dir`"
        raise ConfigError([cause]) from error


class _MediumError(Exception):
    """A medium cannot be opened: its name and why."""


def _medium(config: DecisionLogConfig, service: str) -> tuple[str, OpenExporter | None]:
    """What tells the medium from others, and what opens it for a slot; None for a stream."""
    if config.sink == "otlp":
        return f"otlp {config.otlp_endpoint}", opener(config)
    if config.sink == "nats":
        names = (*config.nats_servers, config.nats_subject)
        return f"nats {' '.join(names)}", _nats(config)
    if config.path is not None and config.sink == "file":
        path = config.path.absolute()
        if _is_stream(path):
            return f"file {path}", None
        return f"file {path}", partial(_open_file, path, config.max_file_mib * _MIB, config.keep_files)
    return f"stdout {service}", None


def _nats(config: DecisionLogConfig) -> OpenExporter:
    try:
        module = importlib.import_module("pdp.decision_log.nats_exporter")
    except ModuleNotFoundError as error:
        problem = "the sink `nats` needs a package that is missing; install `pdp[nats]`"
        raise ConfigError([problem]) from error
    open_exporter: OpenExporter = module.opener(config)
    return open_exporter


def _open_file(path: Path, max_bytes: int, keep_files: int, slot: int) -> FileExporter:
    own = path_of_writer(path, slot)
    try:
        return FileExporter(own, max_bytes, keep_files)
    except OSError as error:
        raise _MediumError(f"`{own}`: {_cause(error)}") from error


def _is_stream(path: Path) -> bool:
    """Whether a FIFO or a device is there, which cannot be put aside, nor asked what it has."""
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(mode := path.stat().st_mode) or stat.S_ISCHR(mode)
    return False


def _open_stream(config: DecisionLogConfig, turns: Path, slot: int) -> PipeExporter:
    path = config.path
    try:
        if config.sink == "file" and path is not None:
            # Opening a FIFO that nobody reads waits for a reader, or is an error then, which may pass.
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return PipeExporter(lambda: os.open(path, flags), turns)
        descriptor = _stdout()
        return PipeExporter(lambda: descriptor, turns)
    except OSError as error:
        raise _MediumError(f"standard output: {_cause(error)}") from error


def _stdout() -> int:
    if sys.__stdout__ is None:
        raise OSError("it is closed")
    return os.dup(sys.__stdout__.fileno())


def _in_memory(config: DecisionLogConfig, on_error: OnError) -> StreamSink:
    place = f"`{config.path}`" if config.sink == "file" else "standard output"
    try:
        if config.sink == "file" and config.path is not None:
            descriptor = os.open(config.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            end_last_line(config.path, descriptor)
        else:
            descriptor = _stdout()
    except OSError as error:
        raise ConfigError([f"the decision log cannot be written to {place}: {_cause(error)}"]) from error
    stream = os.fdopen(descriptor, "wb", buffering=0)
    return StreamSink(stream, config.buffer_lines, lambda error: on_error(str(error)))


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
