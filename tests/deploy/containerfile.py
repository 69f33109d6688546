"""Reading a Containerfile, and doing what it says in a directory instead of an image."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, its flags (`--from=build`) by name, and the text after them."""

    name: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The text as words; of the JSON form, its items."""
        return list(json.loads(self.text)) if self.text.startswith("[") else shlex.split(self.text)


@dataclass
class Stage:
    """What follows one FROM."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, name: str) -> Instruction:
        """The last instruction of this name; KeyError if there is none."""
        found = [instruction for instruction in self.instructions if instruction.name == name]
        if not found:
            raise KeyError(name)
        return found[-1]

    @property
    def environment(self) -> dict[str, str]:
        """What its ENV instructions set."""
        words = [word.partition("=") for step in self.instructions if step.name == "ENV" for word in step.words]
        return {name: value for name, _, value in words}


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Containerfile, in order."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        flags = {}
        while rest.startswith("--"):
            flag, _, rest = rest.partition(" ")
            key, _, value = flag.removeprefix("--").partition("=")
            flags[key] = value
        found.append(Instruction(name, flags, rest.strip()))
    return found


def stages(steps: Sequence[Instruction]) -> list[Stage]:
    """The stages that the instructions make."""
    found: list[Stage] = []
    for step in steps:
        if step.name == "FROM":
            base, _, name = step.text.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].instructions.append(step)
    return found


class Scratch:
    """A directory in the place of `/`: absolute paths in commands are taken as paths below it."""

    def __init__(self, root: Path, context: Path, places: Sequence[str]) -> None:
        """`context` is what COPY copies from, `places` are the absolute paths that the instructions name."""
        self.root = root
        self._context = context
        self._places = places

    def moved(self, text: str) -> str:
        """The text with every place moved below the root."""
        for place in self._places:
            text = text.replace(place, f"{self.root}{place}")
        return text

    def build(self, stage: Stage) -> None:
        """Do what the stage says. CalledProcessError where a command fails."""
        directory = self.root
        for step in stage.instructions:
            if step.name == "WORKDIR":
                directory = Path(self.moved(step.text))
                directory.mkdir(parents=True, exist_ok=True)
            elif step.name == "RUN":
                command = ["sh", "-ec", self.moved(step.text)]
                subprocess.run(command, cwd=directory, check=True, env=_environment(), stdout=subprocess.DEVNULL)
            elif step.name == "COPY" and "from" not in step.flags:
                *sources, target = step.words
                for source in sources:
                    _copy(self._context / source, directory / target, target.endswith("/"))


def _environment() -> dict[str, str]:
    """This process's, which may say where packages come from, but not what Python finds beside them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "PDP_"))}


def _copy(source: Path, target: Path, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy(source, target / source.name if into else target)
