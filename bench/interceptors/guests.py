"""Modules as a process of the run loads them: under the bindings that the examples come with, their times widened."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.interceptors.subjects import ENVELOPE, SUBJECTS, Subject
from bench.processes import ROOT
from pdp.bundle.interceptor_modules import bind
from pdp.bundle.manifest import InterceptorBinding
from pdp.bundle.source import source_file
from pdp.sandbox.artifacts import ArtifactDirectory
from pdp.sandbox.chain import Chain, Interceptor, Payload
from pdp.sandbox.model import Phase, SandboxOptions
from pdp.sandbox.outcome import Interception
from pdp.sandbox.sandbox import Sandbox

#: Where compiled code is kept in a process's directory.
KEPT = "kept"

_EXAMPLES = ROOT / "interceptors_wasm" / "examples"
#: So that what is measured is how long a payload takes, however large, and not where a binding stops it.
_WIDE: Mapping[str, Any] = {"timeout_ms": 10_000, "fuel": 10**12, "memory_mib": 64}
_PATIENCE_NS = 60 * 10**9


def make_sandbox(artifacts: Path) -> Sandbox:
    """A sandbox that keeps compiled code in a directory."""
    return Sandbox(SandboxOptions(), ArtifactDirectory(artifacts))


def load_subject(sandbox: Sandbox, subject: Subject, module: bytes, **more: Any) -> Interceptor:
    """An interceptor for one subject; `more` are settings of its binding. Raises ModuleRefusedError."""
    own = _example_binding(subject.purpose)
    config = subject.config if subject.config is not None else own.get("config", {})
    kept: dict[str, Any] = {key: own[key] for key in ("grants", "annotations") if key in own}
    return load_module(sandbox, module, subject.phase, {**_WIDE, **kept, "config": config, **more})


def load_module(sandbox: Sandbox, module: bytes, phase: Phase, settings: Mapping[str, Any]) -> Interceptor:
    """An interceptor on all calls, with these settings of its binding. Raises ModuleRefusedError."""
    file = source_file("interceptors/module.wasm", module)
    fields = {"name": "measured", "module": file.path, "phases": [phase], "may_transform": True, **settings}
    return bind(
        InterceptorBinding.model_validate(fields),
        file,
        sandbox,
        lambda file, terms, declared, log: sandbox.load(file.content, terms, declared, log),
        lambda level, text: None,
    )


@cache
def _example_binding(purpose: str) -> dict[str, Any]:
    for path in _EXAMPLES.glob(f"{purpose}/*/binding.toml"):
        [table] = tomllib.loads(path.read_text())["interceptor"]
        return dict(table)
    return {}


def caller(chain: Chain, phase: Phase, payload: Payload) -> Callable[[], Interception]:
    """One call of a chain, ready to be made."""
    return lambda: chain.run(phase, ENVELOPE, payload, time.monotonic_ns() + _PATIENCE_NS)


class Guests:
    """The interceptors of a process, each loaded when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        self.sandbox = make_sandbox(directory / KEPT)
        self._loaded: dict[tuple[str, str, int], Interceptor] = {}

    def get(self, command: Mapping[str, Any]) -> tuple[Subject, Interceptor]:
        """What a command names: a `subject`, its `module` (a file), how many instances to keep ready (`prewarm`)."""
        subject, prewarm = SUBJECTS[command["subject"]], command.get("prewarm", 0)
        key = (subject.key, command["module"], prewarm)
        if key not in self._loaded:
            module = Path(command["module"]).read_bytes()
            self._loaded[key] = load_subject(self.sandbox, subject, module, prewarm=prewarm)
        return subject, self._loaded[key]
