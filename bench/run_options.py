"""What every row of a run needs to know."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Cores


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `work` is a directory that goes away with it; `quick` takes small sizes and few rounds, for trying."""

    cores: Cores
    work: Path
    quick: bool
    peers: bool
    started: float

    @property
    def rounds(self) -> int:
        """How often everything is measured, by turns."""
        return 3 if self.quick else 7

    def say(self, text: str) -> None:
        """Tell on stderr what is going on."""
        sys.stderr.write(f"[{time.monotonic() - self.started:4.0f} s] {text}\n")
        sys.stderr.flush()

    def directory(self, name: str) -> Path:
        """A new empty directory below `work`."""
        path = self.work / name
        path.mkdir(parents=True)
        return path
