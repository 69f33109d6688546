"""`pdp tools`: which tools of a server a subject could ever call."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from pdp import wire
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.layout import printable
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.tool_files import read_definitions
from pdp.cedar.json_text import canonical_text
from pdp.cedar.strict_json import JsonError
from pdp.cli.answers import denial_text, show
from pdp.cli.decisions import answered, subject_of
from pdp.cli.documents import read_document, read_file
from pdp.cli.failure import CommandError
from pdp.cli.terminal import painted
from pdp.live_definitions import LiveDefinitions


def run(arguments: Namespace) -> int:
    """Ask and print both lists; 0 if any tool is allowed, 1 if none is. Raises CommandError without an answer."""
    request = pb.FilterToolsRequest(
        subject=subject_of(arguments),
        server=arguments.server,
        tools=_named(arguments),
        context_json=read_document(arguments.context),
    )
    response = answered(request, arguments, lambda stub: stub.FilterTools, partial(_by_bundle, request, arguments))
    show(response, _lines(response), arguments)
    return 0 if response.allowed else 1


def _named(arguments: Namespace) -> list[pb.ListedTool]:
    """The tools that the command line names; none where it leaves that to the bundle."""
    if arguments.manifest is not None:
        return list(_listed(arguments.manifest))
    if arguments.tools is None and arguments.bundle is None:
        raise CommandError("a service does not say which tools it pins: give `--manifest`, or `--tool` for each")
    return [pb.ListedTool(name=name) for name in arguments.tools or ()]


def _listed(path: str) -> Iterator[pb.ListedTool]:
    """The tools in a live manifest with their definitions, as a gateway would hand them over."""
    try:
        definitions = read_definitions(read_file(path))
    except JsonError as error:
        raise CommandError(f"`{path}`: {error}") from error
    for number, definition in enumerate(definitions):
        name = definition.get("name") if isinstance(definition, dict) else None
        if not isinstance(name, str) or not name:
            raise CommandError(f"`{path}`: item {number + 1} of `tools` has no name")
        yield pb.ListedTool(name=name, definition_json=canonical_text(definition).encode())


def _by_bundle(request: pb.FilterToolsRequest, arguments: Namespace, snapshot: Snapshot) -> pb.FilterToolsResponse:
    """What a service with this bundle would answer; without any tools named, about all that the bundle pins."""
    subject = wire.read_filter(request)
    tools = request.tools
    if arguments.manifest is None and arguments.tools is None:
        tools.extend(pb.ListedTool(name=name) for name in _pinned(arguments, snapshot))
    names = [tool.name for tool in tools]
    denials = snapshot.tool_filter.filter(subject, request.server, names, request.context_json)
    denials |= LiveDefinitions().check(snapshot.authorizer.model.tools, request.server, wire.listed(request))
    if snapshot.in_shadow:
        denials = dict.fromkeys(names)
    return wire.write_filtered(names, denials, snapshot.revision)


def _pinned(arguments: Namespace, snapshot: Snapshot) -> list[str]:
    tools = snapshot.authorizer.model.tools
    names = [name for server, name in tools if server == arguments.server]
    if not names:
        servers = ", ".join(f"`{server}`" for server in sorted({server for server, _ in tools})) or "none"
        raise CommandError(f"the bundle pins no tools of `{arguments.server}`; servers with tools: {servers}")
    return names


def _lines(response: pb.FilterToolsResponse) -> Iterator[str]:
    for name in response.allowed:
        yield f"{painted('allowed', 'green')} `{printable(name)}`"
    for tool in response.hidden:
        yield f"{painted('hidden', 'red')}  `{printable(tool.name)}` {denial_text(tool.denial)}"
    yield painted(f"revision {printable(response.revision)}", "dim")
