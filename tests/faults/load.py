"""Load on a service while something is done to it, and what came of each call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.asking import GONE
from tests.faults.records import lines
from tests.faults.worlds import Rules, oracle, written
from tests.waiting import wait_until
from tests.workers.fleet import PDP

_ROOT = Path(__file__).resolve().parents[2]
_PROCESSES, _THREADS = 2, 3
#: How the end of a process shows to those who were talking to it.
BROKEN_OFF = {"UNAVAILABLE", "CANCELLED"}


def seconds(short: float) -> float:
    """How long a fault goes on: `short`, or as the environment says."""
    return float(os.environ.get("FAULT_SECONDS", short))


def until(short: float) -> Iterator[int]:
    """Counts as long as a fault is to go on, at least three times."""
    end = time.monotonic() + seconds(short)
    number = 0
    while number < 3 or time.monotonic() < end:
        yield number
        number += 1


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """`work` on a thread of its own, which has to end soon after its event is set."""
    stopped = threading.Event()
    thread = threading.Thread(target=work, args=(stopped,))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


@dataclass
class Outcome:
    """What all callers saw."""

    #: Answers by revision.
    answered: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    last_begun: dict[str, float] = field(default_factory=dict)

    def add(self, notes: dict[str, Any]) -> None:
        """What one thread saw."""
        self.answered.update(notes["answered"])
        self.ids += notes["ids"]
        self.wrong += notes["wrong"]
        self.failures += notes["failures"]
        for process, begun in notes["last_begun"].items():
            self.last_begun[process] = max(begun, self.last_begun.get(process, 0.0))

    def unexplained(self) -> list[dict[str, Any]]:
        """Failures that the end of the process that answered before on the same connection does not explain.

        A process has ended if it answered no call that began after the failure. On a connection that never had an
        answer nobody knows whose failure it is.
        """

        def explained(failure: dict[str, Any]) -> bool:
            alive_until = self.last_begun.get(failure["process"], 0.0)
            return not failure["given_up"] and failure["code"] in BROKEN_OFF and alive_until <= failure["ended"]

        return [failure for failure in self.failures if not explained(failure)]

    def unlogged(self, log: Path, torn: int = 0) -> set[str]:
        """Answered decisions without a line in this decision log; at most `torn` lines may not be whole."""
        found = lines(log)
        assert found.count(None) <= torn, "lines that are torn"
        logged = Counter(line.get("decision_id") for line in found if line is not None)
        assert max(logged[name] for name in self.ids) <= 1, "a decision was written twice"
        return {*self.ids} - logged.keys()


class Load:
    """Callers at work. `outcome` is there once they have ended."""

    def __init__(self, address: str, authority: bytes, calls_per_connection: int, table: Mapping[str, Rules]) -> None:
        orders = {
            "address": address,
            "authority": authority.decode(),
            "oracle": written(table),
            "threads": _THREADS,
            "calls_per_connection": calls_per_connection,
        }
        command = [sys.executable, "-m", "tests.faults.asking"]
        self._processes = [
            subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(_PROCESSES)
        ]
        for seed, process in enumerate(self._processes):
            self._tell(process, json.dumps({**orders, "seed": seed}))
        self.outcome = Outcome()

    def answered(self) -> int:
        """How many answers there were so far."""
        total = 0
        for process in self._processes:
            self._tell(process, "how far?")
            assert process.stdout is not None
            total += json.loads(process.stdout.readline())["answered"]
        return total

    def go_on(self, answers: int = 200) -> None:
        """Wait until there were so many more answers."""
        before = self.answered()
        wait_until(lambda: self.answered() >= before + answers, f"{answers} more answers")

    def gone(self) -> None:
        """Tell them that the service is gone for good: at the end nothing that is in flight is waited for."""
        for process in self._processes:
            self._tell(process, GONE)

    def end(self) -> None:
        """Stop asking, and gather what was seen."""
        for process in self._processes:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            for notes in json.loads(out.splitlines()[-1]):
                self.outcome.add(notes)

    def kill(self) -> None:
        """Stop those that are left."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()


@contextmanager
def load(
    address: str,
    *,
    authority: bytes = b"",
    calls_per_connection: int = 10_000,
    table: Mapping[str, Rules] | None = None,
) -> Iterator[Load]:
    """Callers of the service at this address, who begin at once and end with the context. `table` is another oracle.

    Fails if an answer was wrong: nothing that is done to a service may make it answer what is not so.
    """
    running = Load(address, authority, calls_per_connection, table or oracle())
    try:
        running.go_on()
        yield running
        running.end()
        wrong = running.outcome.wrong
        assert not wrong, f"{len(wrong)} wrong answers: {wrong[:10]}"
        assert sum(running.outcome.answered.values()) > 0
    finally:
        running.kill()


def verified(log: Path) -> bool:
    """Whether `pdp log verify` finds nothing wrong with a log, all writers' files together."""
    done = subprocess.run([*PDP, "log", "verify", str(log)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return True
