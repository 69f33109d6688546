"""What the host lends to core modules: the functions of `pdp`, and stand-ins for WASI preview 1.

A host function never raises: wasmtime-py keeps the last exception of a host function for the whole process, and it can
come out of another thread's call. It never blocks either: wasmtime's own WASI lets a guest sleep through its deadline.
What a guest passes is hostile; every range is checked against the memory as it is at that moment.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection
from typing import Any, Final

from wasmtime import Caller, FuncType, Linker, Memory, ValType
from wasmtime import _ffi as ffi

from pdp.sandbox.model import Call, Grant

PDP: Final = "pdp"
WASI: Final = "wasi_snapshot_preview1"

_EBADF, _EFAULT, _EINVAL, _ENOSYS = 8, 21, 28, 52
_MAX_RANDOM_BYTES = 64 * 1024
_MAX_VECTORS = 1024
_LINE_BYTES = 64
_U32 = 0xFFFF_FFFF
_TYPES = {"i": ValType.i32, "I": ValType.i64}

#: Parameters and results by name; `i` is i32 and `I` is i64.
_PDP_TYPES: dict[str, tuple[str, str]] = {"log": ("iii", ""), "now_ms": ("", "I"), "random": ("ii", "i")}
_WASI_TYPES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("args_get", "args_sizes_get", "clock_res_get", "environ_get", "environ_sizes_get"), ("ii", "i")),
    **dict.fromkeys(("fd_close", "fd_datasync", "fd_sync", "proc_raise"), ("i", "i")),
    **dict.fromkeys(("fd_fdstat_get", "fd_fdstat_set_flags", "fd_filestat_get", "fd_prestat_get"), ("ii", "i")),
    **dict.fromkeys(("fd_renumber", "fd_tell", "random_get", "sock_shutdown"), ("ii", "i")),
    **dict.fromkeys(("fd_prestat_dir_name", "path_create_directory", "path_remove_directory"), ("iii", "i")),
    **dict.fromkeys(("path_unlink_file", "sock_accept"), ("iii", "i")),
    **dict.fromkeys(("fd_read", "fd_write", "poll_oneoff"), ("iiii", "i")),
    **dict.fromkeys(("path_filestat_get", "path_symlink", "sock_send"), ("iiiii", "i")),
    **dict.fromkeys(("path_readlink", "path_rename", "sock_recv"), ("iiiiii", "i")),
    **dict.fromkeys(("fd_pread", "fd_pwrite", "fd_readdir"), ("iiiIi", "i")),
    "clock_time_get": ("iIi", "i"),
    "fd_advise": ("iIIi", "i"),
    "fd_allocate": ("iII", "i"),
    "fd_fdstat_set_rights": ("iII", "i"),
    "fd_filestat_set_size": ("iI", "i"),
    "fd_filestat_set_times": ("iIIi", "i"),
    "fd_seek": ("iIii", "i"),
    "path_filestat_set_times": ("iiiiIIi", "i"),
    "path_link": ("iiiiiii", "i"),
    "path_open": ("iiiiiIIii", "i"),
    "proc_exit": ("i", ""),
    "sched_yield": ("", "i"),
}

_Function = Callable[..., int | None]


class CurrentCall(threading.local):
    """The call that this thread is making; host functions run on the thread that called the guest."""

    call: Call | None = None
    #: The status that the guest ended with, if it did.
    exited: int | None = None


current = CurrentCall()


def signature(module: str, name: str, grants: Collection[Grant]) -> tuple[str, str] | None:
    """The type of an import that a module may have: parameters and results, or None if it may not have it."""
    if module == PDP and name in grants:
        return _PDP_TYPES.get(name)
    return _WASI_TYPES.get(name) if module == WASI else None


def define(linker: Linker, module: str, name: str) -> None:
    """Give a function that `signature` knows to the modules of a linker."""
    parameters, results = (_PDP_TYPES if module == PDP else _WASI_TYPES)[name]
    kind = FuncType([_TYPES[letter]() for letter in parameters], [_TYPES[letter]() for letter in results])
    function = _PDP_FUNCTIONS[name] if module == PDP else _WASI_FUNCTIONS.get(name, _not_there)
    failure = None if not results else 1 if module == PDP else _EFAULT
    linker.define_func(module, name, kind, _guarded(function, failure), access_caller=True)


def _guarded(function: _Function, failure: int | None) -> _Function:
    def guarded(caller: Caller, *arguments: int) -> int | None:
        try:
            return function(caller, *arguments)
        except BaseException:  # noqa: BLE001 - see the module's docstring
            return failure

    return guarded


class _RangeError(Exception):
    """A range outside of the guest's memory."""


def _memory(caller: Caller, address: int, length: int) -> tuple[Memory, int]:
    memory = caller.get("memory")
    start = address & _U32
    if not isinstance(memory, Memory) or start + length > memory.data_len(caller):
        raise _RangeError
    return memory, start


def _read(caller: Caller, address: int, length: int) -> bytes:
    memory, start = _memory(caller, address, length)
    return bytes(memory.read(caller, start, start + length))


def _write(caller: Caller, address: int, content: bytes) -> None:
    memory, start = _memory(caller, address, len(content))
    memory.write(caller, content, start)


def _write_log(level: int, content: bytes) -> None:
    call = current.call
    # Empty text would cost nothing of what the call may log, and so have no end.
    if call is None or call.log_bytes_left <= 0 or not content:
        return
    call.log(level, content[: call.log_bytes_left].decode("utf-8", "replace"))
    # A short line costs whoever keeps it more than its text.
    call.log_bytes_left -= max(len(content), _LINE_BYTES)


def _log(caller: Caller, level: int, address: int, length: int) -> None:
    # The range is what counts; of the text only as much is copied as may be written.
    _memory(caller, address, length & _U32)
    left = current.call.log_bytes_left if current.call else 0
    _write_log(min(max(level, 0), 3), _read(caller, address, min(length & _U32, max(left, 0))))


def _now_ms(_caller: Caller) -> int:
    return time.time_ns() // 1_000_000


def _random(caller: Caller, address: int, length: int) -> int:
    size = length & _U32
    if size > _MAX_RANDOM_BYTES:
        return 1
    _write(caller, address, secrets.token_bytes(size))
    return 0


def _not_there(_caller: Caller, *_arguments: int) -> int:
    return _ENOSYS


def _no_such_descriptor(_caller: Caller, *_arguments: int) -> int:
    # The C library asks for directories until it is told so; any other answer makes it abort.
    return _EBADF


def _none_of_them(caller: Caller, count_address: int, size_address: int) -> int:
    _write(caller, count_address, bytes(4))
    _write(caller, size_address, bytes(4))
    return 0


def _succeed(_caller: Caller, *_arguments: int) -> int:
    return 0


def _clock_resolution(caller: Caller, _clock: int, address: int) -> int:
    _write(caller, address, (1_000_000).to_bytes(8, "little"))
    return 0


def _clock_time(caller: Caller, clock: int, _precision: int, address: int) -> int:
    now = time.time_ns() if clock == 0 else time.monotonic_ns()
    _write(caller, address, now.to_bytes(8, "little"))
    return 0


def _random_get(caller: Caller, address: int, length: int) -> int:
    return _EINVAL if _random(caller, address, length) else 0


def _descriptor_status(caller: Caller, descriptor: int, address: int) -> int:
    if descriptor not in (0, 1, 2):
        return _EBADF
    # A character device without rights; guests ask what kind of thing their output is.
    _write(caller, address, bytes([2]) + bytes(23))
    return 0


def _write_vectors(caller: Caller, descriptor: int, address: int, count: int, written_address: int) -> int:
    if descriptor not in (1, 2):
        return _EBADF
    if not 0 <= count <= _MAX_VECTORS:
        return _EINVAL
    vectors = _read(caller, address, 8 * count)
    written = 0
    for place in range(0, len(vectors), 8):
        start = int.from_bytes(vectors[place : place + 4], "little")
        length = int.from_bytes(vectors[place + 4 : place + 8], "little")
        _memory(caller, start, length)
        left = current.call.log_bytes_left if current.call else 0
        _write_log(descriptor, _read(caller, start, min(length, max(left, 0))))
        written += length
    _write(caller, written_address, (written & _U32).to_bytes(4, "little"))
    return 0


def _exit(caller: Caller, status: int) -> None:
    # Raising is not possible here, so the guest is left without fuel: it ends at its next instruction but a few.
    current.exited = status
    _without_fuel(caller)


def _without_fuel(caller: Any) -> None:
    ffi.wasmtime_context_set_fuel(caller._context(), 0)  # noqa: SLF001 - `Caller` has no public way to


_PDP_FUNCTIONS: dict[str, _Function] = {"log": _log, "now_ms": _now_ms, "random": _random}
_WASI_FUNCTIONS: dict[str, _Function] = {
    "args_get": _succeed,
    "args_sizes_get": _none_of_them,
    "clock_res_get": _clock_resolution,
    "clock_time_get": _clock_time,
    "environ_get": _succeed,
    "environ_sizes_get": _none_of_them,
    "fd_fdstat_get": _descriptor_status,
    "fd_prestat_dir_name": _no_such_descriptor,
    "fd_prestat_get": _no_such_descriptor,
    "fd_write": _write_vectors,
    "proc_exit": _exit,
    "random_get": _random_get,
    "sched_yield": _succeed,
}
