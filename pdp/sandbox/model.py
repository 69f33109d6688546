"""The words of the sandbox: what a module may have, how it can fail, and what a loaded one offers."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pdp.errors import PdpError
from pdp.sandbox.guest_text import bounded

Phase = Literal["request", "response"]
Kind = Literal["core", "component"]
Grant = Literal["log", "now_ms", "random"]

_MIB = 1024 * 1024

#: What is told of a failure. It can have names out of a module, which may be long and hold anything.
_MAX_REASON_BYTES = 4_000


class ErrorClass(enum.Enum):
    """How an interceptor failed. The names are the API's; interceptors_wasm/ABI.md says when each occurs."""

    GUEST_ERROR = "guest_error"
    TRAP = "trap"
    FUEL = "fuel"
    DEADLINE = "deadline"
    MEMORY = "memory"
    BAD_OUTPUT = "bad_output"
    TOO_LARGE = "too_large"
    LOAD = "load"


class GuestFailureError(PdpError):
    """A call that gave no verdict. `reason` is for operators: it can repeat what the module said."""

    def __init__(self, error_class: ErrorClass, reason: str) -> None:
        self.reason = bounded(reason, _MAX_REASON_BYTES)
        super().__init__(f"{error_class.value}: {self.reason}")
        self.error_class = error_class


class ModuleRefusedError(PdpError):
    """A module that is not loaded, and why."""

    def __init__(self, error_class: ErrorClass, reason: str) -> None:
        self.reason = bounded(reason, _MAX_REASON_BYTES)
        super().__init__(f"{error_class.value}: {self.reason}")
        self.error_class = error_class


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What all modules have in common. Sizes are in bytes."""

    max_core_bytes: int = 16 * _MIB
    max_component_bytes: int = 24 * _MIB
    compile_seconds: float = 60.0
    compile_bytes: int = 2048 * _MIB
    max_instances: int = 512
    max_memory_bytes: int = 64 * _MIB
    max_table_elements: int = 20_000
    max_stack_bytes: int = 256 * 1024
    max_payload_bytes: int = _MIB
    max_log_bytes: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What one call may use: milliseconds with instantiation, bytes of linear memory, units of fuel."""

    timeout_ms: int = 50
    memory_bytes: int = 16 * _MIB
    fuel: int = 50_000_000


@dataclass(slots=True)
class Call:
    """One call in progress: until when it may run, and what it logs on the way.

    `deadline_ns` is of `time.monotonic_ns`. `log` takes a level (0 debug to 3 error) and text.
    """

    deadline_ns: int
    log: Callable[[int, str], None] = field(default=lambda level, text: None)
    log_bytes_left: int = 0

    def remaining_ms(self) -> float:
        """How long it may go on, in milliseconds; 0 or less where its time is over."""
        return (self.deadline_ns - time.monotonic_ns()) / 1_000_000


class Runner(Protocol):
    """Calls one loaded module under fixed limits, each time in an instance of its own."""

    @property
    def phases(self) -> frozenset[Phase]:
        """The phases that the module has a hook for."""

    def run(self, phase: Phase, request: bytes, call: Call) -> bytes:
        """The bytes that the module answers with. Raises GuestFailureError, and nothing else."""


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What is known of a module without running it. `imports` are written `module.name`."""

    kind: Kind
    sha256: str
    size_bytes: int
    imports: tuple[str, ...]
    exports: tuple[str, ...]
