"""Record what an MCP server answers to `tools/list`, as data for examples and tests.

    python tools/record_manifest.py [option …] OUT.json -- COMMAND [ARGUMENT …]

It starts the command, speaks MCP with it over standard input and output, asks for every page of the list and writes one
`tools/list` result: the fields of the first page and the tools of all pages, in the server's order, with nothing added,
sorted or corrected. Whoever reviews a change of such a file reviews what agents are told.

The client is the official SDK, which the service itself does not need; the development environment has it (`make dev`).

How a listing is kept free of who recorded it:
- The server runs in an empty directory, which is its home as well, with a handful of environment variables (`PATH`,
  `USER` and the like) and those that the command line names. So give it absolute paths.
- Many servers want a key before they list their tools, but do not use it for that: `--throwaway` makes up a random one.
- A listing that repeats that directory, or a made-up key, is refused.
- The client claims every capability (roots, sampling, elicitation), since some servers hide tools from a client without
  them, and a pinned manifest has to name whatever an agent might be offered. It refuses every use of them.

Exit status: 0 recorded, 1 the server did not give a listing (nothing is written), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, MCPError, StdioServerParameters, types
from pydantic import RootModel, ValidationError

# A server that goes on forever is a broken one; the largest known listing has a few hundred tools.
_MAX_PAGES = 100


class RecordingError(Exception):
    """The server's answers are no listing that may be written; the message says why."""


class Page(RootModel[dict[str, Any]]):
    """A `tools/list` result, with every field that the server sent, also those that the SDK does not know."""


@dataclass(frozen=True)
class Recording:
    """What to record: the command line, checked."""

    output: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    # Values made up for this run, so that a server which repeats them is found out.
    made_up: Sequence[str]
    timeout_seconds: float


def merge(pages: Sequence[Page]) -> dict[str, Any]:
    """Return one result for all pages: the first one's fields in their order, and the tools of all."""
    merged = {key: value for key, value in pages[0].root.items() if key != "nextCursor"}
    merged["tools"] = [tool for page in pages for tool in page.root["tools"]]
    return merged


def render(listing: Mapping[str, Any], private: Sequence[str]) -> str:
    """Return the listing as the text of the file.

    Raises:
        RecordingError: it holds one of the `private` strings, or something that JSON and UTF-8 cannot.
    """
    try:
        text = json.dumps(listing, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        text.encode()
    except ValueError as error:
        raise RecordingError(f"the listing cannot be written as json: {error}") from error
    for secret in private:
        if secret in text:
            raise RecordingError(f"the listing repeats `{secret}`, which belongs to this run alone")
    return text


async def refuse(context: object, params: object = None) -> types.ErrorData:
    """Answer whatever a server asks of its client."""
    return types.ErrorData(code=types.INVALID_REQUEST, message="this client only lists tools")


async def fetch_pages(client: Client) -> list[Page]:
    """Return every page of the listing, as the server sent it.

    Raises:
        RecordingError: the pages do not end.
        MCPError: the server answered with an error, or went away.
        ValidationError: an answer is no `tools/list` result of the negotiated protocol.
    """
    pages: list[Page] = []
    params: types.PaginatedRequestParams | None = None
    while len(pages) < _MAX_PAGES:
        page = await client.session.send_request(types.ListToolsRequest(params=params), Page)
        pages.append(page)
        cursor = page.root.get("nextCursor")
        if cursor is None:
            return pages
        params = types.PaginatedRequestParams(cursor=cursor)
    raise RecordingError(f"the listing has more than {_MAX_PAGES} pages")


async def fetch(server: StdioServerParameters, timeout_seconds: float) -> list[Page]:
    """Start the server, return every page of its listing, and stop it.

    Raises:
        TimeoutError: that took too long; the server is stopped all the same.
        OSError: the command cannot be started.
        ExceptionGroup: of the above and of what `fetch_pages` raises.
    """
    with anyio.fail_after(timeout_seconds):
        async with Client(
            server, sampling_callback=refuse, elicitation_callback=refuse, list_roots_callback=refuse
        ) as client:
            return await fetch_pages(client)


def record(recording: Recording) -> dict[str, Any]:
    """Write the listing to the recording's output and return it. Raises what `fetch` and `render` raise."""
    # A process that the server left behind may still be writing there; that is no reason to lose the listing.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        server = StdioServerParameters(
            command=recording.command[0],
            args=list(recording.command[1:]),
            env={"HOME": home, **recording.environment},
            cwd=home,
        )
        listing = merge(anyio.run(partial(fetch, server, recording.timeout_seconds)))
    recording.output.write_text(render(listing, [home, *recording.made_up]), "utf-8")
    return listing


def describe(error: BaseException, recording: Recording) -> str:
    """Return the reason for a failed recording in the words of its user."""
    match error:
        case BaseExceptionGroup():
            return "; ".join(dict.fromkeys(describe(each, recording) for each in error.exceptions))
        case TimeoutError():
            return f"no listing within {recording.timeout_seconds:g} s"
        case MCPError(code=types.CONNECTION_CLOSED):
            return "the server ended before it gave a listing; what it wrote about that is above"
        case MCPError():
            return f"the server answered: {error.error.message}"
        case ValidationError():
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"])
            return f"the server's answer is no `tools/list` result: `{where}`: {first['msg'].lower()}"
        case _:
            return str(error)


def assignment(text: str) -> tuple[str, str]:
    """Split `NAME=VALUE`; the value may be empty or missing."""
    name, _, value = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"`{text}` names no variable")
    return name, value


def parse(arguments: Sequence[str]) -> Recording:
    """Read the command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(
        description="record the tools/list result of an MCP server",
        usage="%(prog)s [option …] OUT.json -- COMMAND [ARGUMENT …]",
    )
    parser.add_argument("output", type=Path, metavar="OUT.json")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="for all of it (default: 60)")
    parser.add_argument(
        "--env", type=assignment, action="append", default=[], metavar="NAME=VALUE", help="a variable for the server"
    )
    parser.add_argument(
        "--throwaway",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=PREFIX",
        help="a variable whose value is made up: the prefix (may be left out) and 32 random hexadecimal digits",
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what starts the server, with its arguments")
    options = parser.parse_args(arguments)
    if not options.timeout > 0:
        parser.error("`--timeout` has to be more than 0")
    program = shutil.which(options.command[0])
    if program is None:
        parser.error(f"there is no command `{options.command[0]}`")
    throwaways = {name: prefix + secrets.token_hex(16) for name, prefix in options.throwaway}
    return Recording(
        output=options.output,
        # The server's directory is another one, so a relative path to it would no longer lead there.
        command=[str(Path(program).absolute()), *options.command[1:]],
        environment={**dict(options.env), **throwaways},
        made_up=list(throwaways.values()),
        timeout_seconds=options.timeout,
    )


def main() -> int:
    """Record; returns the exit status."""
    recording = parse(sys.argv[1:])
    try:
        listing = record(recording)
    except (OSError, MCPError, ValidationError, RecordingError, ExceptionGroup) as error:
        print(f"nothing recorded: {describe(error, recording)}", file=sys.stderr)
        return 1
    print(f"{recording.output}: {len(listing['tools'])} tools")
    return 0


if __name__ == "__main__":
    sys.exit(main())
