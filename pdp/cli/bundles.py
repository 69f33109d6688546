"""Bundles that are named on the command line, loaded as the service would load them."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from pdp.app import authorize_options, make_sandbox, source_limits
from pdp.bundle.archive import BundleReader, open_source
from pdp.bundle.interceptor_modules import GuestLog
from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.source import Source
from pdp.cli.failure import CommandError
from pdp.config import Config, load_config


def config_path(arguments: Namespace) -> Path | None:
    """The configuration file that `--config` or `$PDP_CONFIG` names, if any."""
    named = arguments.config or os.environ.get("PDP_CONFIG")
    return Path(named) if named else None


def read_config(arguments: Namespace) -> Config:
    """The configuration of a command that has no flags of its own for it. Raises ConfigError."""
    return load_config(config_path(arguments), os.environ)


def load_bundle(named: str, config: Config, guest_log: GuestLog = lambda name, level, text: None) -> Snapshot:
    """The bundle at the path `named`; `guest_log` takes what its interceptors log.

    Raises CommandError if nothing is there, BundleError if it does not load.
    """
    return load_source(open_bundle(named, config).read(), config, guest_log)


def open_bundle(named: str, config: Config) -> BundleReader:
    """The reader of the bundle at the path `named`. Raises CommandError if nothing is there."""
    path = Path(named)
    if not named or not os.path.lexists(path):
        raise CommandError(f"there is no bundle at `{named}`")
    return open_source(path, source_limits(config.bundle))


def load_source(source: Source, config: Config, guest_log: GuestLog = lambda name, level, text: None) -> Snapshot:
    """What these files are as a bundle. Raises BundleError if they do not load."""
    sandbox = make_sandbox(config.interceptors, os.environ)
    return Loader(authorize_options(config.authorize), sandbox, guest_log).load(source)
