"""Calls a component through wasmtime-py's public classes; what it costs there is the component's own start."""

from __future__ import annotations

from typing import Any

from wasmtime import Engine, Store, Trap, WasmtimeError
from wasmtime.component import Component, Linker

from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import Call, CallLimits, ErrorClass, GuestFailureError, ModuleRefusedError, Phase
from pdp.sandbox.reply import guest_error, read_description
from pdp.sandbox.ticker import Ticker, ticks

_DESCRIBE = "describe"
_HOOKS: dict[Phase, str] = {"request": "on-request", "response": "on-response"}
#: Components are made of several core modules, each with parts of its own.
_MAX_INSTANCES = 64
_MAX_MEMORIES = 16
_MAX_TABLES = 64
_MAX_WORDS = 400


def require_world(engine: Engine, component: Component) -> None:
    """Raise ModuleRefusedError unless a component imports nothing and exports the functions of the world."""
    kind = component.type
    imports = sorted(kind.imports(engine))
    if imports:
        named = ", ".join(f"`{bounded(name, _MAX_WORDS)}`" for name in imports[:20])
        raise ModuleRefusedError(ErrorClass.LOAD, f"it imports {named}; a component may import nothing")
    exports = kind.exports(engine)
    missing = [name for name in (_DESCRIBE, *_HOOKS.values()) if name not in exports]
    if missing:
        raise ModuleRefusedError(ErrorClass.LOAD, f"it exports no `{missing[0]}`: is it of the world `interceptor`?")


class ComponentRunner:
    """Calls one component. Safe to share between threads."""

    def __init__(
        self, engine: Engine, component: Component, limits: CallLimits, max_table_elements: int, max_payload_bytes: int,
        ticker: Ticker,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._component = component
        self._linker = Linker(engine)
        self._limits = limits
        self._max_table_elements = max_table_elements
        self._max_payload_bytes = max_payload_bytes
        self._ticker = ticker
        self._phases: frozenset[Phase] = frozenset()

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
        if len(answer) > self._max_payload_bytes:
            reason = f"its answer has {len(answer)} bytes; {self._max_payload_bytes} are read"
            raise GuestFailureError(ErrorClass.TOO_LARGE, reason)
        return answer

    def _call(self, name: str, call: Call, *arguments: str) -> Any:
        remaining_ms = min(call.remaining_ms(), self._limits.timeout_ms)
        if remaining_ms <= 0:
            raise GuestFailureError(ErrorClass.DEADLINE, "its time was over before it began")
        with self._ticker:
            store = Store(self._engine)
            try:
                return self._call_in(store, name, ticks(remaining_ms), arguments)
            finally:
                store.close()

    def _call_in(self, store: Store, name: str, ticks_left: int, arguments: tuple[str, ...]) -> Any:
        limits = self._limits
        store.set_limits(limits.memory_bytes, self._max_table_elements, _MAX_INSTANCES, _MAX_TABLES, _MAX_MEMORIES)
        store.set_fuel(limits.fuel)
        store.set_epoch_deadline(ticks_left)
        try:
            function = self._linker.instantiate(store, self._component).get_func(store, name)
        except (Trap, WasmtimeError) as error:
            raise _failure(error, store, starting=True) from None
        if function is None:
            raise GuestFailureError(ErrorClass.LOAD, f"it exports no function `{name}`")
        try:
            return function(store, *arguments)
        except (Trap, WasmtimeError) as error:
            raise _failure(error, store, starting=False) from None
        except (TypeError, ValueError, UnicodeError) as error:
            # The function is of another type than the world says, or its text is not Unicode.
            raise GuestFailureError(ErrorClass.BAD_OUTPUT, bounded(f"`{name}`: {error}", _MAX_WORDS)) from None


def _failure(error: Trap | WasmtimeError, store: Store, *, starting: bool) -> GuestFailureError:
    """The failure that an error amounts to; components give only text, so it is the text that tells."""
    message = str(error)
    if store.get_fuel() == 0 or "all fuel consumed" in message:
        return GuestFailureError(ErrorClass.FUEL, "it used up its fuel")
    if "wasm trap: interrupt" in message:
        return GuestFailureError(ErrorClass.DEADLINE, "its time was over")
    last = bounded(message.strip().rpartition("\n")[2].strip(), _MAX_WORDS)
    if starting and "wasm trap" not in message:
        memory = "memory minimum size" in message or "table minimum size" in message
        return GuestFailureError(ErrorClass.MEMORY if memory else ErrorClass.LOAD, f"it cannot be instantiated: {last}")
    return GuestFailureError(ErrorClass.TRAP, f"it trapped: {last}")
