"""The decision core at many sizes: one process for each, all asked by turns."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.bundle_files import write_bundle
from bench.processes import BenchError, Service, python_service, service_config
from bench.report import Row, Section, Target
from bench.run_options import Run
from bench.workloads import Pattern, Sizes, World

_TARGET = Target("most", 1.25)
_POLICIES = (10, 1_000, 10_000, 100_000)
_ENTITIES = (10, 1_000, 100_000, 1_000_000)
_FIXED_ENTITIES = 1_000
_FIXED_POLICIES = 1_000
#: Requests before the first that is measured. After so many `uniform` ones nearly all teams of a million entities have
#: been seen; no number would do so for their agents.
_WARM: Mapping[Pattern, int] = {"hot": 30_000, "uniform": 60_000}
_COUNT = 2_000
_SHORT = "read, parse, index; no schema"


@dataclass(slots=True)
class _Size:
    """A service of one size and what it has answered so far."""

    label: str
    sizes: Sizes
    service: Service
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def policy_rows(run: Run) -> list[Section]:
    """p50 and p99 of a decision by number of policies."""
    counts = _POLICIES[:2] if run.quick else _POLICIES
    sizes = [(f"{count:,} policies", Sizes(count, _FIXED_ENTITIES)) for count in counts]
    return _sections(run, "policies", "core, by number of policies (in process, no decision cache)", sizes, _TARGET)


def entity_rows(run: Run) -> list[Section]:
    """p50 and p99 of a decision by number of entities."""
    counts = _ENTITIES[:2] if run.quick else _ENTITIES
    # One department, so that ten entities are enough for agents in teams in roles.
    sizes = [(f"{count:,} entities", Sizes(_FIXED_POLICIES, count, departments=1)) for count in counts]
    return _sections(run, "entities", "core, by number of entities (in process, no decision cache)", sizes, _TARGET)


def value_rows(run: Run) -> list[Section]:
    """p50 and p99 of a decision about one tool, by number of policies that ask for a value each."""
    counts = _POLICIES[:2] if run.quick else _POLICIES
    sizes = [(f"{count:,} policies", Sizes(count, _FIXED_ENTITIES, departments=1, one_tool=True)) for count in counts]
    return _sections(run, "values", "core, by number of policies of one tool for a value each", sizes)


def _sections(
    run: Run, name: str, title: str, sizes: Sequence[tuple[str, Sizes]], target: Target | None = None
) -> list[Section]:
    work = run.directory(name)
    with ExitStack() as stack:
        measured: list[_Size] = []
        for label, size in sizes:
            run.say(f"{name}: {label}")
            bundle = work / label.split()[0]
            write_bundle(World(size), bundle)
            config = service_config(bundle)
            service = python_service("bench.service", config, run.cores, work / f"{label}.err")
            measured.append(_Size(label, size, stack.enter_context(service)))
        for pattern in _WARM:
            run.say(f"{name}: {pattern}")
            _measure(run, measured, pattern)
        memory = [_memory_rows(size) for size in measured]
    rows = [row for pattern in _WARM for row in _pattern_rows(measured, pattern, target)]
    return [
        Section(title, rows, ["every measured answer was the right one; each is 1 question, arguments never repeat"]),
        Section(f"load and memory, by number of {name}", [row for pair in memory for row in pair]),
    ]


def _measure(run: Run, measured: Sequence[_Size], pattern: Pattern) -> None:
    for size in measured:
        _ask(size, pattern, seed=0, count=_WARM[pattern] // 10 if run.quick else _WARM[pattern])
    for number in range(1, run.rounds + 1):
        # There and back again, so that what drifts meanwhile favours nobody.
        for size in measured if number % 2 else reversed(measured):
            size.answers.setdefault(pattern, []).append(_ask(size, pattern, seed=number, count=_COUNT))


def _ask(size: _Size, pattern: Pattern, seed: int, count: int) -> dict[str, Any]:
    command = {"do": "authorize", "sizes": asdict(size.sizes), "pattern": pattern, "seed": seed, "count": count}
    answer = size.service.ask(**command)
    if answer["wrong"]:
        raise BenchError(f"{size.label}: {answer['wrong']} of {count} answers are wrong")
    return answer


def _pattern_rows(measured: Sequence[_Size], pattern: Pattern, target: Target | None) -> list[Row]:
    base = measured[0]
    rows = []
    for size in measured:
        p50, p99 = ([answer[key] for answer in size.answers[pattern]] for key in ("p50", "p99"))
        repeated = statistics.median(answer["repeated"] for answer in size.answers[pattern])
        is_base = size is base
        row = Row(
            f"{pattern}, {size.label}: p50",
            "µs of CPU",
            p50,
            base="" if is_base else base.label,
            base_rounds=() if is_base else [answer["p50"] for answer in base.answers[pattern]],
            target=target if size is measured[-1] else None,
            detail=f"p99 {statistics.median(p99):.0f} µs; agent and tool seen before: {repeated:.0%}",
        )
        rows.append(row)
    return rows


def _memory_rows(size: _Size) -> tuple[Row, Row]:
    ready = size.service.ready
    later = size.service.ask(do="memory")["rss_mib"]
    before = f"{ready['rss_before_mib']:.0f} MiB before the bundle, {later:.0f} MiB after all requests"
    return (
        Row(
            f"{size.label}: load",
            "s",
            [ready["load_seconds"]],
            detail=f"{_SHORT}; {ready['load_cpu_seconds']:.3g} s of CPU",
        ),
        Row(f"{size.label}: resident", "MiB", [ready["rss_mib"]], detail=before),
    )
