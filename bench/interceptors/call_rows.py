"""One call of an interceptor in process, beside the same check as a webhook and as a Python function."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.interceptors.checks import CHECKS
from bench.interceptors.modules import Modules, sandbox_process
from bench.interceptors.subjects import PASSING, SUBJECTS, Subject
from bench.processes import BenchError, Service, python_service
from bench.report import Row, Section, Target
from bench.run_options import Run

_SIZES = (1024, 64 * 1024)
_SMALLEST = 0
_NAMES = {1024: "1 KiB", 64 * 1024: "64 KiB"}
_CHAINS = (1, 4, 16)
#: Modules that take long to start, with that many instances kept ready.
_PREWARMED = ("egress_guard", "normalize_arguments")
_READY = 2
#: Pauses last as long as so many calls, so that two instances can be made meanwhile. After a pause every call is
#: slower, so what is called with pauses is compared with the same pauses and no instance ready.
_PAUSE = 2.5
_WITH_PAUSES = ("paced", "ready")
_WEBHOOKS = ("minimal", "http.server")
_FIRST_CALLS = 20
_ENOUGH_CALLS = 100
_MOST_CALLS = 2_000
_ROUND_SECONDS, _SLOW_ROUND_SECONDS = 0.06, 0.4

_QUICK_ENOUGH = Target("most", 60.0)
_CHEAPER_THAN_A_WEBHOOK = Target("most", 0.2)
_WITH_TARGETS = ("redact_secrets", "path_guard")


class _What(NamedTuple):
    """What is called: an interceptor (`kind` is `call`, `paced` or `ready`), a webhook or a function."""

    kind: str
    subject: str
    size: int


@dataclass(slots=True)
class _Contender:
    """A command, how many calls fill a round of it, and µs by round."""

    what: _What
    command: dict[str, Any]
    count: int = _FIRST_CALLS
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def call_rows(run: Run, modules: Modules) -> list[Section]:
    """p50 of a call, by language and size of the payload."""
    notes: list[str] = []
    with ExitStack() as stack:
        service = stack.enter_context(sandbox_process(run, "calls"))
        run.say("interceptors: calls")
        contenders = _warm(service, [*_inside(modules), *_outside(run, stack)], notes, run)
        _measure(run, service, contenders, "calls")
    found = {contender.what: contender for contender in contenders}
    titles = {size: f"interceptors: one call in process, payload of {_NAMES[size]}" for size in _SIZES}
    sections = [Section(titles[size], _size_rows(found, size)) for size in _SIZES]
    sections[0].notes += [*modules.notes, *notes, "every answer of every call was the right one"]
    return sections


def chain_rows(run: Run, modules: Modules) -> list[Section]:
    """p50 of chains of several interceptors."""
    subjects = list(dict.fromkeys([PASSING, modules.typical]))
    chains = [
        _Contender(_What(str(length), subject.key, 1024), modules.command("call", subject, size=1024, length=length))
        for subject in subjects
        for length in _CHAINS
    ]
    notes: list[str] = []
    with sandbox_process(run, "chains") as service:
        run.say("interceptors: chains")
        chains = _warm(service, chains, notes, run)
        _measure(run, service, chains, "chains")
    rows = []
    for contender in chains:
        length = int(contender.what.kind)
        base = next(one for one in chains if one.what == contender.what._replace(kind="1"))
        each = f"{statistics.median(contender.p50) / length:.1f} µs for each; p99 {_p99(contender)} µs"
        name = f"{SUBJECTS[contender.what.subject].label}: chain of {length}"
        rows.append(_row(name, contender, each, None if length == 1 else base, "chain of 1"))
    return [Section("interceptors: chains, payload of 1 KiB", rows, notes)]


def _inside(modules: Modules) -> Iterator[_Contender]:
    """Interceptors, and those that are called with pauses after the same without."""
    for subject in modules.subjects:
        for size in (*_SIZES, _SMALLEST):
            yield _Contender(_What("call", subject.key, size), modules.command("call", subject, size=size))
        for kind, prewarm in (("paced", 0), ("ready", _READY)) if subject.purpose in _PREWARMED else ():
            command = modules.command("call", subject, size=_SIZES[0], prewarm=prewarm)
            yield _Contender(_What(kind, subject.key, _SIZES[0]), command)


def _outside(run: Run, stack: ExitStack) -> Iterator[_Contender]:
    """The same checks in Python. Webhooks run on the other core, as another service on the same machine would."""
    cores = dataclasses.replace(run.cores, server=run.cores.load)
    addresses = {}
    for kind in _WEBHOOKS:
        errors = run.work / f"webhook-{kind}.err"
        webhook = stack.enter_context(python_service("bench.interceptors.webhook", kind, cores, errors))
        addresses[kind] = webhook.address
    for subject in SUBJECTS.values():
        if subject.purpose not in CHECKS:
            continue
        for size in _SIZES:
            command = {"subject": subject.key, "size": size}
            yield _Contender(_What("function", subject.key, size), {"do": "function", **command})
            for kind, address in addresses.items():
                yield _Contender(_What(kind, subject.key, size), {"do": "webhook", "address": address, **command})


def _warm(service: Service, contenders: Sequence[_Contender], notes: list[str], run: Run) -> list[_Contender]:
    """Those that work, with as many calls as fill a round."""
    working: dict[_What, _Contender] = {}
    for contender in contenders:
        what = contender.what
        if what.kind in _WITH_PAUSES:
            fresh = working.get(what._replace(kind="call"))
            contender.command["pause"] = _PAUSE * fresh.p50[0] / 1e6 if fresh else 0
        answer = service.ask(**contender.command, count=_FIRST_CALLS)
        if answer["problem"]:
            note = f"{SUBJECTS[what.subject].label} is left out ({what.kind}): {answer['problem']}"
            notes += [note] if note not in notes else []
            continue
        contender.p50.append(answer["p50"])
        contender.count = _calls_for_a_round(answer["p50"], run)
        working[what] = contender
    for contender in working.values():
        contender.p50.clear()
    return list(working.values())


def _calls_for_a_round(p50: float, run: Run) -> int:
    """As many as fill a round; but no fewer than a p99 needs, unless they are slow ones."""
    enough = _FIRST_CALLS if run.quick else min(_ENOUGH_CALLS, int(_SLOW_ROUND_SECONDS * 1e6 / p50))
    return max(_FIRST_CALLS, enough, min(_MOST_CALLS, int(_ROUND_SECONDS * 1e6 / p50)))


def _measure(run: Run, service: Service, contenders: Sequence[_Contender], name: str) -> None:
    for number in range(1, run.rounds + 1):
        run.say(f"interceptors: {name}, round {number} of {run.rounds}")
        # There and back again, so that what drifts meanwhile favours nobody.
        for contender in contenders if number % 2 else reversed(contenders):
            answer = service.ask(**contender.command, count=contender.count)
            if answer["problem"]:
                raise BenchError(f"{contender.what}: {answer['problem']}")
            contender.p50.append(answer["p50"])
            contender.p99.append(answer["p99"])


def _size_rows(found: dict[_What, _Contender], size: int) -> list[Row]:
    rows = []
    for what, contender in found.items():
        if what.size == size and what.kind in ("function", *_WEBHOOKS):
            name = {"function": "Python function", "minimal": "webhook, minimal server"}.get(what.kind)
            rows.append(
                _row(f"{name or 'webhook, http.server'}: {what.subject}", contender, f"p99 {_p99(contender)} µs")
            )
    for what, contender in found.items():
        if what.size == size and what.kind in ("call", *_WITH_PAUSES):
            rows += _interceptor_rows(found, contender, SUBJECTS[what.subject])
    return rows


def _interceptor_rows(found: dict[_What, _Contender], contender: _Contender, subject: Subject) -> list[Row]:
    """An interceptor by itself, or beside the same check in Python where there is one."""
    what, name = contender.what, subject.label
    ours = what.size == _SIZES[0] and subject.key in _WITH_TARGETS
    smallest = found.get(what._replace(size=_SMALLEST, kind="call"))
    detail = f"p99 {_p99(contender)} µs"
    if what.kind == "paced":
        return [_row(f"{name}, with pauses", contender, detail)]
    if what.kind == "ready":
        paced = found.get(what._replace(kind="paced"))
        return [_row(f"{name}, with pauses, {_READY} instances ready", contender, detail, paced, "none ready")]
    if smallest is not None:
        detail += f"; {statistics.median(smallest.p50):.1f} µs with the smallest payload"
    passing = found[_What("call", PASSING.key, what.size)]
    peers = {kind: found.get(what._replace(kind=kind)) for kind in ("minimal", "http.server", "function")}
    if peers["minimal"] is None:
        least = found[_What("minimal", PASSING.key, what.size)]
        return [
            _row(name, contender, detail, passing, PASSING.label),
            _row(name, contender, "", least, "webhook that only passes, minimal server"),
        ]
    rows = [_row(name, contender, detail, target=_QUICK_ENOUGH if ours else None)]
    for kind, label in (("minimal", "webhook, minimal server"), ("http.server", "webhook, http.server")):
        rows.append(_row(name, contender, "", peers[kind], label, _CHEAPER_THAN_A_WEBHOOK if ours else None))
    return [*rows, _row(name, contender, "", peers["function"], "Python function")]


def _row(
    name: str,
    contender: _Contender,
    detail: str,
    base: _Contender | None = None,
    label: str = "",
    target: Target | None = None,
) -> Row:
    if base is None:
        return Row(name, "µs", contender.p50, target=target, detail=detail)
    return Row(name, "µs", contender.p50, label, base.p50, target, detail)


def _p99(contender: _Contender) -> str:
    return f"{statistics.median(contender.p99):,.0f}"
