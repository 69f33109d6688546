"""Every subcommand with its options. Light on purpose: `pdp --help` loads neither gRPC nor Cedar."""

from __future__ import annotations

from pdp import __version__
from pdp.cli.options import (
    CONFIG_HELP,
    DEFAULT_ADDRESS,
    Commands,
    Parser,
    add_address,
    add_answerer,
    add_asking,
    add_call,
    add_command,
    add_commands,
    add_common,
    add_connection,
    add_context,
    add_document,
    add_entities,
    add_json,
    add_subject,
    entity_type,
    text,
    tool,
    uid,
)
from pdp.cli.parser_log import add_log
from pdp.cli.parser_module import add_module

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
    "intercept": (
        "Run the interceptors of a running service, or of a bundle without one, on a tool call or on its result, and "
        "show what each of them did and what is left of the payload. No policy is asked. With `--bundle`, what the "
        "modules log goes to standard error. Exit status: 0 for allow, 1 for deny, 2 if there is no answer."
    ),
    "decide": (
        "Ask both layers of a running service, or of a bundle without one, about a tool call: the interceptors, then "
        "the policies on the call as they left it. Show what each of them did, and the arguments to call the tool "
        "with. With `--bundle`, what the modules log goes to standard error. Exit status: 0 for allow, 1 for deny, 2 "
        "if there is no answer."
    ),
    "tools": (
        "List the tools of a server that a subject could ever call, and why the others are hidden. With `--manifest`, "
        "a service notes which tools are not as they were pinned, as if a gateway had asked, and denies their calls. "
        "Exit status: 0 if any tool is allowed, 1 if none is, 2 if there is no answer."
    ),
    "schema": (
        "Print the whole Cedar schema of a bundle: the one its author wrote and the part that is made from its "
        "tools. With `--manifest`, print only what is made from these tool manifests. With `--accept`, show how a "
        "server's tools differ from those that a bundle pins, and pin them anew if the bundle loads with them. Only "
        "description, inputSchema and annotations make a difference. Exit status: 1 if the bundle does not load or has "
        "no schema, or a manifest is wrong."
    ),
    "status": (
        "Ask the AdminService at an address. Exit status: 0 if it serves, 1 if it is degraded, draining or not "
        "ready, 2 if it cannot be reached. Interceptors that keep failing are shown and do not change it."
    ),
    "health": (
        "Ask the health service (grpc.health.v1) at an address, which needs no rights. Exit status: 0 if it answers "
        "calls, degraded or not, 1 if it is starting or draining, 2 if it cannot be reached."
    ),
    "caller-key": (
        "Make a random key and print it with its SHA-256 digest. The caller gets the key; the digest goes into "
        "`keys_sha256` of its `[[callers.caller]]`. Neither is kept."
    ),
    "config": (
        "Print the configuration that the defaults, the file and the environment make together, as a "
        "configuration file. Secrets are masked."
    ),
}

_LISTEN_HELP = (
    f"`host:port`, `[v6]:port` or `unix:/path`; port 0 picks a free one; may be repeated; default: `{DEFAULT_ADDRESS}`"
)
_ADMIN_LISTEN_HELP = "where AdminService is served, if not beside DecisionService; may be repeated"


def build_parser() -> Parser:
    """The parser of the whole command line. A parsed subcommand is in `command`."""
    parser = Parser(
        prog="pdp",
        description="A policy decision point for the tool calls of AI agents.",
        epilog="Exit status: 0 for success or allow, 1 for findings or deny, 2 for wrong usage or failure.",
    )
    parser.add_argument("--version", action="version", version=f"pdp {__version__}", help="print the version and exit")
    commands = add_commands(parser)
    for add in (_add_serve, _add_check, _add_init, _add_authorize, _add_intercept, _add_decide, _add_tools):
        add(commands)
    for add in (_add_schema, add_module, _add_status, _add_health, add_log, _add_caller_key, _add_config):
        add(commands)
    return parser


def _add_serve(commands: Commands) -> None:
    parser = _command(commands, "serve", "run the service")
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    _add_setting(parser, "--bundle", "bundle.source", "PATH", "the bundle: a directory, or a `.tar.gz` of one")
    _add_setting(parser, "--listen", "server.listen", "ADDRESS", _LISTEN_HELP, action="append")
    _add_setting(parser, "--admin-listen", "server.admin_listen", "ADDRESS", _ADMIN_LISTEN_HELP, action="append")
    _add_switch(
        parser,
        "--allow-insecure-network",
        "server.allow_insecure_network",
        True,
        "listen for other machines without TLS, or without knowing who calls",
    )
    _add_setting(parser, "--threads", "server.threads", "N", "threads that answer calls")
    _add_setting(parser, "--drain-seconds", "server.drain_seconds", "SECONDS", "how long calls may go on after SIGTERM")
    _add_switch(parser, "--no-watch", "bundle.watch", False, "load the bundle again only when asked to")
    sinks = "stdout|file|otlp|nats|none"
    _add_setting(parser, "--decision-log", "decision_log.sink", sinks, "where decision lines go")
    _add_setting(parser, "--decision-log-path", "decision_log.path", "FILE", "the file they are appended to")
    levels = "debug|info|warning|error"
    _add_setting(parser, "--log-level", "telemetry.log_level", levels, "what of the service's own log is written")
    formats = "auto|json|console"
    _add_setting(parser, "--log-format", "telemetry.log_format", formats, "how the service's own log is written")
    _add_switch(parser, "--json", "telemetry.log_format", "json", "the same as `--log-format json`")


def _add_check(commands: Commands) -> None:
    parser = _command(commands, "check", "find everything that is wrong with a bundle")
    parser.add_argument("bundle", metavar="BUNDLE", help="a directory, or a `.tar.gz` of one")
    add_common(parser)


def _add_init(commands: Commands) -> None:
    parser = _command(commands, "init", "write a starter bundle")
    parser.add_argument("directory", metavar="DIR", help="a directory that is empty or does not exist yet")
    add_json(parser)


def _add_authorize(commands: Commands) -> None:
    parser = _command(commands, "authorize", "ask for a decision")
    add_subject(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--tool", metavar="SERVER/TOOL", type=tool, help="the tool that is to be called")
    target.add_argument("--action", metavar="UID", type=uid, help="the action, where it is not a tool call")
    parser.add_argument("--resource", metavar="UID", type=uid, help="what the action is done to; with `--action`")
    add_call(parser, "; with `--tool`")
    add_entities(parser)
    add_asking(parser)


def _add_intercept(commands: Commands) -> None:
    parser = _command(commands, "intercept", "run a payload through the interceptors")
    add_subject(parser)
    _add_called(parser)
    add_document(parser, "--result", "the call's result: one JSON document; with the phase `response`")
    parser.add_argument("--result-is-error", action="store_true", help="the tool reported an error; with `--result`")
    parser.add_argument(
        "--phase",
        metavar="request|response",
        choices=("request", "response"),
        help="before the call, or after it; default: `response` where there is a `--result`, otherwise `request`",
    )
    parser.add_argument("--decision-id", metavar="ID", type=text, help="the decision that let the call go on")
    add_asking(parser)


def _add_decide(commands: Commands) -> None:
    parser = _command(commands, "decide", "ask for a decision of interceptors and policies")
    add_subject(parser)
    _add_called(parser)
    add_entities(parser)
    add_asking(parser)


def _add_called(parser: Parser) -> None:
    """The tool call that is asked about, where it is always one."""
    parser.add_argument("--tool", metavar="SERVER/TOOL", required=True, type=tool, help="the tool that is called")
    add_call(parser)


def _add_tools(commands: Commands) -> None:
    parser = add_command(
        commands, "tools", "list the tools that a subject could call", _DESCRIPTIONS["tools"], "filter_tools"
    )
    add_subject(parser)
    parser.add_argument("--server", metavar="NAME", required=True, type=text, help="the server whose tools these are")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--manifest", metavar="FILE", help="what the server lists now: a `tools/list` result, compared with the pins"
    )
    which.add_argument(
        "--tool", metavar="NAME", dest="tools", action="append", type=text,
        help="a tool of the server; may be repeated; default: with `--bundle`, all that it pins",
    )  # fmt: skip
    add_context(parser)
    add_answerer(parser)


def _add_schema(commands: Commands) -> None:
    parser = _command(commands, "schema", "print a bundle's Cedar schema, or pin tools anew")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a directory, or a `.tar.gz` of one")
    source.add_argument(
        "--manifest",
        metavar="FILE",
        nargs="+",
        help="the `tools/list` result of a server; the server is called like it",
    )
    source.add_argument(
        "--accept", metavar="FILE", help="what a server lists now, to be pinned; the server is called like FILE"
    )
    parser.add_argument(
        "--principal-type", metavar="TYPE", action="append", type=entity_type,
        help="who may call the tools; with `--manifest`; may be repeated; default: `Agent`",
    )  # fmt: skip
    parser.add_argument("--bundle", metavar="PATH", dest="target", help="where the tools are pinned; with `--accept`")
    parser.add_argument("--dry-run", action="store_true", help="write nothing; with `--accept`")
    add_common(parser, "; not for `--manifest`")


def _add_status(commands: Commands) -> None:
    parser = _command(commands, "status", "ask a service how it is")
    add_address(parser)
    add_connection(parser)
    add_json(parser)


def _add_health(commands: Commands) -> None:
    parser = _command(commands, "health", "ask whether a service answers calls")
    parser.add_argument("--service", metavar="NAME", default="", help="a gRPC service by its full name; default: all")
    add_address(parser)
    add_connection(parser)
    add_json(parser)


def _add_caller_key(commands: Commands) -> None:
    description = _DESCRIPTIONS["caller-key"]
    parser = add_command(commands, "caller-key", "make a key for a caller", description, "caller_key")
    add_json(parser)


def _add_config(commands: Commands) -> None:
    parser = _command(commands, "config", "print the effective configuration")
    add_common(parser)


def _command(commands: Commands, name: str, summary: str) -> Parser:
    return add_command(commands, name, summary, _DESCRIPTIONS[name])


def _add_setting(parser: Parser, flag: str, key: str, metavar: str, help_text: str, *, action: str = "store") -> None:
    """A flag that overrides a configuration key; what it may be is for the configuration to say."""
    parser.add_argument(flag, dest=key, metavar=metavar, help=help_text, action=action, type=text)


def _add_switch(parser: Parser, flag: str, key: str, value: object, help_text: str) -> None:
    """A flag that sets a configuration key to `value`."""
    parser.add_argument(flag, dest=key, action="store_const", const=value, default=None, help=help_text)
