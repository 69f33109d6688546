"""h2load beside the other load: short runs again and again, each with many connections and calls at the same time.

It only counts answers, and takes whatever is no broken stream for one. So each run asks as a subject of its own, and
its counts are held to its records in the decision log.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.faults.asking import PROCESS_CHARACTERS
from tests.faults.records import Record
from tests.faults.worlds import SERVER, TOOLS, arguments

CONNECTIONS, STREAMS = 16, 8
#: Few: h2load does not reconnect, so a run whose connections broke asks little more.
CALLS_PER_CONNECTION = 50
#: How the ids of its subjects begin; the number of the run follows.
SUBJECTS = "h2load "
_PAUSE_SECONDS = 0.05
#: On both sides of the limits that revisions have.
_NUMBERS = (3, 12, 200_000)
_METHODS = {"Authorize": pb.AuthorizeRequest, "Decide": pb.DecideRequest}
_HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")
#: Nothing is silent for so long; a connection that is hangs, and h2load counts its calls as timeouts.
_SILENCE = ("-N", "60s")
_PATIENCE_SECONDS = 120.0
_COUNTS = re.compile(
    r"requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout"
)


@dataclass(frozen=True)
class Span:
    """From when until when something was done, by the monotonic clock in seconds."""

    begun: float
    ended: float

    def meets(self, other: Span) -> bool:
        """Whether the two have a moment in common."""
        return self.begun <= other.ended and other.begun <= self.ended


@dataclass(frozen=True)
class Kill:
    """The end of a worker."""

    #: From when it was killed until its process had ended.
    dying: Span
    #: From when it was killed until a new connection was answered: at once, if another worker serves.
    away: Span


@dataclass(frozen=True)
class Counts:
    """What h2load says of a run's calls, in the order in which it says it."""

    total: int
    #: Those that it has sent.
    started: int
    #: Those that ended with an answer of any kind.
    done: int
    #: Those of them whose stream was not reset and whose HTTP status is 2xx: refusals of gRPC too.
    succeeded: int
    #: What did not succeed, never sent or broken off.
    failed: int
    errored: int
    timeout: int


def counted(output: str) -> Counts:
    """The counts in what h2load writes."""
    found = _COUNTS.search(output)
    assert found is not None, f"h2load's answer cannot be read:\n{output}"
    return Counts(*map(int, found.groups()))


@dataclass(frozen=True)
class Run:
    """One run of h2load: the id of its subject, when it was, and its counts."""

    subject: str
    span: Span
    counts: Counts

    @property
    def broken_off(self) -> int:
        """Calls that were sent and had no answer."""
        return self.counts.started - self.counts.done

    def unexplained(self, kills: Sequence[Kill], records: int) -> str:
        """What neither the kills of workers nor the run's records in the log explain, or nothing."""
        counts = self.counts
        if counts.timeout:
            return f"calls that hang: {self}"
        if counts.done != counts.succeeded:
            return f"streams that the service reset, or no 2xx: {self}"
        if self.broken_off and not any(self.span.meets(kill.dying) for kill in kills):
            return f"calls broke off, and no worker was killed: {self}"
        if counts.done < counts.total and not any(self.span.meets(kill.away) for kill in kills):
            return f"calls were never sent, and a worker served: {self}"
        if self.broken_off > CONNECTIONS * STREAMS:
            return f"more calls broke off than were in flight: {self}"
        # A record for every answer, so each was one of a decision; and none for what was never asked.
        if not counts.succeeded <= records <= counts.started:
            return f"{records} records: {self}"
        return ""


def cut_short(runs: Sequence[Run], records: Sequence[Record]) -> list[str]:
    """Connections that broke with a process that lived on: runs that it answered a part of, and later ones as well.

    A process that lives answers all that each connection asks.
    """
    order = {run.subject: number for number, run in enumerate(runs)}
    answered = Counter(
        (order[subject], record["decision_id"][:PROCESS_CHARACTERS])
        for record in records
        if (subject := record["subject"]["id"]) in order
    )
    last = {process: number for number, process in sorted(answered)}
    return [
        f"{count} answers of the process {process} to run {number}"
        for (number, process), count in answered.items()
        if count % CALLS_PER_CONNECTION and last[process] > number
    ]


class Flood:
    """Runs of h2load. `runs` are those that have ended; `asking` is set while there is one."""

    def __init__(self, address: str, scratch: Path) -> None:
        self.runs: list[Run] = []
        self.asking = threading.Event()
        self._url = f"https://{address}/pdp.v1.DecisionService"
        self._body = scratch / "h2load.body"
        self._random = random.Random(2)
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def end(self) -> None:
        """Let the last run end. Fails if one could not be made or read."""
        self._stopped.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while not self._stopped.wait(_PAUSE_SECONDS):
                self.runs.append(self._run())
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            self._failure = error

    def _run(self) -> Run:
        subject, method = f"{SUBJECTS}{len(self.runs)}", self._random.choice([*_METHODS])
        self._body.write_bytes(self._message(subject, method))
        sizes = ["-c", str(CONNECTIONS), "-m", str(STREAMS), "-n", str(CONNECTIONS * CALLS_PER_CONNECTION)]
        command = ["h2load", *sizes, *_HEADERS, *_SILENCE, "-d", str(self._body), f"{self._url}/{method}"]
        begun = time.monotonic()
        self.asking.set()
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS)
        self.asking.clear()
        assert done.returncode == 0, done.stdout + done.stderr
        return Run(subject, Span(begun, time.monotonic()), counted(done.stdout))

    def _message(self, subject: str, method: str) -> bytes:
        """One request as gRPC frames it."""
        number = arguments(self._random.choice(_NUMBERS))
        call = decision_pb2.ToolCall(server=SERVER, tool=self._random.choice(TOOLS), arguments_json=number)
        entity = decision_pb2.EntityUid(type="Agent", id=subject)
        message: bytes = _METHODS[method](
            subject=decision_pb2.Subject(entity=entity), tool_call=call
        ).SerializeToString()
        return struct.pack(">BI", 0, len(message)) + message


@contextmanager
def flooding(address: str, scratch: Path) -> Iterator[Flood]:
    """Runs of h2load over TLS on the service at this address, until the context ends."""
    flood = Flood(address, scratch)
    try:
        yield flood
    finally:
        flood.end()
