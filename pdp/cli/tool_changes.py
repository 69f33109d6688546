"""How the tools of two manifests of one server differ, for people who are to agree to it.

Nothing that would be pinned anew is left out or cut: what matters may stand at the end of a very long line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from pdp.bundle.layout import printable
from pdp.bundle.source import SourceFile
from pdp.bundle.tool_files import parse_tools, read_definitions
from pdp.cedar.json_text import canonical_text
from pdp.cedar.strict_json import JsonError
from pdp.cedar.tool_schema import DEFINING, HINT_GROUPS
from pdp.cli.json_lines import indented
from pdp.cli.terminal import painted

#: Unchanged lines that are shown around those that changed.
_AROUND = 3
#: Where more lines than this differ, nobody looks for those among them that stayed: that would take too long.
_COMPARED_LINES = 1_000
_MARKS = {"-": "red", "+": "green", " ": "dim", "@": "dim"}


@dataclass(frozen=True, slots=True)
class Part:
    """What is another one about a tool: one of the members that define it. None where it is not there."""

    name: str
    pinned: Any
    live: Any


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A tool that is not as it was pinned. A removed one has no parts; `groups` are those of its annotations."""

    name: str
    kind: Literal["added", "removed", "changed"]
    parts: tuple[Part, ...] = ()
    pinned_groups: tuple[str, ...] = ()
    live_groups: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The change as JSON values; what the parts are is JSON text, in canonical form."""
        parts = [
            {"name": part.name, "pinned_json": _text(part.pinned), "live_json": _text(part.live)} for part in self.parts
        ]
        groups = {"pinned_groups": list(self.pinned_groups), "live_groups": list(self.live_groups)}
        return {"name": self.name, "change": self.kind, "parts": parts, **groups}

    def lines(self) -> Iterator[str]:
        """The change for people, printable."""
        what = ", ".join(part.name for part in self.parts)
        color = {"added": "green", "removed": "red", "changed": "yellow"}[self.kind]
        yield f"{painted(self.kind, color)} `{printable(self.name)}`" + (f": {what}" if what else "")
        for part in self.parts:
            yield f"  {part.name}"
            for line in _diff_lines(_part_lines(part.pinned), _part_lines(part.live)):
                text = "…" if line.startswith("@") else printable(line[0] + " " + line[1:])
                yield f"    {painted(text, _MARKS[line[0]])}"
        if self.kind != "removed" and self.pinned_groups != self.live_groups:
            before = f"{_listed(self.pinned_groups)} -> " if self.kind == "changed" else ""
            yield f"  groups: {before}{_listed(self.live_groups)}"


def compare(pinned: SourceFile | None, live: SourceFile) -> list[ToolChange]:
    """The tools that differ, by name. `live` is a manifest without problems; whatever `pinned` has is compared."""
    before, after = _definitions(pinned), _definitions(live)
    groups_before, groups_after = _groups(pinned), _groups(live)
    changes = []
    for name in sorted(before.keys() | after.keys()):
        groups = groups_before.get(name, ()), groups_after.get(name, ())
        if name not in after:
            changes.append(ToolChange(name, "removed", (), *groups))
        elif name not in before:
            changes.append(ToolChange(name, "added", _parts({}, after[name]), *groups))
        elif parts := _parts(before[name], after[name]):
            changes.append(ToolChange(name, "changed", parts, *groups))
    return changes


def _definitions(file: SourceFile | None) -> dict[str, dict[str, Any]]:
    """The definitions in a manifest by their names. What cannot be read pins nothing."""
    try:
        listed = read_definitions(file.content) if file is not None else []
    except JsonError:
        return {}
    named = (each for each in listed if isinstance(each, dict) and isinstance(each.get("name"), str))
    return {each["name"]: each for each in named}


def _groups(file: SourceFile | None) -> dict[str, tuple[str, ...]]:
    tools = parse_tools(file).tools if file is not None else ()
    return {tool.name: tuple(group for group in tool.groups if group in HINT_GROUPS) for tool in tools}


def _parts(pinned: dict[str, Any], live: dict[str, Any]) -> tuple[Part, ...]:
    pairs = ((name, pinned.get(name), live.get(name)) for name in DEFINING)
    return tuple(Part(*pair) for pair in pairs if canonical_text(pair[1]) != canonical_text(pair[2]))


def _text(value: Any) -> str | None:
    return None if value is None else canonical_text(value)


def _part_lines(value: Any) -> list[str]:
    """A text in its own lines, any other value as JSON with a line for each member and item."""
    if value is None:
        return []
    return value.split("\n") if isinstance(value, str) else indented(canonical_text(value))


def _diff_lines(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Lines after `-`, `+` or a blank; one that begins with `@` stands for unchanged lines that are left out."""
    same = min(len(old), len(new))
    start = next((at for at in range(same) if old[at] != new[at]), same)
    same -= start
    end = next((at for at in range(same) if old[-1 - at] != new[-1 - at]), same)
    differing = slice(start, len(old) - end), slice(start, len(new) - end)
    if max(part.stop - part.start for part in differing) > _COMPARED_LINES:
        yield from (f"-{line}" for line in old[differing[0]])
        yield from (f"+{line}" for line in new[differing[1]])
        return
    near = max(start - _AROUND, 0)
    cut = max(end - _AROUND, 0)
    lines = difflib.unified_diff(old[near : len(old) - cut], new[near : len(new) - cut], n=_AROUND, lineterm="")
    yield from islice(lines, 3, None)


def _listed(groups: Sequence[str]) -> str:
    return ", ".join(groups) or "none"
