"""Playing a case to a client's program."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from tests.clients.cases import Case
from tests.clients.credentials import Credentials
from tests.clients.messages import ANY, METHODS, expanded, filled, request_of, written
from tests.clients.runner import Runner
from tests.clients.servers import ScriptedServer, Server

Json = Mapping[str, Any]

_FILES = {
    "ca": {"right": "ca", "wrong": "wrong-ca"},
    "certificate": {"right": "client"},
    "key": {"right": "client.key"},
}
_PAUSE_SECONDS = 0.05


class Player:
    """Plays one case: its steps by name."""

    def __init__(self, runner: Runner, servers: Mapping[str, Server], credentials: Credentials) -> None:
        self._runner = runner
        self._servers = servers
        self._credentials = credentials
        self._opened: set[str] = set()

    def play(self, case: Case) -> None:
        """Every step in order; an AssertionError tells what is not as it should be."""
        try:
            for number, step in enumerate(case.steps, start=1):
                kind = next(name for name in _STEPS if name in step)
                try:
                    _STEPS[kind](self, step)
                except AssertionError as error:
                    error.add_note(f"step {number} of `{case}`: {kind}")
                    raise
        finally:
            for client in self._opened if not self._runner.ended else ():
                self._runner.ask("close", client=client)

    def _open(self, step: Json) -> None:
        target = step["target"] if "target" in step else self._servers[step["server"]].address
        answer = self._runner.ask("open", client=step["open"], target=target, options=self._options(step))
        if step.get("refused"):
            assert answer.keys() == {"refused"}
            assert not any(key in answer["refused"] for key in self._credentials.keys.values())
            return
        assert answer == {"opened": True}
        self._opened.add(step["open"])

    def _options(self, step: Json) -> dict[str, Any]:
        options = dict(step.get("options", {}))
        if "bearer" in options:
            options["bearer"] = self._credentials.keys[options["bearer"]]
        if "tls" in options:
            options["tls"] = {name: self._tls_value(name, value) for name, value in options["tls"].items()}
        return options

    def _tls_value(self, name: str, value: str) -> str:
        return str(self._credentials.file(_FILES[name][value])) if name in _FILES else value

    def _call(self, step: Json) -> None:
        request = request_of(step["method"], step["request"])
        end = time.monotonic() + step.get("patience_ms", 0) / 1000
        answer = self._ask(step, request)
        while time.monotonic() < end and answer.get("error", {}).get("code") == "UNAVAILABLE":
            time.sleep(_PAUSE_SECONDS)
            answer = self._ask(step, request)
        compare(step["method"], step["expect"], answer)

    def _ask(self, step: Json, request: Message) -> dict[str, Any]:
        members = {"deadline_ms": step["deadline_ms"]} if "deadline_ms" in step else {}
        serialized = base64.b64encode(request.SerializeToString()).decode()
        return self._runner.ask("call", client=step["call"], method=step["method"], request=serialized, **members)

    def _close(self, step: Json) -> None:
        assert self._runner.ask("close", client=step["close"]) == {"closed": True}
        self._opened.remove(step["close"])

    def _stop(self, step: Json) -> None:
        self._servers[step["stop"]].stop()

    def _start(self, step: Json) -> None:
        self._servers[step["start"]].start()

    def _received(self, step: Json) -> None:
        server = self._servers[step["received"]]
        assert isinstance(server, ScriptedServer)
        seen = server.script.seen(step["method"])
        if "attempts" in step:
            assert len(seen) == step["attempts"]
        if "request" in step:
            expected = request_of(step["method"], step["request"])
            assert METHODS[step["method"]][0].FromString(seen[-1].request) == expected
        if "deadline_ms" in step:
            least, most = step["deadline_ms"]
            assert least < seen[-1].remaining_seconds * 1000 <= most


_STEPS = {
    "open": Player._open,
    "call": Player._call,
    "close": Player._close,
    "stop": Player._stop,
    "start": Player._start,
    "received": Player._received,
}


def compare(method: str, expect: Json, answer: Json) -> None:
    """An answer of the program must be what a case expects."""
    if "refused" in expect:
        assert answer.keys() in ({"failed"}, {"error"})
        return
    if "error" in expect:
        assert answer.keys() == {"error"}
        _compare_error(expect["error"], answer["error"])
        return
    assert "response" in answer, answer
    response = METHODS[method][1].FromString(base64.b64decode(answer["response"], validate=True))
    told = {**answer, "response": written(response)}
    assert told == filled(expanded(expect), told)


def _compare_error(expect: Json, error: Json) -> None:
    # Clients differ in what they make of a code's text, and an error may be about no field.
    compared = {name: value for name, value in error.items() if name in {*expect, "reason", "field"} and value != ""}
    assert expect["code"] == ANY or compared == filled(expect, compared)
