"""Core modules: what they must import and export, and the program that is made of one and a binding's limits."""

from __future__ import annotations

import ctypes
import difflib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from wasmtime import Engine, FuncType, InstancePre, Linker, MemoryType, Module, ValType, WasmtimeError

from pdp.sandbox import host
from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import CallLimits, ErrorClass, Grant, ModuleRefusedError, Phase

ALLOC: Final = "pdp_alloc"
INITIALIZE: Final = "_initialize"
CONFIGURE: Final = "pdp_configure"
MEMORY: Final = "memory"
HOOKS: Final[dict[Phase, str]] = {"request": "pdp_on_request", "response": "pdp_on_response"}

_MARKER: Final = "pdp_abi_v1"
_MARKER_PREFIX = "pdp_abi_v"
#: Parameters and results; `i` is i32 and `I` is i64.
_EXPORTS: dict[str, tuple[str, str]] = {
    _MARKER: ("", ""),
    ALLOC: ("i", "i"),
    INITIALIZE: ("", ""),
    CONFIGURE: ("ii", "I"),
    "pdp_free": ("ii", ""),
    **dict.fromkeys(HOOKS.values(), ("ii", "I")),
}
_LETTERS = {str(ValType.i32()): "i", str(ValType.i64()): "I", str(ValType.f32()): "f", str(ValType.f64()): "F"}
_WORDS = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "?": "another type"}
_START_SECTION = 8
GRANTS: Final[tuple[Grant, ...]] = ("log", "now_ms", "random")
#: Imports that one refusal names, and bytes of a name.
_MAX_NAMED = 20
_MAX_NAME_BYTES = 100


@dataclass(frozen=True, slots=True)
class CoreProgram:
    """A module that is linked and checked. `config` is JSON text, an object, for `pdp_configure`."""

    engine: Engine
    linked: InstancePre
    phases: frozenset[Phase]
    limits: CallLimits
    max_table_elements: int
    max_payload_bytes: int
    config: bytes
    has_initialize: bool
    has_configure: bool
    #: Whether instantiating it runs code of its own.
    has_start: bool
    #: Whether it can call the host.
    has_imports: bool
    #: Where the C library has these two; they live as long as the objects above.
    engine_address: int = field(init=False)
    linked_address: int = field(init=False)

    def __post_init__(self) -> None:
        for name, owner in (("engine_address", self.engine), ("linked_address", self.linked)):
            object.__setattr__(self, name, ctypes.cast(owner.ptr(), ctypes.c_void_p).value)


def core_phases(module: Module) -> frozenset[Phase]:
    """The phases that a module has a hook for; raises ModuleRefusedError unless its exports are those of the ABI."""
    types = {export.name: export.type for export in module.exports}
    if _MARKER not in types:
        raise ModuleRefusedError(ErrorClass.LOAD, _other_abi(types))
    if not isinstance(types.get(MEMORY), MemoryType):
        raise ModuleRefusedError(ErrorClass.LOAD, "it exports no memory called `memory`")
    for name, (parameters, results) in _EXPORTS.items():
        if name in types:
            _require_type(f"it exports `{name}` as", types[name], parameters, results)
    _require_known(types)
    if ALLOC not in types:
        raise ModuleRefusedError(ErrorClass.LOAD, f"it exports no `{ALLOC}`")
    phases: frozenset[Phase] = frozenset(phase for phase, name in HOOKS.items() if name in types)
    if not phases:
        raise ModuleRefusedError(ErrorClass.LOAD, "it exports neither `pdp_on_request` nor `pdp_on_response`")
    return phases


def _require_known(names: Collection[str]) -> None:
    """A misspelt hook would never be called, and the guard that it is would be gone without a word."""
    for name in sorted(names):
        if name.startswith("pdp_") and name not in _EXPORTS and not name.startswith(_MARKER_PREFIX):
            close = difflib.get_close_matches(name[:_MAX_NAME_BYTES], _EXPORTS, 1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            reason = f"it exports `{name[:_MAX_NAME_BYTES]}`, which the ABI does not know{hint}"
            raise ModuleRefusedError(ErrorClass.LOAD, reason)


def link_core(engine: Engine, module: Module, grants: Collection[Grant]) -> InstancePre:
    """The module with its imports satisfied; raises ModuleRefusedError naming those that it may not have."""
    linker = Linker(engine)
    refused: list[str] = []
    defined: set[tuple[str, str]] = set()
    for wanted in module.imports:
        name = wanted.name or ""
        known = host.signature(wanted.module, name, grants)
        if known is None:
            refused.append(_refused_import(wanted.module, name))
            continue
        _require_type(f"it imports `{wanted.module}.{name}` as", wanted.type, *known)
        if (wanted.module, name) not in defined:
            defined.add((wanted.module, name))
            host.define(linker, wanted.module, name)
    if refused:
        raise ModuleRefusedError(ErrorClass.LOAD, "it imports " + "; ".join(refused[:_MAX_NAMED]))
    try:
        return linker.instantiate_pre(module)
    except WasmtimeError as error:
        raise ModuleRefusedError(ErrorClass.LOAD, f"it cannot be linked: {error}") from None


def ask_types(module: Module) -> None:
    """Ask for every type that `core_phases` and `link_core` ask for.

    wasmtime's C functions abort where a type is one they have no name for, a vector say; so the compiling process asks
    first. A module that comes out of it can be asked again.
    """
    asked = [export.type for export in module.exports if export.name in _EXPORTS]
    asked += [wanted.type for wanted in module.imports if host.signature(wanted.module, wanted.name or "", GRANTS)]
    for kind in asked:
        if isinstance(kind, FuncType):
            list(map(str, (*kind.params, *kind.results)))


def has_start_section(content: bytes) -> bool:
    """Whether a binary module that compiles has a `start` function."""
    at = 8
    while at < len(content):
        section = content[at]
        size, at = _leb128(content, at + 1)
        if section == _START_SECTION:
            return True
        at += size
    return False


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at


def _other_abi(exports: Collection[str]) -> str:
    others = sorted(name for name in exports if name.startswith(_MARKER_PREFIX))
    if others:
        return f"it is for another version of the ABI: it exports `{others[0]}` and not `{_MARKER}`"
    return f"it is no interceptor: it does not export `{_MARKER}`"


def _refused_import(module: str, name: str) -> str:
    if host.signature(module, name, GRANTS) is not None:
        return f'`{module}.{name}`, which the binding does not grant; add `grants = ["{name}"]`'
    return f"`{bounded(module, _MAX_NAME_BYTES)}.{bounded(name, _MAX_NAME_BYTES)}`, which the host does not have"


def _require_type(what: str, found: object, parameters: str, results: str) -> None:
    wanted = _shown(parameters, results)
    if not isinstance(found, FuncType):
        raise ModuleRefusedError(ErrorClass.LOAD, f"{what} something that is no function, not as `{wanted}`")
    has = tuple("".join(_LETTERS.get(str(kind), "?") for kind in kinds) for kinds in (found.params, found.results))
    if has != (parameters, results):
        raise ModuleRefusedError(ErrorClass.LOAD, f"{what} `{_shown(*has)}`, not as `{wanted}`")


def _shown(parameters: str, results: str) -> str:
    return " -> ".join(f"({', '.join(_WORDS[letter] for letter in letters)})" for letters in (parameters, results))
