"""Calls a component through wasmtime-py's public classes; what it costs there is the component's own start."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from wasmtime import Engine, Store, Trap, WasmtimeError
from wasmtime.component import Component, FuncType, Linker, ResultType, String, ValType

from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import Call, CallLimits, ErrorClass, GuestFailureError, ModuleRefusedError, Phase
from pdp.sandbox.reply import guest_error, read_description
from pdp.sandbox.ticker import Ticker, ticks
from pdp.sandbox.warm import WarmInstances

_DESCRIBE = "describe"
_HOOKS: dict[Phase, str] = {"request": "on-request", "response": "on-response"}
#: Components are made of several core modules, each with parts of its own. The limit of memory counts for each linear
#: memory by itself, so there are as few as the toolchains need.
_MAX_INSTANCES = 64
_MAX_MEMORIES = 4
_MAX_TABLES = 16
_MAX_WORDS = 400


def require_world(engine: Engine, component: Component) -> None:
    """Raise ModuleRefusedError unless a component imports nothing and exports the functions of the world.

    Their types count: wasmtime's C functions abort the process where a call gives a future or a stream, and take
    seconds to hand over a long list.
    """
    kind = component.type
    imports = sorted(kind.imports(engine))
    if imports:
        named = ", ".join(f"`{bounded(name, _MAX_WORDS)}`" for name in imports[:20])
        raise ModuleRefusedError(ErrorClass.LOAD, f"it imports {named}; a component may import nothing")
    exports = kind.exports(engine)
    missing = [name for name in (_DESCRIBE, *_HOOKS.values()) if name not in exports]
    if missing:
        raise ModuleRefusedError(ErrorClass.LOAD, f"it exports no `{missing[0]}`: is it of the world `interceptor`?")
    for name in (_DESCRIBE, *_HOOKS.values()):
        if not _is_of_world(name, exports[name].ty):
            raise ModuleRefusedError(ErrorClass.LOAD, f"its `{name}` has another type than in the world `interceptor`")


def _is_of_world(name: str, kind: object) -> bool:
    if not isinstance(kind, FuncType):
        return False
    parameters, result = [parameter for _, parameter in kind.params], kind.result
    if name == _DESCRIBE:
        return not parameters and _is_string(result)
    if len(parameters) != 1 or not _is_string(parameters[0]):
        return False
    return isinstance(result, ResultType) and _is_string(result.ok) and _is_string(result.err)


def _is_string(kind: ValType | None) -> bool:
    return isinstance(kind, String)


@dataclass(frozen=True, slots=True)
class ComponentProgram:
    """A component that is checked and linked."""

    engine: Engine
    component: Component
    linker: Linker
    limits: CallLimits
    max_table_elements: int
    max_payload_bytes: int


class _ComponentInstance:
    """One instance with a store of its own."""

    def __init__(self, program: ComponentProgram, ticks_left: int) -> None:
        limits = program.limits
        self._store = store = Store(program.engine)
        store.set_limits(limits.memory_bytes, program.max_table_elements, _MAX_INSTANCES, _MAX_TABLES, _MAX_MEMORIES)
        self.refuel(limits.fuel, ticks_left)
        try:
            self._instance = program.linker.instantiate(store, program.component)
        except (Trap, WasmtimeError) as error:
            failure = _failure(error, store, starting=True)
            store.close()
            raise failure from None

    def refuel(self, fuel: int, ticks_left: int) -> None:
        """Set the fuel that is left, and how many ticks it may still run."""
        self._store.set_fuel(fuel)
        self._store.set_epoch_deadline(ticks_left)

    def call(self, name: str, *arguments: str) -> Any:
        """Call an export. Raises GuestFailureError."""
        function = self._instance.get_func(self._store, name)
        if function is None:
            raise GuestFailureError(ErrorClass.LOAD, f"it exports no function `{name}`")
        try:
            return function(self._store, *arguments)
        except (Trap, WasmtimeError) as error:
            raise _failure(error, self._store, starting=False) from None
        except (TypeError, ValueError, UnicodeError) as error:
            # The function is of another type than the world says, or its text is not Unicode.
            raise GuestFailureError(ErrorClass.BAD_OUTPUT, bounded(f"`{name}`: {error}", _MAX_WORDS)) from None

    def close(self) -> None:
        """Free it."""
        self._store.close()


class ComponentRunner:
    """Calls one component. Safe to share between threads."""

    def __init__(self, program: ComponentProgram, ticker: Ticker, prewarm: int = 0) -> None:
        self._program = program
        self._ticker = ticker
        self._phases: frozenset[Phase] = frozenset()
        # Bound to parts, not to this object, which is to go when nobody uses it any more.
        self._warm = WarmInstances(prewarm, partial(_make_ahead, program, ticker), _ComponentInstance.close)

    @property
    def phases(self) -> frozenset[Phase]:
        """The phases that `describe` named when it was last asked."""
        return self._phases

    def describe(self, call: Call) -> None:
        """Ask the component what it is. Raises GuestFailureError."""
        text = self._call(_DESCRIBE, call)
        if type(text) is not str:
            raise GuestFailureError(ErrorClass.BAD_OUTPUT, "`describe` gives something else than text")
        self._phases = read_description(text)

    def run(self, phase: Phase, request: bytes, call: Call) -> bytes:
        """The bytes that the component answers with. Raises GuestFailureError, and nothing else."""
        result = self._call(_HOOKS[phase], call, request.decode())
        tag, text = getattr(result, "tag", None), getattr(result, "payload", None)
        if type(text) is not str or tag not in ("ok", "err"):
            raise GuestFailureError(ErrorClass.BAD_OUTPUT, f"`{_HOOKS[phase]}` gives no `result<string, string>`")
        if tag == "err":
            raise guest_error(text)
        answer = text.encode("utf-8", "surrogatepass")
        most = self._program.max_payload_bytes
        if len(answer) > most:
            raise GuestFailureError(ErrorClass.TOO_LARGE, f"its answer has {len(answer)} bytes; {most} are read")
        return answer

    def _call(self, name: str, call: Call, *arguments: str) -> Any:
        limits = self._program.limits
        remaining_ms = min(call.remaining_ms(), limits.timeout_ms)
        if remaining_ms <= 0:
            raise GuestFailureError(ErrorClass.DEADLINE, "its time was over before it began")
        with self._ticker:
            instance = self._warm.take()
            if instance is not None:
                instance.refuel(limits.fuel, ticks(remaining_ms))
            else:
                instance = _ComponentInstance(self._program, ticks(remaining_ms))
            try:
                return instance.call(name, *arguments)
            finally:
                instance.close()
                self._warm.replenish()


def _make_ahead(program: ComponentProgram, ticker: Ticker) -> _ComponentInstance:
    with ticker:
        return _ComponentInstance(program, ticks(program.limits.timeout_ms))


def _failure(error: Trap | WasmtimeError, store: Store, *, starting: bool) -> GuestFailureError:
    """The failure that an error amounts to; components give only text, so it is the text that tells."""
    # What comes before the last line are names that the component gave to its functions.
    last = bounded(str(error).strip().rpartition("\n")[2].strip(), _MAX_WORDS)
    if store.get_fuel() == 0 or "all fuel consumed" in last:
        return GuestFailureError(ErrorClass.FUEL, "it used up its fuel")
    if "wasm trap: interrupt" in last:
        return GuestFailureError(ErrorClass.DEADLINE, "its time was over")
    if starting and "wasm trap" not in last:
        memory = "memory minimum size" in last or "table minimum size" in last
        return GuestFailureError(ErrorClass.MEMORY if memory else ErrorClass.LOAD, f"it cannot be instantiated: {last}")
    return GuestFailureError(ErrorClass.TRAP, f"it trapped: {last}")
