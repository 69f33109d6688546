"""The programs of the clients: building them, starting them, asking them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "clients"
BUILT = ROOT / "build" / "clients"

LANGUAGES = ("go", "java", "python", "rust", "typescript")

#: The exit status of a build whose toolchain is not here.
NO_TOOLCHAIN = 3
#: No answer takes long; this only ends what would never end.
ANSWER_SECONDS = 60.0
# What would lead a client elsewhere than it was told.
_PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")


@dataclass(frozen=True)
class Program:
    """A language's runner, in one of the modes that it has."""

    language: str
    mode: str = ""

    @property
    def path(self) -> Path:
        """The script."""
        return CLIENTS / self.language / "conformance"

    def __str__(self) -> str:
        return self.language + self.mode.replace("--", "-")


PROGRAMS = tuple(
    program
    for language in LANGUAGES
    for program in (Program(language), *((Program(language, "--aio"),) if language == "python" else ()))
)

_outcomes: dict[str, str | None] = {}


def require_built(language: str) -> None:
    """Build a language's runner once; skip the test if its toolchain is missing, or with REQUIRE_CLIENTS fail."""
    if language not in _outcomes:
        _outcomes[language] = _build(language)
    missing = _outcomes[language]
    if missing is not None and os.environ.get("REQUIRE_CLIENTS"):
        pytest.fail(missing)
    if missing is not None:
        pytest.skip(missing)


def _build(language: str) -> str | None:
    """None, or the toolchain that is missing.

    The tests run in several processes. One builds at a time, and none builds again what another one has built, because
    the other one's program may be running.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    stamp = BUILT / f".{language}.run"
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    with (BUILT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == run:
            return None
        command = [str(CLIENTS / language / "conformance"), "build"]
        # The Python client is built for the Python that runs this, whatever else is found first.
        environment = {"PYTHON": sys.executable, **os.environ}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            stamp.write_text(run)
            return None
    if done.returncode == NO_TOOLCHAIN:
        return done.stderr.strip()
    raise AssertionError(f"{language} does not build:\n{done.stdout}{done.stderr}")


class Runner:
    """A running program. `ask` sends a command and gives the members of its answer."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._count = 0
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, do: str, **members: Any) -> dict[str, Any]:
        """The answer to a command, without its `id`."""
        self._count += 1
        line = json.dumps({"id": self._count, "do": do, **members}, ensure_ascii=False)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        try:
            answer: dict[str, Any] = json.loads(self._lines.get(timeout=ANSWER_SECONDS))
        except queue.Empty:
            # Its later answers would be taken for those to other commands.
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"no answer to `{do}` within {ANSWER_SECONDS} s") from None
        assert answer.pop("id") == self._count
        return answer

    @property
    def ended(self) -> bool:
        """Whether the program is gone, which it never should be."""
        return self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        while self._process.poll() is None or self._lines.empty():
            self._lines.put(b'{"id": "the program has ended"}')
            self._process.wait()


@contextmanager
def running(program: Program, environment: Mapping[str, str] | None = None) -> Iterator[Runner]:
    """A program of a built language, until the block ends; then it has to end by itself, with status 0."""
    kept = {name: value for name, value in os.environ.items() if name.lower() not in _PROXIES}
    command = [str(program.path), "run", *([program.mode] if program.mode else [])]
    variables = {**kept, **(environment or {})}
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Runner(process)
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            assert process.wait(ANSWER_SECONDS) == 0, "the program did not end with status 0"
        finally:
            process.kill()


class Programs:
    """A program that runs for many tests, and is started again for the next one where a test ended it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._stack = contextlib.ExitStack()
        self._runner: Runner | None = None

    def __enter__(self) -> Programs:
        """Itself; nothing is started yet."""
        return self

    def __exit__(self, *_error: object) -> None:
        """The program has to end by itself."""
        self._stack.close()

    def runner(self) -> Runner:
        """The running program."""
        if self._runner is None or self._runner.ended:
            with contextlib.suppress(AssertionError):  # how it ended, the test has told
                self._stack.close()
            self._runner = self._stack.enter_context(running(self._program))
        return self._runner
