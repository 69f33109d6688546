"""What modules cost beside their calls: compiling, loading, and the memory that they take and should give back."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.child import rss_mib
from bench.interceptors.guests import KEPT, Guests, caller, load_module, load_subject, make_sandbox
from bench.interceptors.subjects import PASSING, SUBJECTS
from bench.interceptors.wat import Behaviour, wat_module
from pdp.sandbox.chain import Chain
from pdp.sandbox.model import ErrorClass

_SIZE = 1024
#: Modules that fail, the limits that they run into, and how.
_FAILING: tuple[tuple[Behaviour, dict[str, int], ErrorClass], ...] = (
    ("trap", {}, ErrorClass.TRAP),
    ("babble", {}, ErrorClass.BAD_OUTPUT),
    ("loop", {"fuel": 10_000}, ErrorClass.FUEL),
)


def compiled(directory: Path, command: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds to compile a module in a process of its own and to keep the code."""
    module = Path(command["module"]).read_bytes()
    with tempfile.TemporaryDirectory(dir=directory) as empty:
        sandbox = make_sandbox(Path(empty) / "artifacts")
        started = time.perf_counter()
        sandbox.inspect(module)
        return {"ms": (time.perf_counter() - started) * 1000}


def loaded(directory: Path, command: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds to make an interceptor of a module whose compiled code is kept: as at a restart."""
    module = Path(command["module"]).read_bytes()
    make_sandbox(directory / KEPT).inspect(module)
    sandbox = make_sandbox(directory / KEPT)
    started = time.perf_counter()
    load_subject(sandbox, SUBJECTS[command["subject"]], module)
    return {"ms": (time.perf_counter() - started) * 1000}


def grown(directory: Path, command: dict[str, Any]) -> dict[str, Any]:
    """MiB of resident memory for each of `modules` further modules, then for each of `bindings` of one.

    Another sandbox shares nothing with the first: what is loaded again is as another module of the same size.
    """
    subject, module = SUBJECTS[command["subject"]], Path(command["module"]).read_bytes()
    sandboxes = [make_sandbox(directory / KEPT) for _ in range(command["modules"] + 1)]
    # The first brings the engine and its pool.
    kept = [load_subject(sandboxes[0], subject, module)]
    before = rss_mib()
    kept += [load_subject(sandbox, subject, module) for sandbox in sandboxes[1:]]
    after_modules = rss_mib()
    kept += [load_subject(sandboxes[0], subject, module) for _ in range(command["bindings"])]
    after_bindings = rss_mib()
    return {
        "module_mib": (after_modules - before) / command["modules"],
        "binding_mib": (after_bindings - after_modules) / command["bindings"],
        "kept": len(kept),
    }


def repeated(guests: Guests, command: dict[str, Any]) -> dict[str, Any]:
    """MiB of resident memory before and after `count` calls, once some have been made."""
    subject, interceptor = guests.get(command)
    payload = subject.payload(_SIZE)
    call = caller(Chain([interceptor], {}), subject.phase, payload)
    problems = {subject.problem(payload, call()) for _ in range(command["warm"])}
    before = rss_mib()
    problems |= {subject.problem(payload, call()) for _ in range(command["count"])}
    return {"before": before, "after": rss_mib(), "problem": "".join(problems)}


def failed(guests: Guests, command: dict[str, Any]) -> dict[str, Any]:
    """The same of calls that fail, by turns in each of several ways."""
    payload = PASSING.payload(_SIZE)
    calls = [
        (
            caller(
                Chain([load_module(guests.sandbox, wat_module(behaviour), "request", limits)], {}), "request", payload
            ),
            why,
        )
        for behaviour, limits, why in _FAILING
    ]

    def problems_of(count: int) -> set[str]:
        turns = (calls[number % len(calls)] for number in range(count))
        return {
            "" if call().outcomes[0].error_class is why else f"not a failure of `{why.value}`" for call, why in turns
        }

    problems = problems_of(command["warm"])
    before = rss_mib()
    problems |= problems_of(command["count"])
    return {"before": before, "after": rss_mib(), "problem": "".join(problems)}
