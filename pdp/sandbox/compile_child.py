"""The process that compiles one module: it limits itself, reads the module, writes the code, and ends.

Hostile bytes can abort a compiler, or make it eat memory and time without end, so it is never run in the service's own
process. Standard input has the module; standard output gets `+` and the compiled code, or `-` and what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from typing import Any

import wasmtime
from wasmtime.component import Component

from pdp.sandbox.core_module import ask_types
from pdp.sandbox.engine import EngineSettings, compiling_engine

OK, REFUSED = b"+", b"-"


def main() -> None:
    """Compile what standard input holds.

    The only argument is JSON: `settings`, `memory_bytes`, `cpu_seconds`, `code_bytes`, and `cores`, by
    number, on which it may run.
    """
    order = json.loads(sys.argv[1])
    _limit(order["memory_bytes"], order["cpu_seconds"])
    if order["cores"]:
        # A worker that keeps to one core is no reason to compile on one; where that is forbidden, it takes longer.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, order["cores"])
    settings = EngineSettings(**order["settings"])
    compiler: Any = Component if settings.kind == "component" else wasmtime.Module
    module = sys.stdin.buffer.read()
    try:
        # An engine takes text for WAT; bytes that are no module must not become one that way.
        compiled = compiler(compiling_engine(settings), _binary(module))
        code = compiled.serialize()
    except wasmtime.WasmtimeError as error:
        sys.stdout.buffer.write(REFUSED + str(error).encode())
        return
    if settings.kind == "core":
        ask_types(compiled)
    if len(code) > order["code_bytes"]:
        sys.stdout.buffer.write(REFUSED + f"it becomes {len(code)} bytes of machine code".encode())
        return
    sys.stdout.buffer.write(OK)
    sys.stdout.buffer.write(code)


def _binary(module: bytes) -> bytes:
    if module[:4] != b"\0asm":
        raise SystemExit("not a binary module")
    return module


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    for kind, wanted in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        _, most = resource.getrlimit(kind)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (limit, limit))
    # The service may itself be told to ignore signals; this process is to die of them.
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU, signal.SIGPIPE):
        signal.signal(name, signal.SIG_DFL)
    os.nice(5)


if __name__ == "__main__":
    main()
