"""A module that nobody here wrote: the redactor of the package `pii-shield-wasi`, Go for WASI, six megabytes."""

from __future__ import annotations

from importlib.metadata import files
from typing import Any

import pytest

from pdp.sandbox.host import WASI, signature
from pdp.sandbox.model import CallLimits, ErrorClass, ModuleRefusedError, SandboxOptions
from pdp.sandbox.sandbox import Sandbox, Terms


@pytest.fixture(scope="module")
def content() -> bytes:
    """The module, as the package has it."""
    (path,) = (path for path in files("pii-shield-wasi") or [] if path.suffix == ".wasm")
    located: Any = path.locate()
    return bytes(located.read_bytes())


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    """One for all: compiling takes seconds."""
    return Sandbox(SandboxOptions())


def test_it_is_inspected(sandbox: Sandbox, content: bytes) -> None:
    """It compiles within the limits, and what it is, imports and exports is known without running it."""
    facts = sandbox.inspect(content)
    assert (facts.kind, facts.size_bytes) == ("core", len(content))
    assert {"allocate", "redact", "memory", "_initialize"} <= set(facts.exports)
    assert {name.partition(".")[0] for name in facts.imports} == {WASI}


def test_all_that_it_imports_is_there(sandbox: Sandbox, content: bytes) -> None:
    """The stand-ins for WASI have every function that a real Go module asks for."""
    facts = sandbox.inspect(content)
    wanted = [name.partition(".")[2] for name in facts.imports]
    assert len(wanted) > 10
    assert [name for name in wanted if signature(WASI, name, ()) is None] == []


def test_it_is_refused_for_what_it_is(sandbox: Sandbox, content: bytes) -> None:
    """It speaks another interface, so it is no interceptor, and the refusal says exactly that."""
    with pytest.raises(ModuleRefusedError) as caught:
        sandbox.load(content, Terms(("response",), CallLimits()), {}, lambda level, text: None)
    assert caught.value.error_class is ErrorClass.LOAD
    assert caught.value.reason == "it is no interceptor: it does not export `pdp_abi_v1`"
