"""`pdp serve`: the service, until it is told to stop."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import Any

import structlog

from pdp import app, logs
from pdp.cli.bundles import config_path
from pdp.cli.serving import announce, serve_signals
from pdp.cli.signals import received
from pdp.config import Config, load_config
from pdp.observing.probes import observed
from pdp.workers.orders import runtime_directory
from pdp.workers.ports import reserved
from pdp.workers.supervisor import Supervisor

_log = structlog.get_logger("pdp")


def run(arguments: Namespace) -> int:
    """Serve; 0 after a clean stop.

    Raises ConfigError with every mistake in the configuration, BundleError if there is no bundle to start with.
    """
    config = load_config(config_path(arguments), os.environ, _flags(arguments), required=("bundle.source",))
    log_format = logs.configure(config.telemetry, sys.stderr, os.environ)
    status = _supervise(config) if config.server.workers > 1 else _serve(config, log_format)
    _log.info("stopped")
    return status


def _serve(config: Config, log_format: str) -> int:
    with received() as signals, app.running(config, os.environ) as running:
        signals.begin()
        announce(running, config, log_format)
        serve_signals(signals, running, config)
    return 0


def _supervise(config: Config) -> int:
    with received() as signals, reserved(config) as settled, runtime_directory() as runtime:
        signals.begin()
        supervisor = Supervisor(settled, runtime)
        with observed(settled.telemetry.listen, supervisor.accounts) as address:
            if address:
                _log.info("telemetry", address=address)
            return supervisor.run(signals)


def _flags(arguments: Namespace) -> dict[str, Any]:
    """The configuration that was given as flags, nested like the file. Their names are `section.key`."""
    flags: dict[str, dict[str, Any]] = {}
    for name, value in vars(arguments).items():
        section, is_key, key = name.partition(".")
        if is_key and value is not None:
            flags.setdefault(section, {})[key] = value
    log = flags.get("decision_log", {})
    if "path" in log:
        # Who names a file wants the lines in it.
        log.setdefault("sink", "file")
    return flags
