"""What `pdp serve` does once the service is up: say so, and do as signals say."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Mapping

import structlog

from pdp import app
from pdp.addresses import host_of
from pdp.bundle.layout import printable
from pdp.bundle.snapshot import Snapshot
from pdp.cedar.cedar_types import quoted
from pdp.cedar.policy_model import CallableTool, PolicyModel
from pdp.cli.check import counts_text
from pdp.cli.signals import Signals
from pdp.cli.terminal import tell
from pdp.config import Config
from pdp.errors import InvalidArgumentsError

_log = structlog.get_logger("pdp")

#: Who asks, in a bundle that does not say who there is.
_USUAL_PRINCIPALS = ("Agent", "User")
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what is listened on, to be told how to reach it


def serve_signals(signals: Signals, running: app.App, config: Config) -> None:
    """Read the bundle again for each SIGHUP; returns when a signal says to stop."""
    while (arrived := signals.wait()) is signal.SIGHUP:
        _reload(running)
    assert arrived is not None
    _log.info("stopping", signal=arrived.name, drain_seconds=config.server.drain_seconds)


def _reload(running: app.App) -> None:
    """Read the bundle again. What goes wrong is told, and changes nothing of what is served."""
    try:
        result = running.reload()
    except Exception as error:  # noqa: BLE001 - a bug in loading must not stop a service that still has a bundle
        _log.error("reload failed", exc_info=error)
    else:
        _log.info("reloaded", revision=result.revision, changed=result.changed, problems=len(result.problems))


def announce(running: app.App, config: Config, log_format: str) -> None:
    """Say what is served and how to ask: for people as text, for programs as one event of the log."""
    status = running.store.status
    snapshot = running.store.current()
    command = _question(running.addresses[0], snapshot)
    if log_format == "json":
        _log.info(
            "serving",
            addresses=running.addresses,
            admin_addresses=running.admin_addresses,
            authzen_address=running.authzen_address,
            telemetry_address=running.telemetry_address,
            bundle=snapshot.origin,
            revision=snapshot.revision,
            degraded=status.degraded,
            try_this=command,
        )
        return
    tell(f"serving `{printable(snapshot.origin)}` on {_listed(running.addresses)}")
    if running.admin_addresses:
        tell(f"  administration: {_listed(running.admin_addresses)}")
    if running.authzen_address:
        tell(f"  AuthZEN: {_listed((running.authzen_address,))}")
    if running.telemetry_address:
        tell(f"  metrics and probes: {_listed((running.telemetry_address,))}")
    tell(f"  bundle: {counts_text(snapshot.counts)}; revision {snapshot.revision}")
    for reason in status.degraded:
        tell(f"  degraded: {printable(reason)}")
    log = config.decision_log
    tell(f"  decision lines: {printable(str(log.path)) if log.sink == 'file' else log.sink}")
    tell("ask it something:")
    tell(f"  {printable(command)}")


def _listed(addresses: tuple[str, ...]) -> str:
    return ", ".join(f"`{printable(address)}`" for address in addresses)


def _question(address: str, snapshot: Snapshot) -> str:
    """A command line that asks the service at `address` something that the bundle knows an answer to."""
    model = snapshot.authorizer.model
    words = ["pdp", "authorize", "--address", _reachable(address), "--subject", _subject(model)]
    tool = _tool(model.tools)
    if tool is None:
        return shlex.join([*words, "--action", 'Action::"read"', "--resource", 'Resource::"example"'])
    return shlex.join([*words, "--tool", "/".join(tool), "--arguments", "{}"])


def _reachable(address: str) -> str:
    host = host_of(address)
    return f"{_ANY_HOST[host]}:{address.rpartition(':')[2]}" if host in _ANY_HOST else address


def _subject(model: PolicyModel) -> str:
    """Some entity that may ask to call tools."""
    kinds = sorted(model.principal_types) if model.principal_types is not None else list(_USUAL_PRINCIPALS)
    for kind in kinds:
        for entity_id in model.entities.ids(kind):
            return f"{kind}::{quoted(entity_id)}"
    return f'{kinds[0]}::"example"'


def _tool(tools: Mapping[tuple[str, str], CallableTool]) -> tuple[str, str] | None:
    """A tool that can be called without arguments, otherwise any whose name can be printed."""
    names = [name for name in sorted(tools) if "/".join(name).isprintable()]
    return next((name for name in names if _takes_nothing(tools[name])), names[0] if names else None)


def _takes_nothing(tool: CallableTool) -> bool:
    try:
        tool.input.convert(b"{}")
    except InvalidArgumentsError:
        return False
    return True
