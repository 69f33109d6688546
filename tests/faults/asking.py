"""A process that asks a service without end, and holds each answer to what the oracle says.

It reads one line of JSON, its orders, from standard input, and goes on until that ends; then it writes one line, what
came of it, to standard output. `tests.faults.load` starts it.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2_grpc, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.faults.worlds import REPEATED, SERVER, TOOLS, Rules, arguments, read

#: Nothing takes as long; a call that does hangs, and that is a failure of its own kind.
DEADLINE_SECONDS = 60.0
#: What a call in flight may need when it is time to end, before it is given up.
_PATIENCE_SECONDS = 30.0
#: The order not to wait for what is in flight: nobody will answer.
GONE = "gone"
#: Between two calls of one thread: the machine is to do other things as well.
_PAUSE_SECONDS = 0.002
_RECONNECT_MS = 100
#: So many characters of a decision's id name the process that made it.
PROCESS_CHARACTERS = 20
_ALLOW, _DENY = decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY


class _WrongError(Exception):
    """An answer that the oracle does not give."""


@dataclass
class Notes:
    """What one thread saw."""

    answered: Counter[str] = field(default_factory=Counter)
    ids: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    #: When the last call began that a process answered.
    last_begun: dict[str, float] = field(default_factory=dict)


class Asker:
    """One thread with one connection at a time."""

    def __init__(self, orders: dict[str, Any], seed: int) -> None:
        self.notes = Notes()
        self._orders = orders
        self._table = read(orders["oracle"])
        self._random = random.Random(seed)
        self._number = seed * 10_000_000 % 400_000_000 + REPEATED
        self._kinds: list[Callable[[], None]] = [self._authorize, self._authorize, self._batch, self._decide]
        self._kinds += [self._intercept, self._filter]
        self._open: grpc.Channel | None = None
        self._gave_up = False

    def run(self, stopped: threading.Event) -> None:
        """Ask until told to stop."""
        while not stopped.is_set():
            with self._channel() as channel:
                self._open = channel
                self._stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
                self._process = ""
                for _ in range(self._orders["calls_per_connection"]):
                    if stopped.is_set():
                        return
                    self._ask()
                    time.sleep(_PAUSE_SECONDS)

    def give_up(self) -> None:
        """Wait for no answer any more."""
        self._gave_up = True
        if self._open is not None:
            self._open.close()

    def _channel(self) -> grpc.Channel:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS)]
        options += [("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS)]
        address, authority = self._orders["address"], self._orders["authority"]
        if not authority:
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority.encode()), options)

    def _ask(self) -> None:
        self._begun = time.monotonic()
        try:
            self._random.choice(self._kinds)()
        except grpc.RpcError as error:
            failure: dict[str, Any] = {"code": error.code().name, "details": error.details(), "process": self._process}
            failure["given_up"] = self._gave_up
            self.notes.failures.append({**failure, "begun": self._begun, "ended": time.monotonic()})
        except _WrongError as error:
            self.notes.wrong.append(str(error))

    def _call(self) -> tuple[str, int, decision_pb2.ToolCall, decision_pb2.Subject]:
        name = self._random.choice(TOOLS)
        number = self._random.randrange(REPEATED)
        if self._random.random() < 0.5:
            self._number += 1
            number = self._number
        call = decision_pb2.ToolCall(server=SERVER, tool=name, arguments_json=arguments(number))
        return name, number, call, decision_pb2.Subject(entity=decision_pb2.EntityUid(type="Agent", id="a"))

    def _authorize(self) -> None:
        name, number, call, subject = self._call()
        answer = self._sent(self._stub.Authorize, pb.AuthorizeRequest(subject=subject, tool_call=call))
        self._check(answer, name, number)

    def _batch(self) -> None:
        calls = [self._call() for _ in range(4)]
        questions = [pb.AuthorizeRequest(subject=subject, tool_call=call) for _, _, call, subject in calls]
        answer = self._sent(self._stub.AuthorizeBatch, pb.AuthorizeBatchRequest(requests=questions))
        if len(answer.results) != len(calls) or len({result.response.revision for result in answer.results}) != 1:
            raise _WrongError(f"a batch of two revisions, or too short: {answer}")
        for (name, number, _, _), result in zip(calls, answer.results, strict=True):
            self._check(result.response, name, number)

    def _decide(self) -> None:
        name, number, call, subject = self._call()
        answer = self._sent(self._stub.Decide, pb.DecideRequest(subject=subject, tool_call=call))
        seen = self._rules(answer.revision).seen(name, number)
        self._check(answer, name, seen)
        if answer.decision == _ALLOW and json.loads(answer.arguments_json) != {"n": seen}:
            raise _WrongError(f"{name} {number} goes on as {answer.arguments_json!r}")

    def _intercept(self) -> None:
        name, number, call, subject = self._call()
        request = pb.InterceptRequest(phase=interceptor_pb2.PHASE_REQUEST, subject=subject, tool_call=call)
        answer = self._sent(self._stub.Intercept, request)
        seen = self._rules(answer.revision).seen(name, number)
        self._note(answer)
        if answer.decision != _ALLOW or json.loads(answer.arguments_json) != {"n": seen}:
            raise _WrongError(f"{name} {number} is {answer}")

    def _filter(self) -> None:
        *_, subject = self._call()
        listed = [pb.ListedTool(name=name) for name in TOOLS]
        answer = self._sent(self._stub.FilterTools, pb.FilterToolsRequest(subject=subject, server=SERVER, tools=listed))
        rules = self._rules(answer.revision)
        if not {*rules.tools} >= {*answer.allowed}:
            raise _WrongError(f"shown though never allowed: {answer.allowed} by {rules}")
        self.notes.answered[answer.revision] += 1

    def _sent(self, method: Any, request: Any) -> Any:
        self._begun = time.monotonic()
        return method(request, timeout=DEADLINE_SECONDS, wait_for_ready=True)

    def _check(self, answer: Any, name: str, seen: int) -> None:
        rules = self._rules(answer.revision)
        expected = _ALLOW if rules.allows(name, seen) else _DENY
        self._note(answer)
        if answer.decision != expected:
            raise _WrongError(f"{name} {seen} by {rules} is {answer}")

    def _note(self, answer: Any) -> None:
        self._process = answer.decision_id[:PROCESS_CHARACTERS]
        self.notes.last_begun[self._process] = self._begun
        self.notes.ids.append(answer.decision_id)
        self.notes.answered[answer.revision] += 1

    def _rules(self, revision: str) -> Rules:
        if revision not in self._table:
            raise _WrongError(f"a revision that nobody wrote: `{revision}`")
        return self._table[revision]


def main() -> None:
    """Do as told."""
    orders = json.loads(sys.stdin.readline())
    stopped = threading.Event()
    askers = [Asker(orders, orders["seed"] * 100 + number) for number in range(orders["threads"])]
    threads = [threading.Thread(target=asker.run, args=(stopped,)) for asker in askers]
    for thread in threads:
        thread.start()
    patience = _PATIENCE_SECONDS
    while line := sys.stdin.readline():
        if line.strip() == GONE:
            patience = 0.0
        # Whoever wants to know how far it is says so.
        answered = sum(asker.notes.answered.total() + len(asker.notes.wrong) for asker in askers)
        sys.stdout.write(json.dumps({"asked": line.strip(), "answered": answered}) + "\n")
        sys.stdout.flush()
    stopped.set()
    for asker, thread in zip(askers, threads, strict=True):
        thread.join(patience)
        if thread.is_alive():
            asker.give_up()
            thread.join()
    sys.stdout.write(json.dumps([asker.notes.__dict__ for asker in askers]) + "\n")


if __name__ == "__main__":
    main()
