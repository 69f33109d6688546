"""JSON text for people: on lines of its own, with every name and value as it was written."""

from __future__ import annotations

import re

#: A payload beyond this is shown without its end; `--json` has all of it.
_SHOWN_CHARACTERS = 2_000
#: A payload of more lines than this is shown as it is.
_SHOWN_LINES = 40

#: What JSON text is made of; any other character stands for itself.
_PARTS = re.compile(r'"(?:[^"\\]|\\.)*+"|\{\s*\}|\[\s*\]|[][{}:,]|[^][{}:,\s"]++|\S', re.DOTALL)


def payload_lines(payload: bytes) -> list[str]:
    """The lines of a payload, no more than anybody looks at. Not printable yet."""
    text = payload.decode("utf-8", "backslashreplace")
    if len(text) > _SHOWN_CHARACTERS:
        return [f"{text[:_SHOWN_CHARACTERS]}… ({len(payload)} bytes; `--json` shows them all)"]
    lines = indented(text)
    return lines if len(lines) <= _SHOWN_LINES else [text]


def indented(text: str) -> list[str]:
    """JSON text with a line for each member and item, and every name and value as it was written.

    To read it and write it anew would change numbers. Text that is no JSON gives lines too.
    """
    lines, depth = [""], 0
    for match in _PARTS.finditer(text):
        part = match.group()
        if part in ("}", "]"):
            depth = max(depth - 1, 0)
            lines.append("  " * depth)
        lines[-1] += part
        if part in ("{", "["):
            depth += 1
        if part in ("{", "[", ","):
            lines.append("  " * depth)
        elif part == ":":
            lines[-1] += " "
    return lines
