"""`pdp check`: everything that is wrong with a bundle."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from pdp.bundle.layout import printable
from pdp.bundle.snapshot import Snapshot
from pdp.cli.bundles import load_bundle, read_config
from pdp.cli.terminal import answer, answer_json, counted, painted, problem_forms, problem_line
from pdp.errors import BundleError, Problem

_NOUNS = {
    "policies": "policy",
    "shadow_policies": "shadow policy",
    "templates": "template",
    "template_links": "template link",
    "entities": "entity",
    "servers": "server",
    "tools": "tool",
    "interceptors": "interceptor",
}


def run(arguments: Namespace) -> int:
    """Check the bundle; 0 if it loads, 1 if it does not. Raises CommandError if there is none."""
    try:
        snapshot = load_bundle(arguments.bundle, read_config(arguments))
        problems: Sequence[Problem] = snapshot.warnings
    except BundleError as error:
        snapshot, problems = None, error.problems
    if arguments.json:
        answer_json(_document(snapshot, problems))
    else:
        for problem in problems:
            answer(problem_line(problem, sys.stdout))
        answer(_summary(arguments.bundle, snapshot, problems))
    return 0 if snapshot is not None else 1


def counts_text(counts: object) -> str:
    """How much is in a bundle, from anything with the attributes of BundleCounts: `6 policies, 1 server`."""
    numbers = {noun: getattr(counts, name) for name, noun in _NOUNS.items()}
    return ", ".join(counted(number, noun) for noun, number in numbers.items() if number) or "nothing"


def _document(snapshot: Snapshot | None, problems: Sequence[Problem]) -> dict[str, object]:
    document: dict[str, object] = {
        "ok": snapshot is not None,
        "errors": _number(problems, "error"),
        "warnings": _number(problems, "warning"),
        "problems": problem_forms(problems),
    }
    if snapshot is not None:
        document["name"] = snapshot.name
        document["revision"] = snapshot.revision
        document["counts"] = {name: getattr(snapshot.counts, name) for name in _NOUNS}
    return document


def _summary(bundle: str, snapshot: Snapshot | None, problems: Sequence[Problem]) -> str:
    errors = counted(_number(problems, "error"), "error")
    warnings = counted(_number(problems, "warning"), "warning")
    if snapshot is None:
        return f"{painted('failed', 'red')}: `{printable(bundle)}` has {errors}, {warnings}"
    found = f"{counts_text(snapshot.counts)}; {errors}, {warnings}"
    return f"{painted('ok', 'green')}: `{printable(bundle)}` has {found}; revision {snapshot.revision}"


def _number(problems: Sequence[Problem], severity: str) -> int:
    return sum(1 for problem in problems if problem.severity == severity)
