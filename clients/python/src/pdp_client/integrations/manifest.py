"""Print what tools are, for a bundle to pin: `python -m pdp_client.integrations.manifest FILE.py:NAME`.

NAME is what the file calls its FastMCP server, its list of LangChain tools or its list of function tools of the OpenAI
Agents SDK, guarded or not. The file is run, as an import would run it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import runpy
import sys
from collections.abc import Sequence
from typing import Any

# Which module describes what a package's classes are.
_MODULES = {"fastmcp": "fastmcp", "langchain_core": "langchain", "agents": "openai_agents"}


def manifest(tools: Any) -> dict[str, Any]:
    """A `tools/list` result with these tools. Raises TypeError for what is no tools."""
    [sample, *_] = tools if isinstance(tools, list | tuple) and tools else [tools]
    for kind in type(sample).__mro__:
        if name := _MODULES.get(kind.__module__.partition(".")[0]):
            described = importlib.import_module(f"pdp_client.integrations.{name}").manifest(tools)
            return dict(asyncio.run(described) if name == "fastmcp" else described)
    raise TypeError("no FastMCP server, and no list of LangChain tools or of function tools")


def main(arguments: Sequence[str]) -> None:
    """Print the manifest; ends with a message where there is none."""
    path, colon, name = arguments[0].rpartition(":") if len(arguments) == 1 else ("", "", "")
    if not colon:
        sys.exit("usage: python -m pdp_client.integrations.manifest FILE.py:NAME")
    names = runpy.run_path(path)
    if name not in names:
        sys.exit(f"`{path}` has no `{name}`")
    try:
        json.dump(manifest(names[name]), sys.stdout, indent=2, ensure_ascii=False)
    except TypeError as error:
        sys.exit(f"`{name}`: {error}")
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
