"""Hostile bytes: what is no module, half a module, or a module with a fault in it never harms the process."""

from __future__ import annotations

import random

import pytest
from wasmtime import wat2wasm

from pdp.sandbox.core_runner import CoreRunner
from pdp.sandbox.model import ErrorClass, ModuleRefusedError, SandboxOptions
from pdp.sandbox.sandbox import Sandbox
from tests.component.sandbox import guests
from tests.modules import answering

CORE = answering()
COMPONENT = guests.binary(guests.hostile_guest("component_good"))
HEADER = b"\0asm\x01\0\0\0"
COMPONENT_HEADER = b"\0asm\x0d\0\x01\0"

CLASSES = {error_class.value for error_class in ErrorClass}


def _leb128(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + _leb128(len(content)) + content


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"\0", "no WebAssembly"),
        (b"\0asm", "no kind of WebAssembly"),
        (b"\0asm\x01\0\0", "no kind of WebAssembly"),
        (b"\0asm\x02\0\0\0", "its version is `02 00 00 00`"),
        (b"\0asm\x0d\0\0\0", "its version is `0d 00 00 00`"),
        (b"\0asm\x0a\0\x01\0", "its version is `0a 00 01 00`"),
        (b"\0ASM\x01\0\0\0", "no WebAssembly"),
        (b"\xef\xbb\xbf" + CORE, "no WebAssembly"),
        (b" " + CORE, "no WebAssembly"),
        (b"(module)", "no WebAssembly"),
        (b'(module (memory (export "memory") 1))', "no WebAssembly"),
        (b"\x7fELF\x02\x01\x01\0" + bytes(100), "no WebAssembly"),
        (b"#!/bin/sh\necho hello\n", "no WebAssembly"),
        (b"\x1f\x8b\x08\0" + bytes(50), "no WebAssembly"),
        (bytes(1000), "no WebAssembly"),
        (HEADER, "it is no interceptor"),
        (COMPONENT_HEADER, "it exports no `describe`"),
        (HEADER + b"\xff" * 100, "does not compile"),
        (HEADER + bytes(100), "does not compile"),
        (HEADER + b'(module (memory (export "memory") 1))', "does not compile"),
        (COMPONENT_HEADER + b"\xff" * 100, "does not compile"),
        (COMPONENT_HEADER + CORE[8:], "does not compile"),
        (HEADER + COMPONENT[8:], "does not compile"),
        (HEADER + b"\x01\xff\xff\xff\xff\x0f", "does not compile"),
        (HEADER + _section(1, b"\xff\xff\xff\xff\x0f"), "does not compile"),
        (HEADER + _section(3, _leb128(2**32 - 1)), "does not compile"),
        (CORE + CORE[8:], "does not compile"),
        (CORE + b"\0", "does not compile"),
    ],
)
def test_what_is_no_interceptor_is_refused(content: bytes, says: str) -> None:
    """Bytes that are no interceptor are refused as `load`, with a reason that says what is wrong."""
    error_class, reason = guests.refusal(content)
    assert (error_class, says in reason) == ("load", True), reason


@pytest.mark.parametrize("content", [CORE, COMPONENT], ids=["core", "component"])
def test_half_a_module_is_refused(content: bytes) -> None:
    """A module that is cut off anywhere is refused, and the process lives."""
    step = max(len(content) // 9, 1)
    for length in range(0, len(content), step):
        assert guests.refusal(content[:length])[0] == "load", length


def _flipped(content: bytes, seed: int) -> bytes:
    generator = random.Random(seed)
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 8))):
        changed[generator.randrange(8, len(content))] ^= 1 << generator.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("content", [CORE, COMPONENT], ids=["core", "component"])
def test_module_with_a_fault_is_refused_or_keeps_the_rules(content: bytes) -> None:
    """A module with flipped bits is refused, or its calls end with a verdict or a class of failure like any other's."""
    for seed in range(10):
        changed = _flipped(content, seed)
        try:
            loaded = guests.load(changed)
        except ModuleRefusedError:
            continue
        for runner in guests.both_ways(loaded).values():
            assert guests.outcome(runner)[0] in CLASSES | {"pass", "deny"}
    assert guests.outcome(guests.good().runner) == ("pass", "")


def test_too_large_modules_are_not_compiled() -> None:
    """A module over its kind's limit is refused as `too_large` before anything is done with it."""
    sandbox = Sandbox(SandboxOptions(max_core_bytes=len(CORE), max_component_bytes=len(COMPONENT)))
    for content in (CORE, COMPONENT):
        assert sandbox.inspect(content).size_bytes == len(content)
        with pytest.raises(ModuleRefusedError) as refused:
            sandbox.inspect(content + _section(0, b"\x01x"))
        assert refused.value.error_class is ErrorClass.TOO_LARGE


def test_64_mib_of_data_are_too_large() -> None:
    """A module with 64 MiB of data in it is over the limit."""
    assert guests.refusal(HEADER + _section(11, b"\x01\x01" + _leb128(64 << 20) + bytes(64 << 20)))[0] == "too_large"


def test_custom_sections_are_ignored() -> None:
    """Custom sections change nothing, whatever they hold: names, or what looks like a start function."""
    for name in (b"name", b"producers", b"target_features", b"\xf0\x9f\x98\x80", b"x" * 1000):
        custom = _section(0, _leb128(len(name)) + name + b"\xff\x08\x00" * 5)
        loaded = guests.load(HEADER + custom + CORE[8:] + custom)
        assert guests.outcome(loaded.runner) == ("pass", "")
        assert isinstance(loaded.runner, CoreRunner)
        assert not loaded.runner._program.has_start


def test_names_in_a_refusal_are_bounded() -> None:
    """A refusal is of bounded length and safe to show, whatever names the module has in it."""
    name = "\\1b]0;" + "n" * 90_000
    imports = "".join(f'(import "{name}" "{name}{number}" (func))' for number in range(30))
    for wat in (f"(module {imports})", f'(module (func (export "pdp_abi_v9{name}")))'):
        error_class, reason = guests.refusal(bytes(wat2wasm(f"{wat[:-1]} (memory 1))")))
        assert error_class == "load"
        assert len(reason.encode()) <= 4_000
        assert reason.replace("\n", "").isprintable()


def test_facts_name_imports_and_exports() -> None:
    """What is told of a module without running it: kind, size, digest, imports and exports."""
    sandbox = guests.sandbox()
    facts = sandbox.inspect(guests.binary(guests.hostile_guest("recursion_with_host_calls")))
    assert (facts.kind, facts.imports) == ("core", ("pdp.log", "wasi_snapshot_preview1.fd_write"))
    assert facts.exports == ("memory", "pdp_abi_v1", "pdp_alloc", "pdp_on_request")
    facts = sandbox.inspect(COMPONENT)
    assert (facts.kind, facts.imports, facts.size_bytes) == ("component", (), len(COMPONENT))
    assert facts.exports == ("describe", "on-request", "on-response")
