"""The processes of a run: started on a core of their own, stopped whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STOP_SECONDS = 30
ROOT = Path(__file__).resolve().parent.parent


class BenchError(Exception):
    """The run cannot go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where servers and where load run; None where the machine has too few cores to keep them apart."""

    server: int | None
    load: int | None

    def pinned(self, command: Sequence[str], core: int | None) -> list[str]:
        """The command, bound to `core`."""
        return list(command) if core is None else ["taskset", "--cpu-list", str(core), *command]


def find_cores() -> Cores:
    """The first two cores that this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2 or shutil.which("taskset") is None:
        return Cores(None, None)
    return Cores(usable[0], usable[1])


class Service:
    """A started process that answers JSON lines. `ready` is what it said first."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid
        self.ready = self._read()

    @property
    def address(self) -> str:
        """Where it listens, `host:port`."""
        return str(self.ready["address"])

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"a process ended early:\n{_tail(self._errors)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def python_service(module: str, argument: str, cores: Cores, errors: Path) -> Iterator[Service]:
    """`python -m module argument`, ready to answer. Closing its stdin is what stops it."""
    command = cores.pinned([sys.executable, "-m", module, argument], cores.server)
    with errors.open("w") as stream:
        process = subprocess.Popen(  # noqa: S603 - commands of this program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True, cwd=ROOT
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Service(process, errors)
    finally:
        process.stdin.close()
        _wait(process)
        process.stdout.close()


@contextmanager
def foreign_service(command: Sequence[str], cores: Cores, errors: Path) -> Iterator[int]:
    """Someone else's server, by its process id; what it prints goes to the file `errors`, and a signal stops it."""
    with errors.open("w") as stream:
        process = subprocess.Popen(  # noqa: S603 - commands of this program
            cores.pinned(command, cores.server), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        _wait(process)


def _wait(process: subprocess.Popen[Any]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def output_of(command: Sequence[str], cores: Cores, *, cwd: Path = ROOT) -> str:
    """What a command prints, run on the load's core. Raises BenchError if it fails."""
    done = subprocess.run(  # noqa: S603 - commands of this program
        cores.pinned(command, cores.load), cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"`{command[0]}` failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has taken until now, all its threads together."""
    # The name of the program, in parentheses, may hold blanks; the times are the 12th and 13th field after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def service_config(source: Path, *, log: Path | None = None, **sections: Mapping[str, Any]) -> str:
    """The argument of `bench.service`: the bundle `source` on a free port, decisions in `log`, `sections` on top."""
    document: dict[str, dict[str, Any]] = {
        "server": {"listen": ["127.0.0.1:0"]},
        "bundle": {"source": str(source), "watch": False, "last_good_dir": ""},
        "authorize": {"decision_cache": 0},
        "decision_log": {"sink": "file", "path": str(log), "spool_dir": f"{log}.spool"} if log else {"sink": "none"},
    }
    for name, keys in sections.items():
        document[name] = {**document.get(name, {}), **keys}
    return json.dumps(document)


def _tail(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-2000:]
