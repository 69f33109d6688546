"""Every option of every subcommand. Light on purpose: `pdp --help` loads neither gRPC nor Cedar."""

from __future__ import annotations

import argparse
import math
import re
import sys
from functools import partial
from typing import Any, NoReturn

from pdp import __version__
from pdp.bundle.layout import printable
from pdp.cedar.model import EntityUid, is_entity_type, parse_uid

#: Where a service listens unless it is told otherwise.
DEFAULT_ADDRESS = "127.0.0.1:7437"

#: What each command does, for its own help.
_DESCRIPTIONS = {
    "serve": (
        "Serve decisions until SIGTERM or SIGINT, then let calls in flight finish; a second signal exits at once. "
        "SIGHUP reads the bundle again. Decision lines go to standard output, everything else to standard error. "
        "Flags win over the environment, the environment over the file. Exit status: 0 after a clean stop, 1 if "
        "the bundle does not load and there is no last good copy of it, 2 for a wrong configuration."
    ),
    "check": (
        "Load a bundle as the service would and list all problems and warnings, each with file, line and column. "
        "Exit status: 0 if it loads, 1 if it does not."
    ),
    "init": "Write a small bundle that works and explains itself, and name the commands to try next.",
    "authorize": (
        "Ask a running service, or a bundle without one. Exit status: 0 for allow, 1 for deny, 2 if there is no answer."
    ),
    "schema": (
        "Print the whole Cedar schema of a bundle: the one its author wrote and the part that is made from its "
        "tools. With `--manifest`, print only what is made from these tool manifests. Exit status: 1 if the "
        "bundle does not load or has no schema, or a manifest is wrong."
    ),
    "status": (
        "Ask the AdminService at an address. Exit status: 0 if it serves, 1 if it is degraded, draining or not "
        "ready, 2 if it cannot be reached."
    ),
    "config": (
        "Print the configuration that the defaults, the file and the environment make together, as a "
        "configuration file. Secrets are masked."
    ),
}

_JSON_HELP = "answer in JSON"
_CONFIG_HELP = "the configuration file, TOML; default: `$PDP_CONFIG`, or none"
_DOCUMENT = "JSON|@FILE|-"
_LISTEN_HELP = (
    f"`host:port`, `[v6]:port` or `unix:/path`; port 0 picks a free one; may be repeated; default: `{DEFAULT_ADDRESS}`"
)
_ADMIN_LISTEN_HELP = "where AdminService is served, if not beside DecisionService; may be repeated"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in this program's manner. Long options are never guessed from their beginning."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", partial(argparse.HelpFormatter, max_help_position=32))
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong; exit with 2."""
        if "invalid choice: " in message:
            message = re.sub(r"'([^']*)'", r"`\1`", message)
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {printable(message)}\n")


def build_parser() -> Parser:
    """The parser of the whole command line. A parsed subcommand is in `command`."""
    parser = Parser(
        prog="pdp",
        description="A policy decision point for the tool calls of AI agents.",
        epilog="Exit status: 0 for success or allow, 1 for findings or deny, 2 for wrong usage or failure.",
    )
    parser.add_argument("--version", action="version", version=f"pdp {__version__}", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for add in (_add_serve, _add_check, _add_init, _add_authorize, _add_schema, _add_status, _add_config):
        add(commands)
    return parser


_Commands = Any  # argparse names the type of subparsers only privately


def _add_serve(commands: _Commands) -> None:
    parser = _command(commands, "serve", "run the service")
    parser.add_argument("--config", metavar="FILE", help=_CONFIG_HELP)
    _add_setting(parser, "--bundle", "bundle.source", "PATH", "the bundle: a directory, or a `.tar.gz` of one")
    _add_setting(parser, "--listen", "server.listen", "ADDRESS", _LISTEN_HELP, action="append")
    _add_setting(parser, "--admin-listen", "server.admin_listen", "ADDRESS", _ADMIN_LISTEN_HELP, action="append")
    _add_switch(
        parser,
        "--allow-insecure-network",
        "server.allow_insecure_network",
        True,
        "listen for other machines without TLS",
    )
    _add_setting(parser, "--threads", "server.threads", "N", "threads that answer calls")
    _add_setting(parser, "--drain-seconds", "server.drain_seconds", "SECONDS", "how long calls may go on after SIGTERM")
    _add_switch(parser, "--no-watch", "bundle.watch", False, "load the bundle again only when asked to")
    sinks = "stdout|file|none"
    _add_setting(parser, "--decision-log", "decision_log.sink", sinks, "where decision lines go")
    _add_setting(parser, "--decision-log-path", "decision_log.path", "FILE", "the file they are appended to")
    levels = "debug|info|warning|error"
    _add_setting(parser, "--log-level", "telemetry.log_level", levels, "what of the service's own log is written")
    formats = "auto|json|console"
    _add_setting(parser, "--log-format", "telemetry.log_format", formats, "how the service's own log is written")
    _add_switch(parser, "--json", "telemetry.log_format", "json", "the same as `--log-format json`")


def _add_check(commands: _Commands) -> None:
    parser = _command(commands, "check", "find everything that is wrong with a bundle")
    parser.add_argument("bundle", metavar="BUNDLE", help="a directory, or a `.tar.gz` of one")
    _add_common(parser)


def _add_init(commands: _Commands) -> None:
    parser = _command(commands, "init", "write a starter bundle")
    parser.add_argument("directory", metavar="DIR", help="a directory that is empty or does not exist yet")
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_authorize(commands: _Commands) -> None:
    parser = _command(commands, "authorize", "ask for a decision")
    parser.add_argument(
        "--subject", "--principal", dest="subject", metavar="UID", required=True, type=_uid,
        help="who asks, such as `Agent::\"bot\"`",
    )  # fmt: skip
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--tool", metavar="SERVER/TOOL", type=_tool, help="the tool that is to be called")
    target.add_argument("--action", metavar="UID", type=_uid, help="the action, where it is not a tool call")
    parser.add_argument("--resource", metavar="UID", type=_uid, help="what the action is done to; with `--action`")
    parser.add_argument("--arguments", metavar=_DOCUMENT, type=_text, help="the tool call's arguments; with `--tool`")
    parser.add_argument("--session-id", metavar="ID", type=_text, help="the tool call's session; with `--tool`")
    parser.add_argument("--context", metavar=_DOCUMENT, type=_text, help="what the caller knows: one JSON object")
    parser.add_argument("--entities", metavar=_DOCUMENT, type=_text, help="entities for this question: one JSON array")
    parser.add_argument("--request-id", metavar="ID", type=_text, help="a name for this question in the decision log")
    _add_address(parser.add_mutually_exclusive_group()).add_argument(
        "--bundle", metavar="PATH", help="ask this bundle, here in this process, instead of a service"
    )
    _add_timeout(parser)
    _add_common(parser, "; only for `--bundle`")


def _add_schema(commands: _Commands) -> None:
    parser = _command(commands, "schema", "print a bundle's Cedar schema")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a directory, or a `.tar.gz` of one")
    source.add_argument(
        "--manifest",
        metavar="FILE",
        nargs="+",
        help="the `tools/list` result of a server; the server is called like it",
    )
    parser.add_argument(
        "--principal-type", metavar="TYPE", action="append", type=_entity_type,
        help="who may call the tools; with `--manifest`; may be repeated; default: `Agent`",
    )  # fmt: skip
    _add_common(parser, "; only for BUNDLE")


def _add_status(commands: _Commands) -> None:
    parser = _command(commands, "status", "ask a service how it is")
    _add_address(parser)
    _add_timeout(parser)
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_config(commands: _Commands) -> None:
    parser = _command(commands, "config", "print the effective configuration")
    _add_common(parser)


def _command(commands: _Commands, name: str, summary: str) -> Parser:
    parser: Parser = commands.add_parser(name, help=summary, description=_DESCRIPTIONS[name])
    return parser


def _add_common(parser: Parser, when: str = "") -> None:
    parser.add_argument("--config", metavar="FILE", help=_CONFIG_HELP + when)
    parser.add_argument("--json", action="store_true", help=_JSON_HELP)


def _add_setting(parser: Parser, flag: str, key: str, metavar: str, text: str, *, action: str = "store") -> None:
    """A flag that overrides a configuration key; what it may be is for the configuration to say."""
    parser.add_argument(flag, dest=key, metavar=metavar, help=text, action=action, type=_text)


def _add_switch(parser: Parser, flag: str, key: str, value: object, text: str) -> None:
    """A flag that sets a configuration key to `value`."""
    parser.add_argument(flag, dest=key, action="store_const", const=value, default=None, help=text)


def _add_address(parser: Any) -> Any:
    help_text = f"`host:port` or `unix:/path` of a service; default: `$PDP_ADDRESS`, or `{DEFAULT_ADDRESS}`"
    parser.add_argument("--address", metavar="ADDRESS", type=_text, help=help_text)
    return parser


def _add_timeout(parser: Parser) -> None:
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=5.0, help="how long to wait for the service; default: 5"
    )


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(f"`{value}` is not UTF-8") from error
    return value


def _uid(value: str) -> EntityUid:
    try:
        return parse_uid(_text(value))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _tool(value: str) -> tuple[str, str]:
    server, _, tool = _text(value).partition("/")
    if not server or not tool:
        raise argparse.ArgumentTypeError(f"`{value}` is not a tool; write `server/tool`")
    return server, tool


def _entity_type(value: str) -> str:
    if not is_entity_type(value):
        raise argparse.ArgumentTypeError(f"`{value}` is not the name of an entity type")
    return value


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"`{value}` is not a number of seconds above 0, at most 86400")
    return seconds
