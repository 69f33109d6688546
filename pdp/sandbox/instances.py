"""Fresh instances of core modules, made and called through wasmtime's C functions or through wasmtime-py's classes.

The classes cost a hundred microseconds a call: they ask for the type of a function each time, and give the interpreter
lock away around every small step. So `RawInstance` makes the same calls with prepared arguments, and keeps the lock for
those that cannot take long. It relies on what wasmtime-py does not promise; where its probe fails, `PublicInstance` is
used, which relies on nothing.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any, Protocol

from wasmtime import Func, Memory, Store, Trap, TrapCode, WasmtimeError
from wasmtime import _ffi as ffi

from pdp.sandbox.core_module import MEMORY, CoreProgram
from pdp.sandbox.engine import wasmtime_version
from pdp.sandbox.model import ErrorClass, GuestFailureError

_U32 = 0xFFFF_FFFF
_U64 = 0xFFFF_FFFF_FFFF_FFFF

_TRAP_CLASSES = {TrapCode.OUT_OF_FUEL: ErrorClass.FUEL, TrapCode.INTERRUPT: ErrorClass.DEADLINE}
_LIMIT_CODES = {code.value: error_class for code, error_class in _TRAP_CLASSES.items()}
_LIMIT_WORDS = {ErrorClass.FUEL: "it used up its fuel", ErrorClass.DEADLINE: "its time was over"}
#: What wasmtime says of a module that wants more than a limit or a slot allows, when it is instantiated.
_MEMORY_WORDS = ("memory minimum size", "table minimum size", "exceeds the limit", "resource limit exceeded")


class Instance(Protocol):
    """One instance of a core module. Results and addresses are unsigned."""

    def invoke(self, name: str, *arguments: int) -> int:
        """Call an export; 0 where it has no result. Raises GuestFailureError."""

    def memory_size(self) -> int:
        """Bytes of linear memory at this moment."""

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the memory; the range has been checked."""

    def write(self, address: int, content: bytes) -> None:
        """Put bytes into the memory; the range has been checked."""

    def refuel(self, fuel: int, ticks: int) -> None:
        """Set the fuel that is left, and how many ticks it may still run."""

    def close(self) -> None:
        """Free it."""


class PublicInstance:
    """An instance through wasmtime-py's public classes."""

    def __init__(self, program: CoreProgram, fuel: int, ticks: int) -> None:
        self._store = Store(program.engine)
        self._store.set_limits(program.limits.memory_bytes, program.max_table_elements, 1, 1, 1)
        self.refuel(fuel, ticks)
        try:
            self._exports = program.linked.instantiate(self._store).exports(self._store)
        except (Trap, WasmtimeError) as error:
            self.close()
            raise _instantiation_failure(error) from None
        self._memory: Any = self._exports[MEMORY]
        assert isinstance(self._memory, Memory)

    def invoke(self, name: str, *arguments: int) -> int:
        """Call an export; 0 where it has no result."""
        function = self._exports[name]
        assert isinstance(function, Func)
        try:
            result = function(self._store, *(_signed(argument) for argument in arguments))
        except (Trap, WasmtimeError) as error:
            raise trap_failure(error) from None
        # An i32 is masked where it is used: only the caller knows the width.
        return 0 if result is None else int(result) & _U64

    def memory_size(self) -> int:
        """Bytes of linear memory at this moment."""
        return int(self._memory.data_len(self._store))

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the memory."""
        return bytes(self._memory.read(self._store, address, address + length))

    def write(self, address: int, content: bytes) -> None:
        """Put bytes into the memory."""
        self._memory.write(self._store, content, address)

    def refuel(self, fuel: int, ticks: int) -> None:
        """Set the fuel that is left, and how many ticks it may still run."""
        self._store.set_fuel(fuel)
        self._store.set_epoch_deadline(ticks)

    def close(self) -> None:
        """Free it."""
        self._store.close()


class _Quick:
    """wasmtime's functions that take no time worth mentioning, called without giving the interpreter lock away."""

    def __init__(self) -> None:
        library = ctypes.PyDLL(ffi.dll._name)  # noqa: SLF001 - the library that wasmtime-py has loaded

        def bind(name: str, result: Any, *arguments: Any) -> Any:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            return function

        self.store_new = bind("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
        self.store_context = bind("wasmtime_store_context", c_void_p, c_void_p)
        self.store_limiter = bind("wasmtime_store_limiter", None, c_void_p, *[c_int64] * 5)
        self.store_delete = bind("wasmtime_store_delete", None, c_void_p)
        self.set_fuel = bind("wasmtime_context_set_fuel", c_void_p, c_void_p, c_uint64)
        self.set_epoch = bind("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
        self.instantiate = bind("wasmtime_instance_pre_instantiate", c_void_p, *[c_void_p] * 4)
        self.export_get = bind(
            "wasmtime_instance_export_get", ctypes.c_bool, c_void_p, c_void_p, c_char_p, c_size_t, c_void_p
        )
        self.trap_code = bind("wasmtime_trap_code", ctypes.c_bool, c_void_p, c_void_p)
        self.trap_delete = bind("wasm_trap_delete", None, c_void_p)
        self.memory_data = bind("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
        self.memory_size = bind("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)


class _Slow:
    """Those that run a guest's code, and so give the lock away."""

    def __init__(self) -> None:
        library = ctypes.CDLL(ffi.dll._name)  # noqa: SLF001

        def bind(name: str, *arguments: Any) -> Any:
            function = getattr(library, name)
            function.restype, function.argtypes = c_void_p, arguments
            return function

        self.instantiate = bind("wasmtime_instance_pre_instantiate", *[c_void_p] * 4)
        self.call = bind("wasmtime_func_call_unchecked", c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)


_quick = _Quick()
_slow = _Slow()
_NAMES = {
    name: (name.encode(), len(name))
    for name in ("memory", "pdp_alloc", "_initialize", "pdp_configure", "pdp_on_request", "pdp_on_response")
}
_MEMORY_NAME = _NAMES[MEMORY]


class _Scratch(ctypes.Structure):
    """What one instance needs of C's memory, in one piece: every part more would be an object made for each call.

    `first` and `second` are the two `wasmtime_val_raw_t` of sixteen bytes that the parameters of a call stand in, and
    its result in the first.
    """

    _fields_ = (
        ("first", c_uint64),
        ("first_rest", c_uint64),
        ("second", c_uint64),
        ("second_rest", c_uint64),
        ("trap", c_void_p),
        ("code", c_uint64),
        ("instance", ffi.wasmtime_instance_t),
        ("function", ffi.wasmtime_extern_t),
        ("memory", ffi.wasmtime_extern_t),
    )


def _offset(field: str) -> int:
    return int(getattr(_Scratch, field).offset)


_TRAP, _CODE = _offset("trap"), _offset("code")
_INSTANCE, _FUNCTION, _MEMORY = map(_offset, ("instance", "function", "memory"))
#: Where an extern has what it is.
_OF = int(ffi.wasmtime_extern_t.of.offset)


class RawInstance:
    """An instance through wasmtime's C functions, which are given addresses."""

    __slots__ = ("_at", "_context", "_memory", "_scratch", "_store")

    def __init__(self, program: CoreProgram, fuel: int, ticks: int) -> None:
        limits = program.limits
        self._store = _quick.store_new(program.engine_address, None, None)
        self._context = context = _quick.store_context(self._store)
        _quick.store_limiter(self._store, limits.memory_bytes, program.max_table_elements, 1, 1, 1)
        _quick.set_fuel(context, fuel)
        _quick.set_epoch(context, ticks)
        self._scratch = _Scratch()
        self._at = at = ctypes.addressof(self._scratch)
        self._memory = at + _MEMORY + _OF
        # A `start` function is the guest's code, and may take its time.
        instantiate = (_slow if program.has_start else _quick).instantiate
        error = instantiate(program.linked_address, context, at + _INSTANCE, at + _TRAP)
        if error or self._scratch.trap:
            failure = _instantiation_failure(_raised(error, self._scratch.trap))
            self.close()
            raise failure
        _quick.export_get(context, at + _INSTANCE, *_MEMORY_NAME, at + _MEMORY)

    def invoke(self, name: str, *arguments: int) -> int:
        """Call an export; 0 where it has no result."""
        at, scratch = self._at, self._scratch
        _quick.export_get(self._context, at + _INSTANCE, *_NAMES[name], at + _FUNCTION)
        count = len(arguments)
        scratch.first = arguments[0] if count else 0
        if count > 1:
            scratch.second = arguments[1]
        scratch.trap = None
        error = _slow.call(self._context, at + _FUNCTION + _OF, at, count or 1, at + _TRAP)
        if error or scratch.trap:
            raise self._stopped() or trap_failure(_raised(error, scratch.trap))
        return int(scratch.first)

    def _stopped(self) -> GuestFailureError | None:
        """The failure of a call that a limit has ended; None for any other end.

        Its time is over, so it is told without giving the lock away again: wasmtime-py would do so at each step.
        """
        scratch = self._scratch
        scratch.code = 0
        if not scratch.trap or not _quick.trap_code(scratch.trap, self._at + _CODE):
            return None
        error_class = _LIMIT_CODES.get(scratch.code & 0xFF)
        if error_class is None:
            return None
        _quick.trap_delete(scratch.trap)
        return GuestFailureError(error_class, _LIMIT_WORDS[error_class])

    def memory_size(self) -> int:
        """Bytes of linear memory at this moment."""
        return int(_quick.memory_size(self._context, self._memory))

    def read(self, address: int, length: int) -> bytes:
        """Bytes of the memory."""
        return ctypes.string_at(_quick.memory_data(self._context, self._memory) + address, length)

    def write(self, address: int, content: bytes) -> None:
        """Put bytes into the memory."""
        ctypes.memmove(_quick.memory_data(self._context, self._memory) + address, content, len(content))

    def refuel(self, fuel: int, ticks: int) -> None:
        """Set the fuel that is left, and how many ticks it may still run."""
        _quick.set_fuel(self._context, fuel)
        _quick.set_epoch(self._context, ticks)

    def close(self) -> None:
        """Free it."""
        if self._store:
            _quick.store_delete(self._store)
            self._store = None


def trap_failure(error: Trap | WasmtimeError) -> GuestFailureError:
    """The failure that the end of a call amounts to."""
    code = _trap_code(error)
    message = str(error).strip()
    if code in _TRAP_CLASSES:
        return GuestFailureError(_TRAP_CLASSES[code], _LIMIT_WORDS[_TRAP_CLASSES[code]])
    return GuestFailureError(ErrorClass.TRAP, f"it trapped: {_last_line(message)}")


def _instantiation_failure(error: Trap | WasmtimeError) -> GuestFailureError:
    if isinstance(error, Trap) and _trap_code(error) is not None:
        return trap_failure(error)
    message = _last_line(str(error))
    kind = ErrorClass.MEMORY if any(words in str(error) for words in _MEMORY_WORDS) else ErrorClass.LOAD
    return GuestFailureError(kind, f"it cannot be instantiated: {message}")


def _raised(error: int | None, trap: int | None) -> Trap | WasmtimeError:
    """What wasmtime-py would have raised."""
    if trap:
        return Trap._from_ptr(ctypes.cast(c_void_p(trap), POINTER(ffi.wasm_trap_t)))  # noqa: SLF001
    return WasmtimeError._from_ptr(ctypes.cast(c_void_p(error), POINTER(ffi.wasmtime_error_t)))  # noqa: SLF001


def _trap_code(error: Trap | WasmtimeError) -> TrapCode | None:
    if not isinstance(error, Trap):
        return None
    try:
        return error.trap_code
    except ValueError:  # a code that this wasmtime-py has no name for
        return None


def _last_line(message: str) -> str:
    return message.strip().rpartition("\n")[2].strip()


def _signed(value: int) -> int:
    return value - (1 << 32) if value & 0x8000_0000 else value


#: The version that RawInstance was written against and tested with.
_RAW_VERSION = "50.0.1"


def instance_type() -> type[RawInstance] | type[PublicInstance]:
    """How instances are made by this process."""
    return RawInstance if wasmtime_version() == _RAW_VERSION else PublicInstance
