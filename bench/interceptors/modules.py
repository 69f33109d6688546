"""The modules of a run: which examples are built, and which are not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.interceptors.subjects import PASSING, SUBJECTS, Subject
from bench.interceptors.wat import wat_module
from bench.processes import ROOT, Cores, Service, python_service
from bench.run_options import Run

#: One subject for each module; that in WAT comes first.
_FIRST = [subject for subject in SUBJECTS.values() if subject.key == subject.purpose]
#: Where the processes of a run keep compiled code.
_KEPT = "interceptors"
_BUILT = ROOT / "build" / "interceptors"


@dataclass(frozen=True, slots=True)
class Modules:
    """Modules by purpose. `notes` tell which are missing."""

    paths: dict[str, Path]
    notes: list[str] = field(default_factory=list)

    @property
    def subjects(self) -> list[Subject]:
        """What can be measured."""
        return [subject for subject in SUBJECTS.values() if subject.purpose in self.paths]

    @property
    def distinct(self) -> list[Subject]:
        """One subject for each module."""
        return [subject for subject in _FIRST if subject.purpose in self.paths]

    @property
    def typical(self) -> Subject:
        """What stands for all where one is enough: written in Rust, or failing that in WAT."""
        return SUBJECTS["redact_secrets"] if "redact_secrets" in self.paths else PASSING

    def path(self, subject: Subject) -> Path:
        """The file with the module."""
        return self.paths[subject.purpose]

    def command(self, do: str, subject: Subject, **more: Any) -> dict[str, Any]:
        """A command to a process about a module."""
        return {"do": do, "subject": subject.key, "module": str(self.path(subject)), **more}


def find_modules(work: Path, built: Path = _BUILT) -> Modules:
    """The modules that are built, copied into the directory `work`, so that a build meanwhile changes nothing."""
    passing = work / f"{PASSING.purpose}.wasm"
    passing.write_bytes(wat_module("pass"))
    modules = Modules({PASSING.purpose: passing})
    for subject in _FIRST[1:]:
        name = f"{subject.purpose}.wasm"
        try:
            modules.paths[subject.purpose] = Path(shutil.copyfile(built / name, work / name))
        except FileNotFoundError:
            modules.notes.append(_left_out(subject, "it is not built"))
    return modules


def loadable(run: Run, modules: Modules) -> Modules:
    """Those of them that load. Their compiled code is kept for the whole run."""
    (run.work / _KEPT).mkdir(exist_ok=True)
    found = Modules({}, [*modules.notes])
    with sandbox_process(run, "first") as service:
        for subject in modules.distinct:
            run.say(f"interceptors: compiling {subject.purpose}")
            problem = service.ask(**modules.command("load", subject)).get("problem")
            if problem:
                found.notes.append(_left_out(subject, problem))
            else:
                found.paths[subject.purpose] = modules.path(subject)
    return found


def _left_out(subject: Subject, why: str) -> str:
    return f"{subject.language}: {subject.purpose} is left out: {why}"


@contextmanager
def sandbox_process(run: Run, name: str, cores: Cores | None = None) -> Iterator[Service]:
    """A process that loads and calls interceptors."""
    errors = run.work / f"interceptors-{name}.err"
    with python_service("bench.interceptors.process", str(run.work / _KEPT), cores or run.cores, errors) as service:
        yield service
