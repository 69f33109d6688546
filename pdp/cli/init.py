"""`pdp init`: a starter bundle."""

from __future__ import annotations

import shlex
from argparse import Namespace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pdp.bundle.layout import printable
from pdp.cli.failure import CommandError
from pdp.cli.terminal import answer, answer_json, painted

#: What to try with the bundle in the directory `{}`: a comment and a command each.
_NEXT = (
    ("check it", "pdp check {}"),
    ("a tool that only reads: allowed", "pdp authorize --bundle {} {subject} --tool helpdesk/search_tickets"),
    (
        "a refund over the limit: denied",
        "pdp authorize --bundle {} {subject} --tool helpdesk/issue_refund --arguments {arguments}",
    ),
    ("serve it", "pdp serve --bundle {}"),
)
_WORDS = {
    "subject": """--subject 'Agent::"support-bot"'""",
    "arguments": """'{"ticket_id": "T-1", "amount_cents": 90000}'""",
}


def run(arguments: Namespace) -> int:
    """Write the bundle. Raises CommandError if the directory holds anything, or cannot be written."""
    directory = Path(arguments.directory)
    templates = _templates(resources.files("pdp.cli") / "starter")
    try:
        _require_empty(directory)
        for name, template in templates.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Never over a file that somebody else puts there meanwhile.
            with path.open("xb") as file:
                file.write(template.read_bytes())
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"`{arguments.directory}` cannot be written: {cause.lower()}") from error
    commands = [(comment, command.format(_quoted(arguments.directory), **_WORDS)) for comment, command in _NEXT]
    if arguments.json:
        next_commands = [command for _, command in commands]
        answer_json({"directory": arguments.directory, "files": sorted(templates), "next": next_commands})
    else:
        _tell_next(arguments.directory, len(templates), commands)
    return 0


def _require_empty(directory: Path) -> None:
    if directory.is_dir() and any(directory.iterdir()):
        raise CommandError(f"`{directory}` is not empty; name a new directory")
    directory.mkdir(parents=True, exist_ok=True)


def _templates(root: Traversable, prefix: str = "") -> dict[str, Traversable]:
    """The files below `root` by their relative paths."""
    found: dict[str, Traversable] = {}
    for entry in sorted(root.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found |= _templates(entry, f"{prefix}{entry.name}/")
        else:
            found[prefix + entry.name] = entry
    return found


def _quoted(directory: str) -> str:
    """The directory as a shell takes it; one that begins with `-` is not taken for an option."""
    return shlex.quote(f"./{directory}" if directory.startswith("-") else directory)


def _tell_next(directory: str, files: int, commands: list[tuple[str, str]]) -> None:
    answer(f"wrote {files} files to `{printable(directory)}`; try next:")
    for comment, command in commands:
        answer()
        answer(painted(f"  # {comment}", "dim"))
        answer(f"  {printable(command)}")
