"""What modules cost beside their calls: compiling, loading, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.interceptors.modules import Modules, sandbox_process
from bench.interceptors.subjects import Subject
from bench.processes import BenchError, Service
from bench.report import Row, Section, Target
from bench.run_options import Run

#: Above this a module takes a second or more to compile.
_LARGE_BYTES = 500_000
_ROUNDS, _LARGE_ROUNDS = 3, 1
_MODULES, _BINDINGS = 10, 100
_LEVEL = Target("most", 1.01)
#: Calls of a core module, of a component, and such as fail; a tenth of them before the first look.
_CALLS, _COMPONENT_CALLS, _FAILING_CALLS = 100_000, 5_000, 20_000
_COMPONENT = "prompt_injection"


def compile_rows(run: Run, modules: Modules) -> list[Section]:
    """Milliseconds to compile a module, and to load it where its code is kept."""
    # Those that compile for long are left to a full run.
    subjects = [subject for subject in modules.distinct if not (run.quick and _is_large(subject, modules))]
    times: dict[tuple[str, str], list[float]] = {}
    with sandbox_process(run, "compile") as service:
        for number in range(1 if run.quick else _ROUNDS):
            run.say(f"interceptors: compile, round {number + 1}")
            for subject in subjects if number % 2 else subjects[::-1]:
                if number >= _LARGE_ROUNDS and _is_large(subject, modules):
                    continue
                for do in ("compile", "load"):
                    answer = _ask(service, modules.command(do, subject))
                    times.setdefault((do, subject.key), []).append(answer["ms"])
    rows = []
    for subject in subjects:
        name, compiling = _sized(subject, modules), times["compile", subject.key]
        rows.append(Row(f"{name}: compile", "ms", compiling, detail="in a process of its own, its start included"))
        rows.append(Row(f"{name}: load", "ms", times["load", subject.key], "compile", compiling))
    notes = ["load: the compiled code from disk, its MAC checked, linked, with one trial call"]
    return [Section("interceptors: compile once, load at every start", rows, notes)]


def memory_rows(run: Run, modules: Modules) -> list[Section]:
    """Resident memory by module and binding, and after many calls."""
    rows: list[Row] = []
    for subject in [modules.typical] if run.quick else modules.distinct:
        run.say(f"interceptors: memory of {subject.label}")
        rows += _growth(run, modules, subject)
    calls = 10_000 if run.quick else _CALLS
    run.say("interceptors: memory after calls")
    rows.append(_repeated(run, modules, modules.typical, calls))
    if _COMPONENT in modules.paths:
        component = next(subject for subject in modules.subjects if subject.key == _COMPONENT)
        rows.append(_repeated(run, modules, component, calls * _COMPONENT_CALLS // _CALLS))
    with sandbox_process(run, "failing") as service:
        count = calls * _FAILING_CALLS // _CALLS
        answer = _ask(service, {"do": "fail", "count": count, "warm": count // 10})
    rows.append(_level(f"after {count:,} failing calls", answer, "a trap, nonsense, and fuel, by turns"))
    return [Section("interceptors: resident memory", rows)]


def _growth(run: Run, modules: Modules, subject: Subject) -> Sequence[Row]:
    count, bindings = (3, 10) if run.quick or _is_large(subject, modules) else (_MODULES, _BINDINGS)
    with sandbox_process(run, f"growth-{subject.purpose}") as service:
        answer = _ask(service, modules.command("grow", subject, modules=count, bindings=bindings))
    name = _sized(subject, modules)
    return (
        Row(f"{name}: each further module", "KiB", [answer["module_mib"] * 1024], detail=f"mean of {count}"),
        Row(f"{name}: each further binding", "KiB", [answer["binding_mib"] * 1024], detail=f"mean of {bindings}"),
    )


def _repeated(run: Run, modules: Modules, subject: Subject, calls: int) -> Row:
    with sandbox_process(run, f"calls-{subject.purpose}") as service:
        answer = _ask(service, modules.command("repeat", subject, count=calls, warm=calls // 10))
    return _level(f"{subject.label}: after {calls:,} calls", answer, "")


def _level(name: str, answer: dict[str, Any], detail: str) -> Row:
    return Row(name, "MiB", [answer["after"]], "before them", [answer["before"]], _LEVEL, detail)


def _ask(service: Service, command: dict[str, Any]) -> dict[str, Any]:
    answer = service.ask(**command)
    if answer.get("problem"):
        raise BenchError(f"{command}: {answer['problem']}")
    return answer


def _is_large(subject: Subject, modules: Modules) -> bool:
    return modules.path(subject).stat().st_size > _LARGE_BYTES


def _sized(subject: Subject, modules: Modules) -> str:
    return f"{subject.language}: {subject.purpose} ({modules.path(subject).stat().st_size / 1024:,.0f} KiB)"
