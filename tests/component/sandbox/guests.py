"""Guests for the sandbox: the hostile ones of `tests/guests/hostile`, good ones, and what is called on them.

A hostile guest begins with what is expected of it, each on a line of its own:

    ;; load: <class, or ok>; call: <class, verdict, or ->
    ;; with: <limits that differ: fuel, memory_mib, timeout_ms; call_ms is the time that the caller gives>
    ;; grants: <names, or none>
    ;; says: <a part of the reason>

A trial call's request is shorter than 1,000 bytes, and `REQUEST` is longer: by that a guest tells them apart.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import cast

from wasmtime import wat2wasm

from pdp.sandbox.core_runner import CoreRunner
from pdp.sandbox.instances import PublicInstance, RawInstance
from pdp.sandbox.model import CallLimits, Grant, GuestFailureError, ModuleRefusedError, Runner, SandboxOptions
from pdp.sandbox.reply import read_reply
from pdp.sandbox.sandbox import Loaded, Sandbox, Terms
from tests.modules import answering

HOSTILE = Path(__file__).resolve().parents[2] / "guests" / "hostile"

#: For what must not depend on how busy the machine is.
PATIENT_MS = 20_000
PATIENT = CallLimits(timeout_ms=PATIENT_MS)
#: Fuel for hours.
FOREVER = CallLimits(timeout_ms=PATIENT_MS, fuel=10**15)
LITTLE_MEMORY = CallLimits(timeout_ms=PATIENT_MS, memory_bytes=1 << 20)

REQUEST = b'{"v":1,"phase":"request","request_id":"' + b"r" * 1_100 + b'"}'

#: A class of failure or a verdict, and the reason that was given with it.
Outcome = tuple[str, str]

Log = Callable[[int, str], None]

_MIB = 1024 * 1024
_FIRST_LINE = re.compile(r";; load: (\w+); call: (-|\w+)")


@dataclass(frozen=True)
class Guest:
    """A guest and what is expected of it."""

    name: str
    load: str
    call: str
    wat: str = field(repr=False)
    says: str = ""
    limits: CallLimits = PATIENT
    call_ms: int = PATIENT_MS
    grants: tuple[Grant, ...] = ("log",)

    def terms(self) -> Terms:
        """The binding that it is loaded with."""
        return Terms(("request",), self.limits, self.grants)


def no_log(_level: int, _text: str) -> None:
    """Log nothing."""


@cache
def sandbox() -> Sandbox:
    """The sandbox of this process; its engines live as long as that."""
    return Sandbox(SandboxOptions())


@cache
def good() -> Loaded:
    """A module that passes everything, loaded."""
    return load(answering())


def hostile() -> list[Guest]:
    """All guests of the directory."""
    return [_read(path) for path in sorted(HOSTILE.glob("*.wat"))]


def hostile_guest(name: str) -> Guest:
    """One of them."""
    return _read(HOSTILE / f"{name}.wat")


def load(
    module: bytes,
    *,
    limits: CallLimits = PATIENT,
    grants: tuple[Grant, ...] = ("log",),
    may_transform: bool = False,
    config: bytes = b"{}",
    log: Log = no_log,
) -> Loaded:
    """A module, loaded for requests."""
    return sandbox().load(module, Terms(("request",), limits, grants, may_transform, config), {}, log)


def outcome(runner: Runner, *, call_ms: int = PATIENT_MS, request: bytes = REQUEST, log: Log = no_log) -> Outcome:
    """What a call comes to. Every exception but the failure that a runner may raise is let through."""
    call = sandbox().call(time.monotonic_ns() + call_ms * 1_000_000, log)
    try:
        reply = read_reply(runner.run("request", request, call), "request", False, {})
    except GuestFailureError as failure:
        return failure.error_class.value, failure.reason
    return reply.verdict, reply.reason


def refusal(module: bytes, *, grants: tuple[Grant, ...] = ("log",)) -> Outcome:
    """The class and the reason with which a module is refused; `("ok", "")` where it is not."""
    try:
        load(module, grants=grants)
    except ModuleRefusedError as refused:
        return refused.error_class.value, refused.reason
    return "ok", ""


def both_ways(loaded: Loaded) -> dict[str, Runner]:
    """A loaded module, called through wasmtime's C functions and through its classes; components have one way."""
    runner = loaded.runner
    if not isinstance(runner, CoreRunner):
        return {"classes": runner}
    return {
        "functions": CoreRunner(runner._program, runner._ticker, make=RawInstance),
        "classes": CoreRunner(runner._program, runner._ticker, make=PublicInstance),
    }


def _read(path: Path) -> Guest:
    wat = path.read_text()
    expected = _FIRST_LINE.fullmatch(wat.partition("\n")[0])
    assert expected is not None, f"{path.name} does not begin with what is expected of it"
    settings = dict(re.findall(r"^;; (with|grants|says): (.+)$", wat, re.MULTILINE))
    numbers = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", settings.get("with", ""))}
    granted = settings.get("grants", "log").split()
    return Guest(
        path.stem,
        load=expected[1],
        call=expected[2],
        wat=wat,
        says=settings.get("says", ""),
        limits=CallLimits(
            numbers.pop("timeout_ms", PATIENT_MS),
            numbers.pop("memory_mib", 16) * _MIB,
            numbers.pop("fuel", 50_000_000),
        ),
        call_ms=numbers.pop("call_ms", PATIENT_MS),
        grants=() if granted == ["none"] else cast("tuple[Grant, ...]", tuple(granted)),
    )


def binary(guest: Guest) -> bytes:
    """The guest's module."""
    return bytes(wat2wasm(guest.wat))


#: Says what its configuration tells it to. That begins with 16 bytes: where the request is to lie (0: in a good place),
#: the result of the hook, and by how many pages the memory grows first. Behind them lies what may be the reply.
DRIVEN = """(module
  (memory (export "memory") 48 64)
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 1024) "{\\22verdict\\22:\\22pass\\22}{\\22ok\\22:true}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.eq (global.get $calls) (i32.const 1)) (then (return (i32.const 65536))))
    (if (i32.lt_u (local.get $len) (i32.const 1000)) (then (return (i32.const 4096))))
    (if (result i32) (i32.load (i32.const 65536))
      (then (i32.load (i32.const 65536)))
      (else (i32.const 2097152))))
  (func (export "pdp_configure") (param $ptr i32) (param $len i32) (result i64) (i64.const 0x4120000000b))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.lt_u (local.get $len) (i32.const 1000)) (then (return (i64.const 0x40000000012))))
    (drop (memory.grow (i32.load (i32.const 65548))))
    (i64.load (i32.const 65540))))"""

#: Where its configuration lies in its memory, and where the reply in that begins.
DRIVEN_CONFIG = 65_536
DRIVEN_REPLY = DRIVEN_CONFIG + 16


@cache
def _driven_module() -> CoreRunner:
    runner = load(bytes(wat2wasm(DRIVEN)), config=driven(b'{"verdict":"pass"}')).runner
    assert isinstance(runner, CoreRunner)
    return runner


def driven_runners(config: bytes, limits: CallLimits = PATIENT) -> list[CoreRunner]:
    """Runners of `DRIVEN` with a configuration, one for each way; it is loaded once for all."""
    loaded = _driven_module()
    program = replace(loaded._program, config=config, limits=limits)
    return [CoreRunner(program, loaded._ticker, make=way) for way in (RawInstance, PublicInstance)]


def driven(reply: bytes, *, alloc: int = 0, result: int | None = None, grow: int = 0) -> bytes:
    """A configuration of `DRIVEN`. Without a result, the hook answers with exactly the reply."""
    if result is None:
        result = DRIVEN_REPLY << 32 | len(reply)
    return alloc.to_bytes(4, "little") + result.to_bytes(8, "little") + grow.to_bytes(4, "little") + reply
