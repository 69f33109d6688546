"""`python -m bench.interceptors.process DIRECTORY`: interceptors in a process of their own, open to measurement.

Compiled code is kept in DIRECTORY. The process answers commands on stdin in JSON lines, and stops when stdin ends. A
command about a module says which file it is, and which subject.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.child import answers_stream, rss_mib, serve_commands
from bench.interceptors import life, stopping
from bench.interceptors.checks import CHECKS
from bench.interceptors.guests import Guests, caller
from bench.interceptors.subjects import ENVELOPE, SUBJECTS, Subject, current
from bench.interceptors.timing import timed
from pdp.app import prepare_process
from pdp.sandbox.chain import Chain, Payload
from pdp.sandbox.model import ModuleRefusedError
from pdp.sandbox.outcome import Interception
from pdp.sandbox.reply import Reply, read_reply, request_prefix, request_text


class Measured:
    """The commands: each takes the command's JSON object and returns the answer's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._guests = Guests(directory)
        self._connections: dict[str, HTTPConnection] = {}
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "call": self._call,
            "webhook": self._webhook,
            "function": self._function,
            "rate": self._rate,
            "compile": lambda command: life.compiled(self._directory, command),
            "load": lambda command: life.loaded(self._directory, command),
            "grow": lambda command: life.grown(self._directory, command),
            "repeat": lambda command: life.repeated(self._guests, command),
            "fail": lambda command: life.failed(self._guests, command),
            "stop": lambda command: stopping.stopped(self._guests, command),
            "memory": lambda command: {"rss_mib": rss_mib()},
        }

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what `command["do"]` names; `problem` says why it cannot be done."""
        try:
            return self._commands[command["do"]](command)
        except ModuleRefusedError as error:
            return {"problem": f"it is refused: {error}"}

    def _call(self, command: dict[str, Any]) -> dict[str, Any]:
        """Calls through a chain of `length` (1) times the same interceptor, with `pause` seconds between them."""
        subject, interceptor = self._guests.get(command)
        length = command.get("length", 1)
        payload = subject.payload(command["size"])
        wanted = subject.wanted(payload)

        def problem_of(answer: Interception) -> str:
            if length == 1:
                return subject.problem(payload, answer)
            passed = len(answer.outcomes) == length and answer.denial is None and answer.payload == wanted
            return "" if passed else f"a chain of {length} does not answer as one does"

        call = caller(Chain([interceptor] * length, {}), subject.phase, payload)
        return timed(call, problem_of, command["count"], command.get("pause", 0))

    def _rate(self, command: dict[str, Any]) -> dict[str, Any]:
        """Calls a second, for some `seconds`, from `at`, a time of `time.time`."""
        subject, interceptor = self._guests.get(command)
        payload = subject.payload(command["size"])
        call = caller(Chain([interceptor], {}), subject.phase, payload)
        time.sleep(max(0.0, command["at"] - time.time()))
        count, problem = 0, ""
        started = time.perf_counter()
        until = started + command["seconds"]
        while time.perf_counter() < until:
            problem = subject.problem(payload, call()) or problem
            count += 1
        return {"rate": count / (time.perf_counter() - started), "problem": problem}

    def _webhook(self, command: dict[str, Any]) -> dict[str, Any]:
        """The check by a webhook, at `address`, over one connection that stays open."""
        subject = SUBJECTS[command["subject"]]
        payload = subject.payload(command["size"])
        wanted = json.loads(subject.wanted(payload))
        address = command["address"]
        if address not in self._connections:
            self._connections[address] = HTTPConnection(address)
        connection = self._connections[address]

        def problem_of(reply: Reply) -> str:
            return _problem(subject, wanted, reply.verdict, json.loads(reply.payload) if reply.payload else None)

        return timed(lambda: _post(connection, subject, payload), problem_of, command["count"])

    def _function(self, command: dict[str, Any]) -> dict[str, Any]:
        """The check as a function that is called with the payload's JSON text, and gives the reply as a document."""
        subject = SUBJECTS[command["subject"]]
        check = CHECKS[subject.purpose]
        payload = current(subject.payload(command["size"]))
        wanted = json.loads(subject.wanted(subject.payload(command["size"])))

        def call() -> dict[str, Any]:
            reply = check(json.loads(payload))
            if "result" in reply:
                reply["result"] = json.dumps(reply["result"])
            return reply

        def problem_of(reply: dict[str, Any]) -> str:
            return _problem(
                subject, wanted, reply["verdict"], json.loads(reply["result"]) if "result" in reply else None
            )

        return timed(call, problem_of, command["count"])


def _problem(subject: Subject, wanted: Any, verdict: str, new: Any) -> str:
    """What is wrong with the answer of a check in Python; blanks in its JSON do not count."""
    right = (verdict == "transform" and new == wanted) if subject.replaced else verdict == "pass"
    return "" if right else f"the check in Python answers `{verdict}`"


def _post(connection: HTTPConnection, subject: Subject, payload: Payload) -> Reply:
    """Everything that a service does that asks a webhook in place of an interceptor."""
    prefix = request_prefix(subject.phase, ENVELOPE)
    request = request_text(prefix, payload.arguments, ENVELOPE.context, b"{}", payload.result, False, True)
    connection.request("POST", f"/{subject.purpose}", request, {"Content-Type": "application/json"})
    return read_reply(connection.getresponse().read(), subject.phase, True, {})


def main() -> None:
    """Serve until stdin ends."""
    prepare_process()  # as the service does
    serve_commands(answers_stream(), {}, Measured(Path(sys.argv[1])).answer)


if __name__ == "__main__":
    main()
