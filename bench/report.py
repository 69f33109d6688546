"""Rows, their statistics, and how they are shown and kept."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

#: From this spread on a row is marked: what disturbed the machine may be larger than what the row tells.
NOISY = 0.10


@dataclass(frozen=True, slots=True)
class Target:
    """What a row's ratio, or its value where it is compared with nothing, has to be."""

    at: Literal["most", "least"]
    bound: float

    def met(self, figure: float) -> bool:
        """Whether `figure` reaches the target."""
        return figure <= self.bound if self.at == "most" else figure >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at == 'most' else '≥'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing: a value for each round, and the values that it is compared with, taken in the same rounds.

    `detail` is what else there is to say about it.
    """

    name: str
    unit: str
    rounds: Sequence[float]
    base: str = ""
    base_rounds: Sequence[float] = ()
    target: Target | None = None
    detail: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios to the base."""
        return statistics.median(self._ratios) if self.base_rounds else None

    @property
    def spread(self) -> float | None:
        """The width of the middle half of what is told (ratios, or values), as a share of its median."""
        figures = self._ratios if self.base_rounds else self.rounds
        if len(figures) < 3:
            return None
        low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
        return (high - low) / middle

    @property
    def verdict(self) -> str:
        """Whether the target is met; empty where there is none."""
        if self.target is None:
            return ""
        return "met" if self.target.met(self.value if self.ratio is None else self.ratio) else "MISSED"

    @property
    def _ratios(self) -> list[float]:
        return [value / base for value, base in zip(self.rounds, self.base_rounds, strict=True)]


@dataclass(slots=True)
class Section:
    """Rows that were measured together. `notes` say what was left out and why, and what was checked."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_HEAD = ("what", "value", "unit", "compared with", "ratio", "spread", "target", "", "detail")


def table(section: Section) -> str:
    """The section as a Markdown table, aligned so that it reads well on a terminal too."""
    lines = [_HEAD, *map(_cells, section.rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(_HEAD))]
    shown = [_line(line, widths) for line in lines] if section.rows else []
    if shown:
        rule = [f"{'-' * (width - 1)}{':' if column in _NUMBERS else '-'}" for column, width in enumerate(widths)]
        shown.insert(1, f"| {' | '.join(rule)} |")
    notes = [f"- {note}" for note in section.notes]
    blocks = ["\n".join(block) for block in (shown, notes) if block]
    return "\n\n".join([f"## {section.title}", *blocks])


_NUMBERS = frozenset({1, 4, 5})


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _cells(row: Row) -> tuple[str, ...]:
    spread = row.spread
    return (
        row.name,
        f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:.3g}",
        row.unit,
        row.base,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if spread is None else f"{spread:.0%}{' !' if spread > NOISY else ''}",
        "" if row.target is None else str(row.target),
        row.verdict,
        row.detail,
    )


def as_markdown(sections: Iterable[Section], about: Mapping[str, Any]) -> str:
    """The page with all tables. `about` is what `describe_machine` gives and what the run adds."""
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    where = f"{about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, Python {about['python']}, {packages}"
    busy = f"load average {about['load_average_before']:.1f} before, {about['load_average_after']:.1f} after"
    quick = "\n\nA quick run, for trying: not to be relied on." if about["quick"] else ""
    return "\n\n".join(
        [
            "# Results",
            f"{about['time'][:10]}; {where}; took {about['seconds']} s; {busy}.{quick}",
            _READING,
            *map(table, sections),
            "",
        ]
    )


_READING = f"""\
Values and ratios are medians of the rounds. The spread is the width of the middle half of the rounds as a share of the
median; `!` marks more than {NOISY:.0%}: something else may have disturbed the machine. What was taken only once has no
spread. README.md tells what each row means."""


def as_json(sections: Iterable[Section], about: Mapping[str, Any]) -> str:
    """Everything that was measured, every round of it."""
    rows = [
        {
            "section": section.title,
            **dataclasses.asdict(row),
            "value": row.value,
            "ratio": row.ratio,
            "spread": row.spread,
            "verdict": row.verdict,
        }
        for section in sections
        for row in section.rows
    ]
    notes = {section.title: section.notes for section in sections}
    return json.dumps({"about": about, "rows": rows, "notes": notes}, indent=1) + "\n"


def describe_machine() -> dict[str, Any]:
    """What it ran on, as far as it matters for the figures."""
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    packages = ("pdp", "cedarpy", "grpcio", "protobuf", "wasmtime")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
