"""Do what `clients/conformance/README.md` says, with the client for threads or, with `--aio`, the one for asyncio."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from pdp_client import (
    SERVICE_CONFIG,
    AsyncClient,
    AuthorizeBatchRequest,
    AuthorizeBatchResponse,
    AuthorizeRequest,
    Client,
    DecideRequest,
    DenialCode,
    FilterToolsRequest,
    FilterToolsResponse,
    InterceptRequest,
    Tls,
    allowed,
    error_info,
)

Json = dict[str, Any]

METHODS: dict[str, tuple[str, Any]] = {
    "Authorize": ("authorize", AuthorizeRequest),
    "AuthorizeBatch": ("authorize_batch", AuthorizeBatchRequest),
    "Intercept": ("intercept", InterceptRequest),
    "Decide": ("decide", DecideRequest),
    "FilterTools": ("filter_tools", FilterToolsRequest),
}


class Caller(Protocol):
    """Opens clients, calls their methods and closes them, whichever kind they are."""

    def open(self, target: str, options: Json) -> Any:
        """A new client. Raises ValueError or OSError."""

    def wait(self, outcome: Any) -> Any:
        """What a method gave, once it is there."""


class Threads:
    """The client for programs with threads."""

    def open(self, target: str, options: Json) -> Client:
        """A new client. Raises ValueError or OSError."""
        return Client(target, **options)

    def wait(self, outcome: Any) -> Any:
        """The outcome itself."""
        return outcome


class Loop:
    """The client for asyncio, in a loop that runs while something is waited for."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def open(self, target: str, options: Json) -> AsyncClient:
        """A new client. Raises ValueError or OSError."""

        async def make() -> AsyncClient:
            return AsyncClient(target, **options)

        return self._runner.run(make())

    def wait(self, outcome: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine gives."""
        return self._runner.run(outcome)


class Runner:
    """The commands, by name. Each gives the members of its answer."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._clients: dict[str, Any] = {}
        self._commands: dict[str, Callable[[Json], Json]] = {
            "describe": self._describe,
            "open": self._open,
            "call": self._call,
            "close": self._close,
        }

    def answer(self, line: str) -> Json:
        """The answer to one command."""
        command: Json = {}
        try:
            command = json.loads(line)
            return {"id": command["id"], **self._commands[command["do"]](command)}
        except (KeyError, ValueError, DecodeError) as error:
            return {"id": command.get("id"), "failed": f"{type(error).__name__}: {error}"}

    def _describe(self, _command: Json) -> Json:
        return {"language": "python", "service_config": json.loads(SERVICE_CONFIG)}

    def _open(self, command: Json) -> Json:
        try:
            options = client_options(command.get("options", {}))
            self._clients[command["client"]] = self._caller.open(command["target"], options)
        except (ValueError, OSError) as error:
            return {"refused": str(error)}
        return {"opened": True}

    def _call(self, command: Json) -> Json:
        method, request_type = METHODS[command["method"]]
        request = request_type.FromString(base64.b64decode(command["request"], validate=True))
        deadline = command["deadline_ms"] / 1000 if "deadline_ms" in command else None
        call = getattr(self._clients[command["client"]], method)
        try:
            return describe_response(self._caller.wait(call(request, deadline_seconds=deadline)))
        except grpc.RpcError as error:
            return {"error": describe_error(error)}

    def _close(self, command: Json) -> Json:
        self._caller.wait(self._clients.pop(command["client"]).close())
        return {"closed": True}


def client_options(options: Json) -> Json:
    """The keyword arguments of a client. Raises ValueError for an option that is not known."""
    found: Json = {}
    for name, value in options.items():
        match name:
            case "deadline_ms":
                found["deadline_seconds"] = value / 1000
            case "max_receive_bytes" | "bearer":
                found[name] = value
            case "tls":
                found["tls"] = Tls(**value)
            case _:
                raise ValueError(f"unknown option `{name}`")
    return found


def describe_response(response: Any) -> Json:
    """A response as the protocol has it."""
    answer: Json = {"response": base64.b64encode(response.SerializeToString()).decode()}
    if isinstance(response, FilterToolsResponse):
        return answer
    if isinstance(response, AuthorizeBatchResponse):
        items = response.results
        return answer | {"allowed": [None if item.HasField("error") else allowed(item.response) for item in items]}
    if response.HasField("denial"):
        answer["denial"] = denial_name(response.denial.code)
    return answer | {"allowed": allowed(response)}


def denial_name(code: int) -> str | int:
    """The name of a denial code, or its number where it has none here."""
    return DenialCode.Name(DenialCode.ValueType(code)) if code in DenialCode.values() else code


def describe_error(error: Any) -> Json:
    """An RPC error as the protocol has it."""
    answer = {"code": error.code().name, "message": error.details()}
    if info := error_info(error):
        answer |= info._asdict()
    return answer


def main() -> None:
    """Answer commands until there are no more."""
    parser = argparse.ArgumentParser(description="the conformance runner of the Python client")
    parser.add_argument("--aio", action="store_true", help="the client for asyncio")
    options = parser.parse_args()
    with asyncio.Runner() as loop:
        runner = Runner(Loop(loop) if options.aio else Threads())
        for line in sys.stdin:
            print(json.dumps(runner.answer(line)), flush=True)


if __name__ == "__main__":
    main()
