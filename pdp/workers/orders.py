"""What a worker is told when it is started, and what the processes of one service share."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pdp.config import Config


@dataclass(frozen=True, slots=True)
class RuntimeDirectory:
    """A directory of this user alone, which is there as long as the service is."""

    path: Path

    def status(self, index: int) -> Path:
        """Where a worker writes how it is, again and again: a serialized GetStatusResponse."""
        return self.path / f"worker-{index}.status"

    def beat(self, index: int) -> Path:
        """An empty file that a worker touches whenever it should have written how it is, also when it could not."""
        return self.path / f"worker-{index}.beat"

    def account(self, index: int) -> Path:
        """Where a worker writes its metrics and its health, again and again."""
        return self.path / f"worker-{index}.account"

    @property
    def changed_tools(self) -> Path:
        """Where the workers tell each other which tools are no longer the pinned ones."""
        return self.path / "changed-tools"


@contextmanager
def runtime_directory() -> Iterator[RuntimeDirectory]:
    """A new one, removed at the end. Raises OSError."""
    path = Path(tempfile.mkdtemp(prefix="pdp-"))
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # What removes old files from directories for temporary ones (systemd-tmpfiles) leaves those that are locked.
        fcntl.flock(held, fcntl.LOCK_SH)
        yield RuntimeDirectory(path)
    finally:
        os.close(held)
        shutil.rmtree(path, ignore_errors=True)


def _as_text(value: object) -> str:
    """What JSON has no form for. A worker has to know the secrets too, and nobody else reads what it is told."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return os.fspath(value)
    raise TypeError(type(value).__name__)


@dataclass(frozen=True, slots=True)
class Orders:
    """For one worker: its number from 0 on, of how many, what it serves, and who started it.

    `config` has the addresses as all workers listen on them, with no free ports left to pick.
    """

    config: Config
    index: int
    count: int
    supervisor: int
    runtime: RuntimeDirectory

    def as_json(self) -> str:
        """One line of text for the worker's standard input."""
        return json.dumps(
            {
                "config": self.config.model_dump(),
                "index": self.index,
                "count": self.count,
                "supervisor": self.supervisor,
                "runtime": os.fspath(self.runtime.path),
            },
            default=_as_text,
        )

    @staticmethod
    def from_json(text: str) -> Orders:
        """What `as_json` wrote. Raises ValueError and its kin for anything else."""
        document = json.loads(text)
        return Orders(
            Config.model_validate(document["config"]),
            document["index"],
            document["count"],
            document["supervisor"],
            RuntimeDirectory(Path(document["runtime"])),
        )
