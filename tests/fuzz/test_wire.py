"""Random requests and random bytes over the wire: the same as in this process, with grpc and HTTP/2 between.

`PDP_FUZZ_SECONDS` and `PDP_FUZZ_SEED` as in `test_requests`.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz.asked_world import fed
from tests.fuzz.feeding import EndedError, Feeder, methods
from tests.fuzz.hostile_json import JsonMaker
from tests.fuzz.running import chosen_seed, require_no_bug, steps
from tests.grpc.service import TIMEOUT_SECONDS, Service, tool_call

_SHORT = 300
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_QUIET_SECONDS = 0.05


def _over_the_wire(service: Service) -> Callable[[MethodDescriptor, list[bytes]], list[Any]]:
    """Has requests answered by the service, as a client that sends the bytes as they are."""

    def answer(method: MethodDescriptor, parts: list[bytes]) -> list[Any]:
        path = f"/{method.containing_service.full_name}/{method.name}"
        kinds = ("stream_" if method.client_streaming else "unary_", "stream" if method.server_streaming else "unary")
        call = getattr(service.channel, "".join(kinds))(path, None, GetMessageClass(method.output_type).FromString)
        try:
            answered = call(iter(parts) if method.client_streaming else parts[0], timeout=TIMEOUT_SECONDS)
            if not method.server_streaming:
                return [answered]
            if method.client_streaming:
                return list(answered)
            first = next(answered)
            answered.cancel()
            return [first]
        except grpc.RpcError as error:
            raise EndedError(error.code(), error.details() or "") from error

    return answer


def test_no_request_over_the_wire_is_a_bug_or_a_wrong_allow(
    world: str, tmp_path: Path, logs: list[MutableMapping[str, Any]]
) -> None:
    """What holds for the handlers holds for who calls them: no INTERNAL, no hanging call, no wrong allow."""
    seed = chosen_seed()
    with fed(tmp_path, world) as (service, key):
        feeder = Feeder(_over_the_wire(service), key, world)
        for numbers in steps(_SHORT, 100):
            feeder.feed(seed, numbers)
            require_no_bug(logs)
    assert not any(end.endswith("DEADLINE_EXCEEDED") for end in feeder.ends)


# --- frames ----------------------------------------------------------------------------------------------------------


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream & 0xFFFF_FFFF) + payload


def _call(path: str, message: bytes) -> list[bytes]:
    """The frames of a call."""
    fields: tuple[tuple[str, str], ...] = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
    )
    fields += (("te", "trailers"), ("content-type", "application/grpc"))
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields
    )
    body = b"\0" + struct.pack(">I", len(message)) + message
    return [_frame(_SETTINGS, 0, 0, b""), _frame(_HEADERS, 4, 1, block), _frame(_DATA, 1, 1, body)]


class FrameMaker:
    """Makes connections' bytes: those of a call, with frames cut, changed, repeated, or of any kind."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._damage = JsonMaker(chance).damaged
        self._paths = [f"/{method.containing_service.full_name}/{method.name}" for method in methods()]

    def connection(self, message: bytes) -> bytes:
        """All that is sent on one connection."""
        pick = self._chance
        frames = _call(pick.choice(self._paths), message)
        for _ in range(pick.randrange(4)):
            place = pick.randrange(len(frames) + 1)
            frames.insert(place, self._any_frame())
        sent = (_PREFACE if pick.randrange(20) else pick.randbytes(24)) + b"".join(frames)
        kind = pick.randrange(4)
        if kind == 0:
            return sent[: pick.randrange(len(sent))]
        return _PREFACE + self._damage(sent[len(_PREFACE) :]) if kind < 3 else sent

    def _any_frame(self) -> bytes:
        pick = self._chance
        payload = pick.randbytes(pick.choice((0, 1, 4, 8, 40)))
        return _frame(pick.randrange(12), pick.randrange(256), pick.choice((0, 1, 2, 3, 2**31 - 1, 2**32 - 1)), payload)


def test_no_frames_end_or_stop_the_service(world: str, tmp_path: Path, logs: list[MutableMapping[str, Any]]) -> None:
    """Whatever comes on a connection, cut off anywhere: it serves the next caller, and nothing is a bug."""
    seed, chance = chosen_seed(), random.Random()
    maker = FrameMaker(chance)
    with fed(tmp_path, world) as (service, _):
        for numbers in steps(100, 50):
            for number in numbers:
                chance.seed(f"frames {seed}/{number}")
                _send(service.address, maker.connection(tool_call(b'{"n":1}').SerializeToString()))
            # Who comes next is answered.
            assert service.authorize(tool_call(b'{"n":1}')).decision, f"seed {seed}, connections {numbers}"
            require_no_bug(logs)


def _send(address: str, data: bytes) -> None:
    """Send these bytes, read for a moment what comes, and go away."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection:
        connection.settimeout(_QUIET_SECONDS)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                pass
        except OSError:
            return
