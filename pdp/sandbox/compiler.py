"""Modules to machine code, in a process of its own with limits of memory and time."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import wasmtime

import pdp
from pdp import cores
from pdp.sandbox.compile_child import OK, REFUSED
from pdp.sandbox.engine import EngineSettings
from pdp.sandbox.model import ErrorClass, ModuleRefusedError, SandboxOptions

#: The child finds this package and wasmtime where this process found them, and looks nowhere else.
_PATHS = [str(Path(package.__path__[0]).parent) for package in (pdp, wasmtime)]
_START = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); from pdp.sandbox.compile_child import main; main()"
)
_MAX_REASON = 2_000
#: Machine code that is taken from the child. A hostile module's can be forty times as long as itself.
_MAX_CODE_BYTES = 256 * 1024 * 1024


def compile_module(module: bytes, settings: EngineSettings, options: SandboxOptions) -> bytes:
    """The compiled code of a module, for an engine with these settings.

    Raises ModuleRefusedError for what does not compile within the limits, and where no process can be started.
    """
    order = {
        "settings": dataclasses.asdict(settings),
        "memory_bytes": options.compile_bytes,
        "cpu_seconds": int(options.compile_seconds) + 1,
        "code_bytes": _MAX_CODE_BYTES,
        "cores": cores.USABLE,
    }
    # -I: neither the environment nor the working directory says what is run.
    command = [sys.executable, "-I", "-c", _START, json.dumps(_PATHS), json.dumps(order)]
    try:
        child = subprocess.run(  # noqa: S603 - a fixed command
            command, input=module, capture_output=True, timeout=options.compile_seconds, env={}, cwd="/", check=False
        )
    except subprocess.TimeoutExpired:
        reason = f"it does not compile within {options.compile_seconds:g} seconds"
        raise ModuleRefusedError(ErrorClass.LOAD, reason) from None
    except OSError as error:
        reason = f"the compiler cannot be started: {(error.strerror or str(error)).lower()}"
        raise ModuleRefusedError(ErrorClass.LOAD, reason) from None
    if child.returncode == 0 and child.stdout[:1] == OK:
        return child.stdout[1:]
    if child.returncode == 0 and child.stdout[:1] == REFUSED:
        # wasmtime explains over several lines.
        reason = " ".join(child.stdout[1:].decode("utf-8", "replace").split())
        raise ModuleRefusedError(ErrorClass.LOAD, f"it does not compile: {reason[:_MAX_REASON]}")
    raise ModuleRefusedError(ErrorClass.LOAD, _cause_of_death(child, options))


def _cause_of_death(child: subprocess.CompletedProcess[bytes], options: SandboxOptions) -> str:
    words = child.stderr.decode("utf-8", "replace")
    if "memory allocation of" in words or "MemoryError" in words or "Cannot allocate memory" in words:
        return f"it does not compile within {options.compile_bytes >> 20} MiB of memory"
    if child.returncode < 0:
        return f"the compiler was ended by signal {-child.returncode}: {words.strip().partition(chr(10))[0]}"
    last = words.strip().rpartition("\n")[2]
    return f"the compiler failed with status {child.returncode}: {last[:_MAX_REASON]}"
