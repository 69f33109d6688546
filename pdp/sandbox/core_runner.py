"""Calls a core module: the steps of the ABI, each checked, in an instance that is thrown away afterwards."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from pdp.sandbox.core_module import ALLOC, CONFIGURE, HOOKS, INITIALIZE, CoreProgram
from pdp.sandbox.host import current
from pdp.sandbox.instances import Instance, instance_type
from pdp.sandbox.model import Call, ErrorClass, GuestFailureError, Phase
from pdp.sandbox.reply import guest_error, read_configured
from pdp.sandbox.ticker import Ticker, ticks
from pdp.sandbox.warm import WarmInstances

_U32 = 0xFFFF_FFFF
#: Answers of `pdp_configure`.
_MAX_CONFIGURED_BYTES = 64 * 1024


class _MakeInstance(Protocol):
    def __call__(self, program: CoreProgram, fuel: int, ticks: int) -> Instance:
        """A fresh instance with that much fuel and time."""


class CoreRunner:
    """Calls one program. Safe to share between threads."""

    def __init__(
        self, program: CoreProgram, ticker: Ticker, prewarm: int = 0, make: _MakeInstance | None = None
    ) -> None:
        self._program = program
        self._ticker = ticker
        self._make: _MakeInstance = make or instance_type()
        # Bound to parts, not to this object, which is to go when nobody uses it any more.
        self._warm = WarmInstances(prewarm, partial(_make_ahead, program, ticker, self._make), _close)

    @property
    def phases(self) -> frozenset[Phase]:
        """The phases that the module has a hook for."""
        return self._program.phases

    def run(self, phase: Phase, request: bytes, call: Call) -> bytes:
        """The bytes that the module answers with. Raises GuestFailureError, and nothing else."""
        program = self._program
        remaining_ms = min(call.remaining_ms(), program.limits.timeout_ms)
        if remaining_ms <= 0:
            raise GuestFailureError(ErrorClass.DEADLINE, "its time was over before it began")
        with self._ticker:
            if not program.has_imports:
                return self._run(phase, request, ticks(remaining_ms))
            current.call, current.exited = call, None
            try:
                answer = self._run(phase, request, ticks(remaining_ms))
            except GuestFailureError:
                _require_not_exited()
                raise
            finally:
                current.call = None
            # Without fuel a guest still comes to the end of a function, so an answer can follow an exit.
            _require_not_exited()
            return answer

    def _run(self, phase: Phase, request: bytes, ticks_left: int) -> bytes:
        program = self._program
        instance = self._warm.take()
        if instance is not None:
            instance.refuel(program.limits.fuel, ticks_left)
        else:
            instance = _prepared(program, self._make, ticks_left)
        try:
            return _exchange(instance, HOOKS[phase], request, program.max_payload_bytes)
        finally:
            instance.close()
            self._warm.replenish()


def _prepared(program: CoreProgram, make: _MakeInstance, ticks_left: int) -> Instance:
    """An instance that is ready for its payload: what comes once in it has been done."""
    instance = make(program, program.limits.fuel, ticks_left)
    try:
        if program.has_initialize:
            instance.invoke(INITIALIZE)
        if program.has_configure:
            read_configured(_exchange(instance, CONFIGURE, program.config, _MAX_CONFIGURED_BYTES))
    except GuestFailureError:
        instance.close()
        raise
    return instance


def _make_ahead(program: CoreProgram, ticker: Ticker, make: _MakeInstance) -> Instance:
    """The same without a call, and so without a log."""
    current.exited = None
    with ticker:
        instance = _prepared(program, make, ticks(program.limits.timeout_ms))
    try:
        _require_not_exited()
    except GuestFailureError:
        instance.close()
        raise
    return instance


def _require_not_exited() -> None:
    if current.exited is not None:
        raise GuestFailureError(ErrorClass.TRAP, f"it ended itself with status {current.exited}")


def _close(instance: Instance) -> None:
    instance.close()


def _exchange(instance: Instance, hook: str, content: bytes, max_bytes: int) -> bytes:
    """Hand `content` to a hook and take what it answers with."""
    length = len(content)
    address = instance.invoke(ALLOC, length) & _U32
    if address == 0:
        raise GuestFailureError(ErrorClass.MEMORY, f"it has no room for {length} bytes")
    if address + length > instance.memory_size():
        raise GuestFailureError(ErrorClass.BAD_OUTPUT, f"`{ALLOC}` gave a place outside of its memory")
    instance.write(address, content)
    answer = instance.invoke(hook, address, length)
    if answer == 0:
        raise guest_error(f"`{hook}` answered 0, which gives no reason")
    address, length = answer >> 32, answer & _U32
    if length > max_bytes:
        raise GuestFailureError(ErrorClass.TOO_LARGE, f"its answer has {length} bytes; {max_bytes} are read")
    # Read now, since the call may have grown the memory.
    if address + length > instance.memory_size():
        raise GuestFailureError(ErrorClass.BAD_OUTPUT, "its answer lies outside of its memory")
    return instance.read(address, length)
