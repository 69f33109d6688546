"""`pdp schema`: a bundle's Cedar schema, or what tool manifests add to one."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from pdp.bundle.schema_file import RESOURCE_TYPE
from pdp.bundle.source import source_file, unreadable
from pdp.bundle.tool_files import parse_tools
from pdp.cedar.tool_schema import Tool, schema_text
from pdp.cli.bundles import load_bundle, read_config
from pdp.cli.failure import CommandError
from pdp.cli.schema_accept import accept_tools
from pdp.cli.terminal import answer, answer_json, tell_error
from pdp.errors import BundleError, Problem

_PRINCIPAL_TYPES = ("Agent",)


def run(arguments: Namespace) -> int:
    """Print the schema, or pin tools. Raises BundleError for what is wrong with the bundle or the manifests."""
    if arguments.accept is not None:
        return accept_tools(arguments)
    if arguments.target is not None or arguments.dry_run:
        raise CommandError("`--bundle` and `--dry-run` belong to `--accept`")
    if arguments.manifest:
        return _print_generated(arguments)
    if arguments.principal_type:
        raise CommandError("`--principal-type` belongs to `--manifest`; a bundle says it itself")
    snapshot = load_bundle(arguments.bundle, read_config(arguments))
    if arguments.json:
        answer_json({"revision": snapshot.revision, "schema": snapshot.schema_text or None})
    elif snapshot.schema_text:
        answer(snapshot.schema_text.rstrip())
    if not snapshot.schema_text:
        tell_error(f"`{arguments.bundle}` has no `schema.cedarschema`, so its policies are not checked against one")
        return 1
    return 0


def _print_generated(arguments: Namespace) -> int:
    tools: list[Tool] = []
    problems: list[Problem] = []
    for name in arguments.manifest:
        try:
            parsed = parse_tools(source_file(name, Path(name).read_bytes()))
        except OSError as error:
            raise CommandError(f"`{name}` {unreadable(name, error).message}") from error
        tools.extend(parsed.tools)
        problems.extend(parsed.problems)
    problems += _repeated(arguments.manifest)
    if problems:
        raise BundleError(problems)
    principal_types = arguments.principal_type or _PRINCIPAL_TYPES
    text = schema_text(
        tools,
        principal_types=principal_types,
        resource_type=RESOURCE_TYPE,
        declare_server=RESOURCE_TYPE not in principal_types,
    )
    if arguments.json:
        answer_json({"schema": text})
    else:
        answer(text.rstrip())
    return 0


def _repeated(names: list[str]) -> list[Problem]:
    """Two files for one server would declare its tools twice."""
    servers = [Path(name).name for name in names]
    message = "another file describes this server too"
    return [
        Problem(name, 0, 0, message) for name, server in zip(names, servers, strict=True) if servers.count(server) > 1
    ]
