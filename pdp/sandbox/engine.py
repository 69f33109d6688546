"""The two engines: one for core modules and one for components.

They differ because what suits the one makes the other fail: the pooling allocator, which nearly halves the cost of a
fresh instance, wants every module to fit one slot, and components are made of many modules.
"""

from __future__ import annotations

import hashlib
import mmap
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from wasmtime import Config, Engine
from wasmtime import _ffi as ffi

from pdp.sandbox.model import Kind, SandboxOptions

#: What a module may use, by the setters of `wasmtime.Config`. Compiled code depends on all of it.
_FEATURES: dict[str, object] = {
    "consume_fuel": True,
    "epoch_interruption": True,
    "cranelift_opt_level": "speed",
    # Answers must not depend on the processor.
    "cranelift_nan_canonicalization": True,
    "wasm_relaxed_simd": False,
    "wasm_threads": False,
    "wasm_memory64": False,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_exceptions": False,
    "wasm_custom_page_sizes": False,
    "wasm_wide_arithmetic": False,
    "wasm_stack_switching": False,
    # A hostile module must not get more than one core of the compiling process.
    "parallel_compilation": False,
}

#: Functions that the compiler makes to pass strings inside of a component have two memories; without them it aborts.
_KIND_FEATURES: dict[Kind, dict[str, object]] = {
    "core": {"wasm_multi_memory": False},
    "component": {"wasm_multi_memory": True, "wasm_component_model": True},
}
#: The package has no public setters for these. Nothing here waits for anything, so components need no tasks.
_NATIVE_FEATURES: dict[Kind, dict[str, bool]] = {
    "core": {},
    "component": {"wasm_component_model_async": False, "concurrency_support": False},
}

#: Behind a linear memory's address space, which is as much as it may ever grow, so that it never moves.
_GUARD_BYTES = 64 * 1024

#: Bytes of a slot that are cleared by writing zeros; giving them back to the system costs more than that.
_KEEP_RESIDENT_BYTES = 1024 * 1024
_KEEP_TABLE_BYTES = 64 * 1024
#: Linear memories that stay warm for the module that used them last.
_WARM_SLOTS = 64
_MAX_INSTANCE_BYTES = 1024 * 1024
_TABLE_ELEMENT_BYTES = 16
#: Address space that has to be left beside the pool: for modules, threads and everything else.
_ROOM_FOR_MORE_BYTES = 1024 * 1024 * 1024


class _ImmortalEngine(Engine):
    """An engine that is never freed: a timer may hold its address when the interpreter shuts down."""

    def _delete(self, ptr: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What compiled code depends on; plain values, since the compiling process is given them as text."""

    kind: Kind
    max_stack_bytes: int
    memory_bytes: int

    def fingerprint(self) -> str:
        """Equal for equal settings, wasmtime and machine: code compiled under one fits every other."""
        numbers = (self.max_stack_bytes, self.memory_bytes, _GUARD_BYTES)
        machine = (platform.machine(), platform.system())
        features = sorted({**_FEATURES, **_KIND_FEATURES[self.kind], **_NATIVE_FEATURES[self.kind]}.items())
        parts = (self.kind, numbers, features, wasmtime_version(), machine)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def wasmtime_version() -> str:
    """The version of wasmtime that is installed."""
    return version("wasmtime")


def settings_for(kind: Kind, options: SandboxOptions) -> EngineSettings:
    """The settings of the engine for modules of this kind."""
    return EngineSettings(kind, options.max_stack_bytes, options.max_memory_bytes)


def compiling_engine(settings: EngineSettings) -> Engine:
    """An engine that compiles, and never runs anything."""
    return Engine(_config(settings))


def running_engine(settings: EngineSettings, options: SandboxOptions) -> Engine:
    """An engine that runs code compiled with the same settings. It lives as long as the process."""
    config = _config(settings)
    # Without the pool a call takes a little longer.
    if settings.kind == "core" and _has_room_for_pool(options):
        _use_pooling_allocator(config, options)
    return _ImmortalEngine(config)


def _config(settings: EngineSettings) -> Config:
    config = Config()
    for name, value in {**_FEATURES, **_KIND_FEATURES[settings.kind]}.items():
        # A name that is no setter would become an attribute without a meaning.
        if not isinstance(getattr(Config, name, None), property):
            raise TypeError(f"wasmtime has no setting `{name}`")
        setattr(config, name, value)
    for name, enabled in _NATIVE_FEATURES[settings.kind].items():
        getattr(ffi, f"wasmtime_config_{name}_set")(config.ptr(), enabled)
    config.max_wasm_stack = settings.max_stack_bytes
    if settings.kind == "core":
        config.memory_reservation = settings.memory_bytes
        config.memory_guard_size = _GUARD_BYTES
        config.memory_may_move = False
    return config


def _has_room_for_pool(options: SandboxOptions) -> bool:
    """Whether there is so much address space, as there may not be under `ulimit -v`: wasmtime would abort."""
    each = options.max_memory_bytes + _GUARD_BYTES + options.max_table_elements * _TABLE_ELEMENT_BYTES
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        mmap.mmap(-1, options.max_instances * each + _ROOM_FOR_MORE_BYTES, flags=flags, prot=0).close()
    except (OSError, OverflowError):
        return False
    return True


def _use_pooling_allocator(config: Config, options: SandboxOptions) -> None:
    """The package has no public setter for it."""
    pooling = ffi.wasmtime_pooling_allocation_config_new()
    for name, value in {
        "total_core_instances": options.max_instances,
        "total_memories": options.max_instances,
        "total_tables": options.max_instances,
        # Stacks are for calls that can be suspended; none is.
        "total_stacks": 1,
        "max_memories_per_module": 1,
        "max_tables_per_module": 1,
        "table_elements": options.max_table_elements,
        "max_memory_size": options.max_memory_bytes,
        "max_core_instance_size": _MAX_INSTANCE_BYTES,
        "max_unused_warm_slots": _WARM_SLOTS,
        "linear_memory_keep_resident": _KEEP_RESIDENT_BYTES,
        "table_keep_resident": _KEEP_TABLE_BYTES,
    }.items():
        getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pooling, value)
    ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pooling)
    ffi.wasmtime_pooling_allocation_config_delete(pooling)
