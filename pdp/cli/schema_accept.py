"""`pdp schema --accept`: the tools of a server as it lists them now, pinned in the place of what was pinned."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pdp.bundle.archive import BundleReader
from pdp.bundle.edits import apply
from pdp.bundle.layout import is_ignored, name_problem, place_problem, printable
from pdp.bundle.source import Source, SourceFile, make_source, source_file
from pdp.bundle.tool_files import parse_tools
from pdp.bundle.writing import BundleWriteError, open_writer
from pdp.cli.bundles import load_source, open_bundle, read_config
from pdp.cli.documents import read_file
from pdp.cli.failure import CommandError
from pdp.cli.terminal import answer, answer_json, counted, painted, problem_forms, problem_line
from pdp.cli.tool_changes import ToolChange, compare
from pdp.config import Config
from pdp.errors import BundleError, Problem


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What became of it. `revision` is that of the bundle as it lies there now."""

    live: SourceFile
    changes: Sequence[ToolChange]
    problems: Sequence[Problem]
    revision: str
    written: bool = False

    @property
    def refused(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


def accept_tools(arguments: Namespace) -> int:
    """Show what differs and write it; 1 if the bundle would not load with it, so that nothing is written.

    Raises BundleError for what is wrong with the manifest, or if there is no bundle, CommandError for the rest.
    """
    if arguments.target is None or arguments.principal_type:
        raise CommandError("`--accept` needs `--bundle`, and takes no `--principal-type`")
    live = _live(arguments.accept)
    config = read_config(arguments)
    reader = open_bundle(arguments.target, config)
    source = reader.read()
    changes = compare(source.files.get(live.path), live)
    accepted = _Accepted(live, changes, (), source.revision)
    if changes:
        changed = _changed(source, live)
        accepted = replace(accepted, problems=_problems(changed, config))
        if not accepted.refused and not arguments.dry_run:
            _write(Path(arguments.target), reader, source, live)
            accepted = replace(accepted, revision=changed.revision, written=True)
    _report(accepted, arguments)
    return int(accepted.refused)


def _live(name: str) -> SourceFile:
    """What the server lists, as the file of a bundle that it is to become."""
    content = read_file(name)
    path = f"tools/{Path(name).name}"
    problem = name_problem(path) or place_problem(path)
    if problem is not None or is_ignored(path):
        raise CommandError(f"`{name}` must be called like its server: `<server>.json`")
    problems = parse_tools(source_file(name, content)).problems
    if problems:
        raise BundleError(problems)
    return source_file(path, content)


def _changed(source: Source, live: SourceFile) -> Source:
    files = apply(source, {live.path: live.content}).items()
    return make_source(source.origin, [source_file(path, content) for path, content in files], source.warnings)


def _problems(source: Source, config: Config) -> Sequence[Problem]:
    """What there is to say of a bundle; without an error it loads."""
    try:
        return load_source(source, config).warnings
    except BundleError as error:
        return error.problems


def _write(bundle: Path, reader: BundleReader, source: Source, live: SourceFile) -> None:
    """Pin what was shown, in the bundle that it was compared with."""
    if any((bundle / path).is_symlink() for path in ("tools", live.path)):
        # Such as a mounted ConfigMap: what it leads to is somebody else's to change.
        raise CommandError(f"`{live.path}` is a link, so this bundle is changed where it comes from")
    if reader.read(source).revision != source.revision:
        raise CommandError("the bundle was changed meanwhile; try again")
    try:
        open_writer(bundle, reader).write(source, {live.path: live.content})
    except BundleWriteError as error:
        raise CommandError(str(error)) from error


def _report(accepted: _Accepted, arguments: Namespace) -> None:
    if arguments.json:
        answer_json(_document(accepted))
        return
    for change in accepted.changes:
        for line in change.lines():
            answer(line)
    for problem in accepted.problems:
        answer(problem_line(problem, sys.stdout))
    for line in _summary(accepted):
        answer(line)


def _document(accepted: _Accepted) -> dict[str, object]:
    return {
        "ok": not accepted.refused,
        "written": accepted.written,
        "path": accepted.live.path,
        "tools": [change.document() for change in accepted.changes],
        "problems": problem_forms(accepted.problems),
        "revision": accepted.revision,
    }


def _summary(accepted: _Accepted) -> Iterator[str]:
    numbers = Counter(change.kind for change in accepted.changes)
    what = ", ".join(f"{counted(number, 'tool')} {kind}" for kind, number in sorted(numbers.items()))
    where = f"`{printable(accepted.live.path)}`"
    if not accepted.changes:
        yield f"{painted('unchanged', 'yellow')}: {where} pins these tools already"
    elif accepted.refused:
        yield f"{painted('refused', 'red')}: {where}: the bundle would not load with {what}, and nothing is written"
    elif accepted.written:
        yield f"{painted('written', 'green')}: {where}: {what}"
    else:
        yield f"{painted('not written', 'yellow')}: {where}: {what}"
    yield painted(f"  revision {accepted.revision}", "dim")
