"""`pdp module` with its subcommands and their options."""

from __future__ import annotations

import argparse
from functools import partial

from pdp.cli.options import (
    Commands,
    Parser,
    add_address,
    add_command,
    add_common,
    add_connection,
    add_document,
    add_group,
    add_json,
    text,
)

#: Compiling a large module takes the service this long.
_PUSH_SECONDS = 90.0

_INSPECT = (
    "Load a module as the service would, without one: show what it is, what it imports and exports, and whether it "
    "works in each phase that it has a hook for, by a trial call. Print a binding for `bundle.toml`. What the module "
    "logs goes to standard error. Exit status: 0 if it loads, 1 if it is refused."
)
_PUSH = (
    "Send a module and its binding to the AdminService at an address, which puts both into its bundle if the module "
    "loads. A binding of the same name is replaced. What is not given has the default of the bundle format. Exit "
    "status: 0 if it is in force, 1 if the module is refused or the bundle would not load with it, 2 for a wrong "
    "binding, a bundle that cannot be written, or no answer."
)
_REMOVE = (
    "Take an interceptor out of the bundle of the service at an address, and with it the module, if it was pushed. "
    "Exit status: 0 if it is gone, 1 if there is none of that name or the bundle would not load without it."
)
_LIST = "Ask the AdminService at an address for its interceptors, in the order in which they run on requests."


def add_module(commands: Commands) -> None:
    """`pdp module`."""
    group = add_group(
        commands, "module", "look at, add and remove interceptor modules", "Look at, add and remove interceptors."
    )
    for add in (_add_inspect, _add_push, _add_remove, _add_list):
        add(group)


def _add_inspect(group: Commands) -> None:
    parser = add_command(group, "inspect", "find out what a module is and whether it loads", _INSPECT, "module_inspect")
    _add_file(parser)
    _add_terms(parser)
    add_common(parser)


def _add_push(group: Commands) -> None:
    parser = add_command(group, "push", "put an interceptor into a service's bundle", _PUSH, "module_push")
    _add_file(parser)
    parser.add_argument("--name", metavar="NAME", type=text, help="its name; default: that of FILE without `.wasm`")
    parser.add_argument(
        "--tool", metavar="GLOB", dest="tools", action="append", required=True, type=text,
        help="which calls it sees: a glob over `server/tool`; may be repeated",
    )  # fmt: skip
    _add_choices(
        parser, "--phase", ("request", "response"), "before the call, or after it", dest="phases", required=True
    )
    _add_number(parser, "--order", -(2**31), 2**31 - 1, "its place: ascending for requests, descending for results")
    _add_choice(parser, "--mode", ("enforce", "shadow"), "whether its answers count, or are only reported")
    _add_choice(parser, "--on-error", ("deny", "allow"), "what follows when it fails")
    _add_number(parser, "--prewarm", 0, 2**32 - 1, "instances that are kept ready")
    _add_terms(parser)
    _add_service(parser, _PUSH_SECONDS)


def _add_remove(group: Commands) -> None:
    parser = add_command(group, "remove", "take an interceptor out of a service's bundle", _REMOVE, "module_remove")
    parser.add_argument("name", metavar="NAME", type=text, help="the name of its binding")
    _add_service(parser, _PUSH_SECONDS)


def _add_list(group: Commands) -> None:
    parser = add_command(group, "list", "show the interceptors of a service", _LIST, "module_list")
    _add_service(parser)


def _add_file(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="the module: a core module or a component, in binary form")


def _add_terms(parser: Parser) -> None:
    """What a binding asks of a module and grants to it."""
    parser.add_argument("--may-transform", action="store_true", help="let it change what it sees")
    _add_number(parser, "--timeout-ms", 1, 2**32 - 1, "how long one call may take")
    _add_number(parser, "--memory-mib", 1, 2**32 - 1, "how much memory one instance may have")
    _add_number(parser, "--fuel", 1, 2**63 - 1, "how much fuel one call may use, about one unit an instruction")
    _add_choices(parser, "--grant", ("log", "now_ms", "random"), "what it may import; default: `log`", dest="grants")
    add_document(parser, "--config-json", "what it is told at every call: one JSON object")
    parser.add_argument(
        "--annotation", metavar="NAME=TYPE", dest="annotations", action="append", type=_annotation, default=[],
        help="a fact that it may state, with its Cedar type, such as `risk=Long`; may be repeated",
    )  # fmt: skip


def _add_service(parser: Parser, timeout: float = 5.0) -> None:
    add_address(parser)
    add_connection(parser, timeout)
    add_json(parser)


def _add_choice(parser: Parser, flag: str, words: tuple[str, ...], help_text: str) -> None:
    parser.add_argument(flag, metavar="|".join(words), choices=words, help=f"{help_text}; default: `{words[0]}`")


def _add_choices(
    parser: Parser, flag: str, words: tuple[str, ...], help_text: str, *, dest: str, required: bool = False
) -> None:
    parser.add_argument(
        flag, metavar="|".join(words), choices=words, dest=dest, action="append", required=required,
        help=f"{help_text}; may be repeated",
    )  # fmt: skip


def _add_number(parser: Parser, flag: str, lowest: int, highest: int, help_text: str) -> None:
    kind = partial(_number, lowest, highest)
    parser.add_argument(flag, metavar="N", type=kind, help=help_text)


def _number(lowest: int, highest: int, value: str) -> int:
    """A whole number that can be sent; whether it is a good one is for the bundle format to say."""
    try:
        number = int(value)
    except ValueError:
        number = lowest - 1
    if not lowest <= number <= highest:
        raise argparse.ArgumentTypeError(f"`{value}` is not a whole number from {lowest} to {highest}")
    return number


def _annotation(value: str) -> tuple[str, str]:
    name, equals, cedar_type = text(value).partition("=")
    if not (name and equals and cedar_type):
        raise argparse.ArgumentTypeError(f"`{value}` is not an annotation; write `NAME=TYPE`, such as `risk=Long`")
    return name, cedar_type
