"""Bytes that are no request: the caller's mistake on every RPC, and never a bug of the service."""

from __future__ import annotations

import random
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.grpc.service import Service, call_method, error_info, failure, serving, tool_call
from tests.grpc.test_services import METHODS

_ALLOWED_CODES = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
_DELIMITED = 2  # the wire type of strings, bytes and messages


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that permits everything."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


def _garbage() -> dict[str, bytes]:
    """Bytes that are no message of any type, by what is wrong with them."""
    return {
        "a tag that does not end": b"\xff" * 20,
        "a length beyond the end": b"\x0a\x7f",
        "a huge length": b"\x0a\xff\xff\xff\xff\x0f",
        "a length that overflows": b"\x0a" + b"\xff" * 9 + b"\x01",
        "an unknown wire type": b"\x0e\x00",
        "a group without an end": b"\x0b" * 50,
        "the end of no group": b"\x0c",
        "groups inside groups": b"\x0b" * 100_000 + b"\x0c" * 100_000,
        "noise": random.Random(1).randbytes(10_000),
        "text": b'{"subject": {"entity": {"type": "Agent", "id": "a"}}}',
    }


def _strings(method: MethodDescriptor) -> list[bytes]:
    """Messages in which each string field in turn, at the first level, is not UTF-8."""
    fields = method.input_type.fields
    names = [field for field in fields if field.type == FieldDescriptor.TYPE_STRING]
    return [bytes([field.number << 3 | _DELIMITED]) + b"\x02\xff\xfe" for field in names]


@pytest.mark.parametrize("kind", _garbage())
@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_garbage_is_the_callers_mistake(service: Service, method: MethodDescriptor, kind: str) -> None:
    """Bytes that are no message get INVALID_ARGUMENT with a reason, whatever the RPC."""
    garbage = _garbage()[kind]
    with pytest.raises(DecodeError):
        GetMessageClass(method.input_type).FromString(garbage)
    error = failure(call_method, service.channel, method, garbage)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "the bytes are not a message of this RPC"
    assert error_info(error).reason == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_strings_that_are_no_text_are_the_callers_mistake(service: Service, method: MethodDescriptor) -> None:
    """A string that is not UTF-8 makes the whole request malformed."""
    for data in _strings(method):
        error = failure(call_method, service.channel, method, data)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error_info(error).reason == "MALFORMED_MESSAGE"


def _deep(path: list[int], value: bytes) -> bytes:
    """A message with `value`, of at most 127 bytes, in the field at the end of a path of field numbers."""
    for number in reversed(path):
        value = bytes([number << 3 | _DELIMITED, len(value)]) + value
    return value


@pytest.mark.parametrize("path", [[1, 1, 1], [1, 1, 2], [1, 2], [3, 1], [3, 2], [3, 4], [2, 1, 1], [2, 2, 2], [6]])
def test_strings_inside_are_checked_as_well(service: Service, path: list[int]) -> None:
    """No string of a question can smuggle bytes that are no text, at any depth, alone or in a batch."""
    data = _deep(path, b"\xff")
    for name, message in (("Authorize", data), ("AuthorizeBatch", _deep([1], data))):
        [method] = [method for method in METHODS if method.name == name]
        error = failure(call_method, service.channel, method, message)
        assert error_info(error).reason == "MALFORMED_MESSAGE"


def _code(service: Service, name: str, message: bytes) -> grpc.StatusCode:
    """How a call ends."""
    [method] = [method for method in METHODS if method.name == name]
    try:
        call_method(service.channel, method, message)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


WHOLE = tool_call(b'{"n":1}', session_id="s", request_id="r", context_json=b'{"x":1}').SerializeToString()


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_request_cut_short_is_refused_or_a_shorter_one(service: Service, length: int) -> None:
    """However a request is cut off, it is refused, unless what is left is a question by itself."""
    try:
        shorter = pb.AuthorizeRequest.FromString(WHOLE[:length])
        is_question = bool(shorter.subject.entity.id and shorter.tool_call.tool)
    except DecodeError:
        is_question = False
    expected = grpc.StatusCode.OK if is_question else grpc.StatusCode.INVALID_ARGUMENT
    assert _code(service, "Authorize", WHOLE[:length]) is expected


@pytest.mark.parametrize("seed", range(20))
def test_changed_bytes_never_make_a_bug(service: Service, seed: int) -> None:
    """Requests with a few changed bytes are answered or refused, never INTERNAL or UNKNOWN."""
    rng = random.Random(seed)
    for _ in range(20):
        data = bytearray(WHOLE)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        assert _code(service, "Authorize", bytes(data)) in _ALLOWED_CODES
        assert _code(service, "AuthorizeBatch", _deep([1], bytes(data))) in _ALLOWED_CODES


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_ten_megabytes_are_too_much(service: Service, method: MethodDescriptor) -> None:
    """A message beyond the limit is RESOURCE_EXHAUSTED before anybody reads it, and the service goes on."""
    for garbage in (b"\xff" * 10_000_000, b"\x0a\x80\xad\xe2\x04" + bytes(10_000_000)):
        error = failure(call_method, service.channel, method, garbage)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert service.authorize(tool_call()).decision == decision_pb2.DECISION_ALLOW


def test_unknown_fields_are_passed_over(service: Service) -> None:
    """A client of a later version may send more than this one knows."""
    [method] = [method for method in METHODS if method.name == "Authorize"]
    later = tool_call().SerializeToString() + b"\x9a\x3e\x03abc"
    [answer] = call_method(service.channel, method, later)
    assert answer.decision == decision_pb2.DECISION_ALLOW
