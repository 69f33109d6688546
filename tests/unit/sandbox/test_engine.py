"""The settings of the engines."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import wasmtime
from wasmtime import _ffi as ffi

from pdp.sandbox import engine, instances
from pdp.sandbox.model import Kind, SandboxOptions
from tests.waiting import LIMIT_SECONDS

OPTIONS = SandboxOptions()
KINDS: tuple[Kind, ...] = ("core", "component")


@pytest.mark.parametrize("name", sorted({*engine._FEATURES, *engine._KIND_FEATURES["core"]} | {"wasm_component_model"}))
def test_every_feature_is_a_setter(name: str) -> None:
    """Every feature that is set is one that wasmtime-py knows: an unknown name would be an attribute without effect."""
    setter = getattr(wasmtime.Config, name)
    assert isinstance(setter, property)
    assert setter.fset is not None


@pytest.mark.parametrize("name", engine._NATIVE_FEATURES["component"])
def test_every_native_feature_is_a_function(name: str) -> None:
    """Every feature that is set past wasmtime-py is a function of wasmtime's."""
    assert callable(getattr(ffi, f"wasmtime_config_{name}_set"))


def test_a_feature_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt feature does not pass unnoticed."""
    for name in ("wasm_thread", "ptr"):
        monkeypatch.setattr(engine, "_FEATURES", {name: False})
        with pytest.raises(TypeError, match=name):
            engine.compiling_engine(engine.settings_for("core", OPTIONS))


@pytest.mark.parametrize("kind", KINDS)
def test_fingerprint_changes_with_each_setting(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other limit, feature, version or machine gives another fingerprint, and equal ones the same."""
    settings = engine.settings_for(kind, OPTIONS)
    seen = {settings.fingerprint()}
    assert engine.settings_for(kind, SandboxOptions()).fingerprint() in seen

    def require_new(changed: engine.EngineSettings = settings) -> None:
        assert changed.fingerprint() not in seen
        seen.add(changed.fingerprint())

    require_new(dataclasses.replace(settings, max_stack_bytes=1))
    require_new(dataclasses.replace(settings, memory_bytes=1))
    require_new(dataclasses.replace(settings, kind="component" if kind == "core" else "core"))
    tables: tuple[dict[str, Any], ...] = (
        engine._FEATURES,
        engine._KIND_FEATURES[kind],
        engine._NATIVE_FEATURES[kind],
    )
    for table in tables:
        for name in table:
            with monkeypatch.context() as patch:
                patch.setitem(table, name, "other")
                require_new()
    for target, value in (("wasmtime_version", lambda: "0"), ("_GUARD_BYTES", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(engine, target, value)
            require_new()
    for function in ("machine", "system"):
        with monkeypatch.context() as patch:
            patch.setattr(platform, function, lambda: "other")
            require_new()
    assert settings.fingerprint() in seen


@pytest.mark.parametrize(
    "wat",
    [
        '(module (memory (export "memory") 1 2 shared))',
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (tag))",
        "(module (type (struct (field i32))))",
        "(module (memory 1 (pagesize 1)))",
        "(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1))))",
        "(module (func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0)))))",
        "(module (type (func)) (type (cont 0)))",
    ],
)
def test_what_core_modules_may_not_use(wat: str) -> None:
    """What the ABI says is not available does not compile."""
    compiling = engine.compiling_engine(engine.settings_for("core", OPTIONS))
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module(compiling, wat)


@pytest.mark.parametrize(
    "wat",
    [
        "(module (func (result i32 i32) (i32.const 1) (i32.const 2)))",
        "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
        "(module (table 1 externref) (func (param externref) (table.set (i32.const 0) (local.get 0))))",
        "(module (func (param v128) (result v128) (i32x4.add (local.get 0) (local.get 0))))",
        "(module (func (param i32) (result i32) (i32.extend8_s (local.get 0))))",
        "(module (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0))))",
        "(module (global (mut i32) (i32.const 0)))",
        "(module (func $f (return_call $f)))",
    ],
)
def test_what_core_modules_may_use(wat: str) -> None:
    """What the ABI says is available compiles."""
    wasmtime.Module(engine.compiling_engine(engine.settings_for("core", OPTIONS)), wat)


NARROW = """
import resource, sys, time
from pdp.sandbox.model import CallLimits, SandboxOptions
from pdp.sandbox.sandbox import Sandbox, Terms
from tests.modules import answering
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
sandbox = Sandbox(SandboxOptions())
runner = sandbox.load(answering(), Terms(("request",), CallLimits(timeout_ms=20_000)), {}, print).runner
print(runner.run("request", b"{}", sandbox.call(time.monotonic_ns() + 20 * 10**9, print)).decode())
"""


@pytest.mark.parametrize("gibibytes", [4, 32.5, 33.5])
def test_engine_without_address_space_runs_all_the_same(gibibytes: float) -> None:
    """Where there is no address space for the pool of instances, as under `ulimit -v`, calls are served without it."""
    command = [sys.executable, "-c", NARROW, str(int(gibibytes * 2**30))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, '{"verdict":"pass"}'), done.stderr


def test_wasmtime_is_the_version_that_was_looked_at() -> None:
    """The raw calls, and the list of features, were made for exactly this version of wasmtime.

    Another one is used through its public classes only. Whoever upgrades reads wasmtime's release notes for new
    features that are on by default, runs the tests of both ways and the fuzzer, and changes the version here and there.
    """
    assert version("wasmtime") == instances._RAW_VERSION == "50.0.1"
    assert instances.instance_type() is instances.RawInstance


def test_another_version_is_used_through_its_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a version of wasmtime that nobody looked at, instances are made through its public classes."""
    monkeypatch.setattr(instances, "wasmtime_version", lambda: "51.0.0")
    assert instances.instance_type() is instances.PublicInstance
