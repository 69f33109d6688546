"""Fuzzing of the boundary between guests and the service.

A guest whose addresses, lengths and replies are generated is compared with a model of what the ABI says; real modules
are loaded with generated faults in them. Whatever comes: a call ends with the bytes that the guest gave, or with a
failure, and a module loads or is refused. Nothing else is raised, nothing hangs, and no verdict is read that the bytes
do not say.

A few seconds of it run with all other tests, always the same. With `PDP_FUZZ_SECONDS` each of the tests goes on for
that long, with other examples every time; a failure prints the example.
"""

from __future__ import annotations

import faulthandler
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from pdp.cedar.arguments import parse_type
from pdp.sandbox.model import GuestFailureError, ModuleRefusedError, Phase
from pdp.sandbox.reply import Reply, read_configured, read_description, read_reply
from tests.component.sandbox import guests
from tests.component.sandbox.guests import DRIVEN, DRIVEN_CONFIG, DRIVEN_REPLY, REQUEST
from tests.modules import answering, deny, module, transform

#: A test that goes on for so long after its time is stuck.
_STUCK_SECONDS = 120.0

_PAGE = 65_536
_PAGES, _MOST_PAGES = 48, 64
_MOST_BYTES = 1 << 20

DECLARED = {"risk": parse_type("Long"), "labels": parse_type("Set<String>")}


def _seconds() -> float:
    return float(os.environ.get("PDP_FUZZ_SECONDS", "0"))


@pytest.fixture(autouse=True)
def _watchdog() -> Iterator[None]:
    """Ends the process, with a traceback, where a test hangs."""
    faulthandler.dump_traceback_later(_seconds() + _STUCK_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def _go_on(test: Callable[[], None]) -> None:
    """Run a test of hypothesis once, or with new examples until the time is over."""
    end = time.monotonic() + _seconds()
    test()
    while time.monotonic() < end:
        seed(secrets.randbits(64))(test)()


def _few(examples: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, suppress_health_check=slow)


# --- replies ---------------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [b'"verdict"', b'"pass"', b'"deny"', b'"transform"', b'"arguments"', b'"result"', b'"message"', b'"reason"',
     b'"annotations"', b'"error"', b'"ok"', b'"risk"', b'"labels"', b'"\\u0076erdict"', b'"\\ud800"', b'"v"',
     b'"phases"',
     b"{", b"}", b"[", b"]", b":", b",", b" ", b"null", b"true", b"1", b"-0.0", b"1e999", b"NaN", b"\0", b"\xff",
     b"\xef\xbb\xbf", b"9" * 40, b'"', b"\\", b"[" * 70, b'"request"', b"{}"]
)  # fmt: skip
_SEED_REPLIES = st.sampled_from(
    [
        b'{"verdict":"pass"}',
        b'{"verdict":"pass","annotations":{"risk":7,"labels":["a"]},"reason":"x"}',
        b'{"verdict":"deny","message":"m","reason":"r"}',
        b'{"verdict":"transform","arguments":{"a":[1,{"b":"\\u00e9"}],"arguments":null}}',
        b'{"reason":"\\"result\\":1","result":[{"verdict":"deny"}],"verdict":"transform"}',
        b'{"error":"no"}',
        b'{"ok":true}',
        b'{"v":1,"phases":["request"]}',
    ]
)


@st.composite
def _mended(draw: st.DrawFn) -> bytes:
    """A good reply with a few pieces cut out, put in or said twice."""
    text = draw(_SEED_REPLIES)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        piece = draw(st.one_of(_WORDS, st.binary(max_size=3), st.just(text[start:end] * 2)))
        text = text[:start] + piece + text[end:]
    return text


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=8,
)
_MEMBERS = ("verdict", "arguments", "result", "message", "reason", "annotations", "error", "other")
_OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(st.sampled_from(["pass", "deny", "transform"]) if name == "verdict" else st.nothing(), _JSON)
        for name in _MEMBERS
    },
).map(lambda value: json.dumps(value).encode())

REPLIES = st.one_of(_mended(), _mended(), _OBJECTS, st.lists(_WORDS, max_size=12).map(b"".join), st.binary(max_size=80))


def _said(data: bytes) -> dict[str, Any]:
    """What the bytes say to another reader, which takes no duplicate keys either."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    value = json.loads(data.decode(), object_pairs_hook=members, parse_float=str, parse_int=str)
    assert isinstance(value, dict)
    return value


def _require_said(reply: Reply, data: bytes, phase: Phase, may_transform: bool) -> None:
    """Fail where a reply is not what the bytes say."""
    said = _said(data)
    assert reply.verdict == said["verdict"]
    assert set(said) <= {"verdict", "arguments", "result", "message", "reason", "annotations"}
    if reply.verdict != "transform":
        assert reply.payload is None
        return
    assert may_transform
    assert reply.payload is not None
    assert reply.payload in data
    wanted = said["arguments" if phase == "request" else "result"]
    assert json.loads(reply.payload, parse_float=str, parse_int=str) == wanted


@pytest.mark.parametrize("phase", ["request", "response"])
def test_no_reply_is_read_that_was_not_said(phase: Phase) -> None:
    """Whatever bytes a guest gives: the verdict and the payload that are read are those in them, or it is a failure."""

    @_few(200)
    @given(REPLIES, st.booleans())
    def check(data: bytes, may_transform: bool) -> None:
        try:
            reply = read_reply(data, phase, may_transform, DECLARED)
        except GuestFailureError:
            return
        _require_said(reply, data, phase, may_transform)

    _go_on(check)


def test_no_configuration_or_description_is_read_that_was_not_said() -> None:
    """Whatever bytes a guest gives, only `{"ok": true}` configures it, and only version 1 describes it."""

    @_few(100)
    @given(REPLIES)
    def check(data: bytes) -> None:
        try:
            read_configured(data)
        except GuestFailureError:
            pass
        else:
            assert _said(data) == {"ok": True}
        try:
            phases = read_description(data.decode("utf-8", "surrogateescape"))
        except GuestFailureError:
            pass
        else:
            assert _said(data)["v"] == "1"
            assert set(_said(data)["phases"]) == set(phases)

    _go_on(check)


# --- addresses and lengths -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What the guest is told to do; `result` is None where it answers with exactly the reply."""

    reply: bytes
    alloc: int
    result: int | None
    grow: int

    def config(self) -> bytes:
        """The configuration that says it."""
        return guests.driven(self.reply, alloc=self.alloc, result=self.result, grow=self.grow)


_EDGES = (
    0, 1, 1024, 4096, DRIVEN_CONFIG - len(REQUEST), DRIVEN_CONFIG, DRIVEN_CONFIG + 4, DRIVEN_REPLY, 0x7FFF_FFFF,
    0x8000_0000, 0xFFFF_FFFF, _PAGES * _PAGE, _PAGES * _PAGE - len(REQUEST), _MOST_PAGES * _PAGE, _MOST_BYTES,
)  # fmt: skip
_NEAR = st.builds(lambda edge, by: (edge + by) % (1 << 32), st.sampled_from(_EDGES), st.integers(-20, 20))
_U32 = st.one_of(_NEAR, _NEAR, st.integers(0, 0xFFFF_FFFF))
_RESULTS = st.one_of(
    st.none(),
    st.none(),
    st.builds(lambda address, length: address << 32 | length, _U32, st.one_of(_U32, st.integers(0, 100))),
    st.integers(0, (1 << 64) - 1),
)
_GROWTH = st.one_of(st.just(0), st.integers(0, 20), _U32)
CASES = st.builds(Case, REPLIES, st.one_of(st.just(0), _U32), _RESULTS, _GROWTH)


def _expected(case: Case) -> tuple[str, bytes]:
    """The class of failure, or nothing and the bytes of the reply, by the ABI."""
    size = _PAGES * _PAGE
    memory = bytearray(_MOST_PAGES * _PAGE)
    for address, content in ((1024, b'{"verdict":"pass"}{"ok":true}'), (DRIVEN_CONFIG, case.config())):
        memory[address : address + len(content)] = content
    place = case.alloc or 2_097_152
    if place + len(REQUEST) > size:
        return "bad_output", b""
    memory[place : place + len(REQUEST)] = REQUEST
    result = int.from_bytes(memory[DRIVEN_CONFIG + 4 : DRIVEN_CONFIG + 12], "little")
    grow = int.from_bytes(memory[DRIVEN_CONFIG + 12 : DRIVEN_CONFIG + 16], "little")
    if size + grow * _PAGE <= _MOST_PAGES * _PAGE:
        size += grow * _PAGE
    address, length = result >> 32, result & 0xFFFF_FFFF
    if result == 0:
        return "guest_error", b""
    if length > _MOST_BYTES:
        return "too_large", b""
    if address + length > size:
        return "bad_output", b""
    return "", bytes(memory[address : address + length])


def test_every_address_and_length_is_taken_as_the_abi_says() -> None:
    """Wherever a guest lets its request be put and says that its reply lies, both ways give what the model gives."""

    @_few(150)
    @given(CASES)
    def check(case: Case) -> None:
        expected, content = _expected(case)
        for runner in guests.driven_runners(case.config()):
            call = guests.sandbox().call(time.monotonic_ns() + guests.PATIENT_MS * 1_000_000, guests.no_log)
            try:
                answer = runner.run("request", REQUEST, call)
            except GuestFailureError as failure:
                ended = failure.error_class.value, b""
            else:
                ended = "", answer
            assert ended == (expected, content)

    _go_on(check)


# --- modules with faults ---------------------------------------------------------------------------------------------

_SAYING = '(func (export "pdp_configure") (param i32 i32) (result i64) (i64.const 0))'
SEEDS = [
    answering(),
    answering(deny("no"), deny("no")),
    answering(transform(arguments={"a": 1}), transform(result=[1])),
    answering(more=_SAYING),
    module(DRIVEN),
    *(
        guests.binary(guests.hostile_guest(name))
        for name in (
            "recursion_indirect", "random_and_time_work", "wasi_hostile_ranges", "state_in_segments", "bulk_fill_fuel",
            "loop_start_fuel", "component_good", "component_passes_text_inside", "component_recursion",
        )
    ),
]  # fmt: skip


@st.composite
def _faulty(draw: st.DrawFn) -> bytes:
    """A module with a few bytes changed, cut out, put in or said twice; its first eight mostly stay."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0 if draw(st.integers(0, 9)) == 0 else 8, len(content)))
        end = draw(st.integers(start, min(len(content), start + 8)))
        kind = draw(st.integers(0, 3))
        if kind == 0 and start < len(content):
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1 and start < len(content):
            content[start] = draw(st.sampled_from([0, 1, 0x40, 0x60, 0x6F, 0x70, 0x7B, 0x7C, 0x7E, 0x7F, 0x80, 0xFF]))
        elif kind == 2:
            content[start:end] = draw(st.binary(max_size=6))
        else:
            content[start:start] = content[start:end] * draw(st.integers(1, 3))
    return bytes(content)


def test_modules_with_faults_load_or_are_refused() -> None:
    """A real module with faults in it is refused, or keeps the rules: nothing else is raised, and the process lives."""

    @_few(10)
    @given(_faulty())
    def check(content: bytes) -> None:
        try:
            guests.sandbox().inspect(content)
            loaded = guests.load(content, grants=("log", "now_ms", "random"), may_transform=True)
        except ModuleRefusedError:
            return
        for runner in guests.both_ways(loaded).values():
            call = guests.sandbox().call(time.monotonic_ns() + guests.PATIENT_MS * 1_000_000, guests.no_log)
            try:
                answer = runner.run("request", REQUEST, call)
                _require_said(read_reply(answer, "request", True, {}), answer, "request", True)
            except GuestFailureError:
                pass
        assert guests.outcome(guests.good().runner) == ("pass", "")

    _go_on(check)
