"""What the options of several subcommands have in common: their parser, their types, and the options they share."""

from __future__ import annotations

import argparse
import math
import re
import sys
from functools import partial
from typing import Any, NoReturn

from pdp.bundle.layout import printable
from pdp.cedar.model import EntityUid, is_entity_type, parse_uid

#: Where a service listens unless it is told otherwise.
DEFAULT_ADDRESS = "127.0.0.1:7437"

JSON_HELP = "answer in JSON"
CONFIG_HELP = "the configuration file, TOML; default: `$PDP_CONFIG`, or none"
DOCUMENT = "JSON|@FILE|-"

Commands = Any  # argparse names the type of subparsers only privately


class Parser(argparse.ArgumentParser):
    """Says what is wrong in this program's manner. Long options are never guessed from their beginning.

    What was parsed has the innermost parser that was reached in `parser`.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", partial(argparse.HelpFormatter, max_help_position=32))
        super().__init__(**settings)
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong; exit with 2."""
        if "invalid choice: " in message:
            message = re.sub(r"'([^']*)'", r"`\1`", message)
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {printable(message)}\n")


def add_commands(parser: Parser) -> Commands:
    """Make room for subcommands. What was parsed has the module of the one that was chosen in `command`."""
    return parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")


def add_command(commands: Commands, name: str, summary: str, description: str, module: str = "") -> Parser:
    """A subcommand, which is run by the module `module` of `pdp.cli`, by default the one of its own name."""
    parser: Parser = commands.add_parser(name, help=summary, description=description)
    parser.set_defaults(command=module or name)
    return parser


def add_group(commands: Commands, name: str, summary: str, description: str) -> Commands:
    """A subcommand that has subcommands, and does nothing without one."""
    return add_commands(commands.add_parser(name, help=summary, description=description))


def add_json(parser: Parser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


def add_common(parser: Parser, when: str = "") -> None:
    """`--config` and `--json`; `when` tells where the configuration counts."""
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP + when)
    add_json(parser)


def add_address(parser: Any) -> Any:
    """`--address`, to a parser or a group of one, which is given back."""
    help_text = f"`host:port` or `unix:/path` of a service; default: `$PDP_ADDRESS`, or `{DEFAULT_ADDRESS}`"
    parser.add_argument("--address", metavar="ADDRESS", type=text, help=help_text)
    return parser


def add_connection(parser: Parser, default: float = 5.0) -> None:
    """How a service is talked to; `default` is that of `--timeout`."""
    help_text = f"how long to wait for an answer; default: {default:g}"
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=default, help=help_text)
    parser.add_argument(
        "--tls", action="store_true", help="encrypt, and check the service with the system's certificates"
    )
    parser.add_argument(
        "--tls-ca", metavar="FILE", help="encrypt, and check the service with these; default: `$PDP_TLS_CA`, or none"
    )
    parser.add_argument("--tls-certificate", metavar="FILE", help="a certificate that says who calls; with `--tls-key`")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key")
    parser.add_argument(
        "--caller-key-file", metavar="FILE", help="a file with the key that says who calls; default: `$PDP_CALLER_KEY`"
    )


def add_document(parser: Parser, flag: str, help_text: str) -> None:
    """An option whose value is a document; `pdp.cli.documents` reads it."""
    parser.add_argument(flag, metavar=DOCUMENT, type=text, help=help_text)


def add_subject(parser: Parser) -> None:
    """`--subject` and what can stand in its place or beside it."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--subject", "--principal", dest="subject", metavar="UID", type=uid, help='who asks, such as `Agent::"bot"`'
    )
    who.add_argument("--token-file", metavar="FILE", help="a file with the token (JWT) of who asks; only for a service")
    parser.add_argument(
        "--on-behalf-of", metavar="UID", type=uid, help='the user that `--subject` acts for, such as `User::"alice"`'
    )


def add_call(parser: Parser, when: str = "") -> None:
    """What a tool call has besides its tool; `when` tells where that counts."""
    add_document(parser, "--arguments", "the tool call's arguments" + when)
    parser.add_argument("--session-id", metavar="ID", type=text, help="the tool call's session" + when)


def add_asking(parser: Parser) -> None:
    """What every question for a decision has: what the caller knows, what it calls the question, and whom it asks."""
    add_context(parser)
    parser.add_argument("--request-id", metavar="ID", type=text, help="a name for this question in the decision log")
    add_answerer(parser)


def add_context(parser: Parser) -> None:
    """`--context`."""
    add_document(parser, "--context", "what the caller knows: one JSON object")


def add_entities(parser: Parser) -> None:
    """`--entities`."""
    add_document(parser, "--entities", "entities for this question: one JSON array")


def add_answerer(parser: Parser) -> None:
    """Whom a question is for, and how its answer is to come."""
    add_address(parser.add_mutually_exclusive_group()).add_argument(
        "--bundle", metavar="PATH", help="ask this bundle, here in this process, instead of a service"
    )
    add_connection(parser)
    add_common(parser, "; only for `--bundle`")


def text(value: str) -> str:
    """Text that can be sent."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError(f"`{value}` is not UTF-8") from error
    return value


def uid(value: str) -> EntityUid:
    """An entity in Cedar's syntax."""
    try:
        return parse_uid(text(value))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def tool(value: str) -> tuple[str, str]:
    """A tool: its server and its name."""
    server, _, name = text(value).partition("/")
    if not server or not name:
        raise argparse.ArgumentTypeError(f"`{value}` is not a tool; write `server/tool`")
    return server, name


def entity_type(value: str) -> str:
    """The name of an entity type."""
    if not is_entity_type(value):
        raise argparse.ArgumentTypeError(f"`{value}` is not the name of an entity type")
    return value


def seconds(value: str) -> float:
    """A time to wait."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= 86_400:
        raise argparse.ArgumentTypeError(f"`{value}` is not a number of seconds above 0, at most 86400")
    return number
