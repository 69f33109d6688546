"""Hostile bytes to modules that can be called: every step that a module passes before it serves.

1. its kind, by the first eight bytes, and its size (the bundle has checked its sha256 by then);
2. compiled in a process of its own, or taken from the authenticated store;
3. what it exports;
4. what it imports, against what is granted;
5. for components, what it says of itself;
6. a trial call of each phase that it is bound to, under the limits of its binding.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wasmtime import Engine, Module, WasmtimeError
from wasmtime.component import Component, Linker

from pdp.cedar.arguments import FactType
from pdp.cedar.model import EntityUid
from pdp.sandbox import core_module
from pdp.sandbox.artifacts import ArtifactStore, NoArtifacts
from pdp.sandbox.compiler import compile_module
from pdp.sandbox.component_runner import ComponentProgram, ComponentRunner, require_world
from pdp.sandbox.core_module import CoreProgram
from pdp.sandbox.core_runner import CoreRunner
from pdp.sandbox.engine import EngineSettings, running_engine, settings_for
from pdp.sandbox.model import (
    Call,
    CallLimits,
    ErrorClass,
    Grant,
    GuestFailureError,
    Kind,
    ModuleFacts,
    ModuleRefusedError,
    Phase,
    Runner,
    SandboxOptions,
)
from pdp.sandbox.reply import Envelope, read_reply, request_prefix, request_text
from pdp.sandbox.ticker import Ticker

_KINDS: dict[bytes, Kind] = {b"\0asm\x01\0\0\0": "core", b"\0asm\x0d\0\x01\0": "component"}
_TRIAL = Envelope(EntityUid("Agent", "trial"), "pdp", "trial")
_TRIAL_RESULT = b'{"content":[]}'
#: How often a trial call may run out of time.
_TRIALS = 3
#: Modules whose compiled code is at hand; the oldest goes first.
_MAX_KEPT = 64


@dataclass(frozen=True, slots=True)
class Terms:
    """What a binding asks of a module and grants to it. `config` is JSON text, an object."""

    phases: tuple[Phase, ...]
    limits: CallLimits
    grants: tuple[Grant, ...] = ("log",)
    may_transform: bool = False
    config: bytes = b"{}"
    #: Instances that are kept ready; each serves one call.
    prewarm: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A module that has passed every step."""

    facts: ModuleFacts
    runner: Runner


@dataclass(frozen=True, slots=True)
class _Compiled:
    facts: ModuleFacts
    module: Module | Component
    has_start: bool


class _Engine:
    """The engine of one kind of module, with the clock that ends its calls."""

    def __init__(self, kind: Kind, options: SandboxOptions) -> None:
        self.settings: EngineSettings = settings_for(kind, options)
        self.engine: Engine = running_engine(self.settings, options)
        self.ticker = Ticker(self.engine)


#: Engines are never freed, so each is made once. What one has compiled must not meet another: wasmtime would abort.
_made_engine = functools.cache(_Engine)
_engines_lock = threading.Lock()


def _engine(kind: Kind, options: SandboxOptions) -> _Engine:
    with _engines_lock:
        return _made_engine(kind, options)


class Sandbox:
    """Loads modules, and keeps their compiled code. Safe to share between threads."""

    def __init__(self, options: SandboxOptions, artifacts: ArtifactStore | None = None) -> None:
        self.options = options
        self._artifacts: ArtifactStore = artifacts or NoArtifacts()
        self._compiled: dict[str, _Compiled] = {}
        self._lock = threading.Lock()

    def inspect(self, content: bytes) -> ModuleFacts:
        """What a module is, without running it. Raises ModuleRefusedError where it does not even compile."""
        return self._compile(content).facts

    def load(
        self, content: bytes, terms: Terms, declared: Mapping[str, FactType], log: Callable[[int, str], None]
    ) -> Loaded:
        """A module under the terms of a binding. Raises ModuleRefusedError with the class and the reason."""
        compiled = self._compile(content)
        runner: Runner
        if isinstance(compiled.module, Component):
            runner = self._component_runner(compiled.module, terms)
        else:
            runner = self._core_runner(compiled, compiled.module, terms)
        for phase in terms.phases:
            if phase not in runner.phases:
                raise ModuleRefusedError(ErrorClass.LOAD, f"it has no hook for the phase `{phase}`")
        for phase in terms.phases:
            self._try(runner, phase, terms, declared, log)
        return Loaded(compiled.facts, runner)

    def call(self, deadline_ns: int, log: Callable[[int, str], None]) -> Call:
        """A call that may run until a time of `time.monotonic_ns`."""
        return Call(deadline_ns, log, self.options.max_log_bytes)

    def _compile(self, content: bytes) -> _Compiled:
        kind = self._kind(content)
        sha256 = hashlib.sha256(content).hexdigest()
        known = self._compiled.get(sha256)
        if known is not None:
            return known
        # One at a time: compiling takes a core and up to gigabytes.
        with self._lock:
            if sha256 not in self._compiled:
                while len(self._compiled) >= _MAX_KEPT:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[sha256] = self._compile_new(content, kind, sha256)
            return self._compiled[sha256]

    def _kind(self, content: bytes) -> Kind:
        kind = _KINDS.get(content[:8])
        if kind is None:
            raise ModuleRefusedError(ErrorClass.LOAD, _why_no_module(content))
        most = self.options.max_core_bytes if kind == "core" else self.options.max_component_bytes
        if len(content) > most:
            raise ModuleRefusedError(ErrorClass.TOO_LARGE, f"it has {len(content)} bytes; a {kind} may have {most}")
        return kind

    def _compile_new(self, content: bytes, kind: Kind, sha256: str) -> _Compiled:
        engine = _engine(kind, self.options)
        name = hashlib.sha256(f"{sha256} {engine.settings.fingerprint()}".encode()).hexdigest()
        module = self._kept(name, kind, engine.engine)
        if module is None:
            code = compile_module(content, engine.settings, self.options)
            module = _deserialize(kind, engine.engine, code)
            self._artifacts.put(name, code)
        return _Compiled(
            ModuleFacts(kind, sha256, len(content), _imports(module, engine.engine), _exports(module, engine.engine)),
            module,
            kind == "core" and core_module.has_start_section(content),
        )

    def _kept(self, name: str, kind: Kind, engine: Engine) -> Module | Component | None:
        code = self._artifacts.get(name)
        if code is None:
            return None
        try:
            return _deserialize(kind, engine, code)
        except ModuleRefusedError:  # compiled for a processor with other features
            return None

    def _core_runner(self, compiled: _Compiled, module: Module, terms: Terms) -> CoreRunner:
        engine = _engine("core", self.options)
        phases = core_module.core_phases(module)
        exports = compiled.facts.exports
        program = CoreProgram(
            engine=engine.engine,
            linked=core_module.link_core(engine.engine, module, terms.grants),
            phases=phases,
            limits=terms.limits,
            max_table_elements=self.options.max_table_elements,
            max_payload_bytes=self.options.max_payload_bytes,
            config=terms.config,
            has_initialize=core_module.INITIALIZE in exports,
            has_configure=core_module.CONFIGURE in exports,
            has_start=compiled.has_start,
            has_imports=bool(compiled.facts.imports),
        )
        return CoreRunner(program, engine.ticker, terms.prewarm)

    def _component_runner(self, component: Component, terms: Terms) -> ComponentRunner:
        engine, options = _engine("component", self.options), self.options
        require_world(engine.engine, component)
        program = ComponentProgram(
            engine=engine.engine,
            component=component,
            linker=Linker(engine.engine),
            limits=terms.limits,
            max_table_elements=options.max_table_elements,
            max_payload_bytes=options.max_payload_bytes,
        )
        runner = ComponentRunner(program, engine.ticker, terms.prewarm)
        try:
            runner.describe(self.call(_after(terms.limits.timeout_ms), lambda level, text: None))
        except GuestFailureError as failure:
            raise ModuleRefusedError(failure.error_class, f"`describe` failed: {failure.reason}") from None
        return runner

    def _try(
        self,
        runner: Runner,
        phase: Phase,
        terms: Terms,
        declared: Mapping[str, FactType],
        log: Callable[[int, str], None],
    ) -> None:
        result = _TRIAL_RESULT if phase == "response" else None
        prefix = request_prefix(phase, _TRIAL)
        request = request_text(prefix, b"{}", _TRIAL.context, terms.config, result, False, terms.may_transform)
        for attempt in range(_TRIALS):
            try:
                answer = runner.run(phase, request, self.call(_after(terms.limits.timeout_ms), log))
                read_reply(answer, phase, terms.may_transform, declared)
                return
            except GuestFailureError as failure:
                # A machine that is busy starting can take a good module's time.
                if failure.error_class is not ErrorClass.DEADLINE or attempt == _TRIALS - 1:
                    raise ModuleRefusedError(
                        failure.error_class, f"its trial {phase} failed: {failure.reason}"
                    ) from None


def _after(milliseconds: int) -> int:
    return time.monotonic_ns() + milliseconds * 1_000_000


def _deserialize(kind: Kind, engine: Engine, code: bytes) -> Module | Component:
    try:
        return Component.deserialize(engine, code) if kind == "component" else Module.deserialize(engine, code)
    except WasmtimeError as error:
        # A memory or table that fits no slot of the pool, for one.
        reason = str(error).strip().rpartition("\n")[2].strip()
        raise ModuleRefusedError(ErrorClass.LOAD, f"it cannot be loaded: {reason}") from None


def _imports(module: Module | Component, engine: Engine) -> tuple[str, ...]:
    if isinstance(module, Component):
        return tuple(sorted(module.type.imports(engine)))
    return tuple(sorted({f"{wanted.module}.{wanted.name}" for wanted in module.imports}))


def _exports(module: Module | Component, engine: Engine) -> tuple[str, ...]:
    if isinstance(module, Component):
        return tuple(sorted(module.type.exports(engine)))
    return tuple(sorted(export.name for export in module.exports))


def _why_no_module(content: bytes) -> str:
    if not content:
        return "it is empty"
    if content[:4] != b"\0asm":
        return "it is no WebAssembly: it does not begin with `00 61 73 6d`"
    return f"it is no kind of WebAssembly that is known: its version is `{content[4:8].hex(' ')}`"
