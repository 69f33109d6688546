"""What the metrics say at a moment: values that can be written down, added up over workers, and shown to Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, Metric
from prometheus_client.exposition import generate_latest

from pdp.telemetry.catalogue import FAMILIES, Family

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

#: A sample's name with the values of its labels; the last one of a bucket is its bound.
Series = tuple[str, tuple[str, ...]]
Figures = dict[Series, float]

_JOINS: Final[Mapping[str, Callable[[float, float], float]]] = {"sum": lambda a, b: a + b, "max": max, "min": min}
_BUCKET = "_bucket"


class Reading(NamedTuple):
    """The figures of one family."""

    name: str
    figures: Figures


def series(family: Family, labels: tuple[str, ...] = ()) -> Series:
    """The key of a figure of a counter or gauge."""
    return family.name, labels


def single(family: Family, value: float, *labels: str) -> Reading:
    """A family that has one figure."""
    return Reading(family.name, {series(family, labels): value})


def joined(readings: Iterable[Iterable[Reading]]) -> list[Reading]:
    """One account of several processes: each figure as its family says."""
    found: dict[str, Figures] = {}
    for reading in (each for process in readings for each in process):
        known = found.setdefault(reading.name, {})
        join = _JOINS[FAMILIES[reading.name].joined]
        for key, value in reading.figures.items():
            known[key] = join(known[key], value) if key in known else value
    return [Reading(name, figures) for name, figures in found.items()]


def lasting(readings: Iterable[Reading]) -> list[Reading]:
    """Of a process that is gone, what goes on counting: the rest was true while it lived."""
    return [reading for reading in readings if FAMILIES[reading.name].kind != "gauge"]


def as_json(readings: Iterable[Reading]) -> bytes:
    """What `from_json` reads."""
    listed = [[name, [[*key, value] for key, value in figures.items()]] for name, figures in readings]
    return json.dumps(listed).encode()


def from_json(text: bytes) -> list[Reading]:
    """What `as_json` wrote; families that nobody here knows are left out. Raises ValueError and its kin."""
    return [
        Reading(name, {(sample, tuple(labels)): float(value) for sample, labels, value in figures})
        for name, figures in json.loads(text)
        if name in FAMILIES
    ]


def exposition(readings: Iterable[Reading]) -> bytes:
    """The text that Prometheus reads."""
    return bytes(generate_latest(_Collected([_metric(reading) for reading in readings])))


class _Collected:
    """What prometheus-client writes out."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """All of it."""
        return self._metrics


def _metric(reading: Reading) -> Metric:
    family = FAMILIES[reading.name]
    metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    for (sample, labels), value in reading.figures.items():
        names = (*family.labels, "le") if sample.endswith(_BUCKET) else family.labels
        metric.add_sample(sample, dict(zip(names, labels, strict=True)), value)
    return metric
