"""`pdp module inspect`: what a module is, and whether a service would load it."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

from pdp._gen.pdp.v1 import interceptor_pb2
from pdp.app import make_sandbox
from pdp.bundle.interceptor_modules import bind
from pdp.bundle.layout import printable
from pdp.bundle.manifest import InterceptorBinding, parse_manifest
from pdp.bundle.source import SourceFile, source_file
from pdp.cedar.arguments import FactType
from pdp.cli.bundles import read_config
from pdp.cli.documents import read_module
from pdp.cli.failure import CommandError
from pdp.cli.module_binding import binding_message, module_name, put_parts
from pdp.cli.terminal import answer, answer_json, painted, tell_guest
from pdp.cli.toml_form import toml_lines
from pdp.errors import InvalidRequestError
from pdp.sandbox.model import ModuleFacts, ModuleRefusedError, Phase
from pdp.sandbox.sandbox import Loaded, Sandbox, Terms
from pdp.servicers.interceptor_admin import read_put

_PHASES: tuple[Phase, ...] = get_args(Phase)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 100
#: Imports and exports that people are shown, and how much of each; `--json` has everything.
_SHOWN_NAMES = 20
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class _Findings:
    """What there is to say of a module: its trials by phase, None for one that succeeded, or why there are none."""

    facts: ModuleFacts | None
    trials: Mapping[Phase, ModuleRefusedError | None]
    refusal: ModuleRefusedError | None = None

    @property
    def cause(self) -> ModuleRefusedError | None:
        """Why a service would not load it with all its phases, if so."""
        return self.refusal or next((refusal for refusal in self.trials.values() if refusal is not None), None)


def run(arguments: Namespace) -> int:
    """Inspect; 0 if the module loads with all its phases, 1 if it does not. Raises CommandError, ConfigError."""
    config = read_config(arguments)
    file = source_file(f"interceptors/{_name(arguments.file)}.wasm", read_module(arguments.file))
    message = binding_message(arguments, _name(arguments.file), ["*/*"], _PHASES)
    findings = _inspect(file, message, make_sandbox(config.interceptors, os.environ))
    block = _block(file, message, tuple(findings.trials)) if findings.cause is None else ""
    if arguments.json:
        answer_json(_document(file, findings, block))
    else:
        for line in _lines(arguments.file, file, findings):
            answer(line)
        if block:
            answer(f"\nto bind it to every tool, copy it to `{file.path}` of a bundle and add this to `bundle.toml`:\n")
            answer(block)
    return 0 if findings.cause is None else 1


def _inspect(file: SourceFile, message: interceptor_pb2.InterceptorBinding, sandbox: Sandbox) -> _Findings:
    """What the steps of loading find. Raises CommandError if `message` is no binding."""
    try:
        facts = sandbox.inspect(file.content)
    except ModuleRefusedError as refusal:
        return _Findings(None, {}, refusal)
    binding = _binding(_block(file, message, _PHASES))
    trials: dict[Phase, ModuleRefusedError | None] = {}

    def load(
        file: SourceFile, terms: Terms, declared: Mapping[str, FactType], log: Callable[[int, str], None]
    ) -> Loaded:
        # With no phase to serve everything is checked, and nothing is tried yet.
        loaded = sandbox.load(file.content, replace(terms, phases=()), declared, log)
        for phase in _PHASES:
            if phase in loaded.runner.phases:
                trials[phase] = _trial(sandbox, file, replace(terms, phases=(phase,)), declared, log)
        return loaded

    try:
        bind(binding, file, sandbox, load, partial(tell_guest, binding.name))
    except ModuleRefusedError as refusal:
        return _Findings(facts, trials, refusal)
    return _Findings(facts, trials)


def _trial(
    sandbox: Sandbox,
    file: SourceFile,
    terms: Terms,
    declared: Mapping[str, FactType],
    log: Callable[[int, str], None],
) -> ModuleRefusedError | None:
    try:
        sandbox.load(file.content, terms, declared, log)
    except ModuleRefusedError as refusal:
        return refusal
    return None


def _block(file: SourceFile, message: interceptor_pb2.InterceptorBinding, phases: Sequence[Phase]) -> str:
    """The `[[interceptor]]` that `message` is, in TOML, with these phases. Raises CommandError if it is none."""
    try:
        # As the service reads it when it is pushed, so that the same options mean the same.
        binding, _ = read_put(put_parts(message, file.content), len(file.content))
    except InvalidRequestError as error:
        raise CommandError(error.message) from error
    binding["phases"] = list(phases)
    given: dict[str, Any] = {"name": binding.pop("name"), "module": file.path, "sha256": file.digest, **binding}
    tables = {key: value for key, value in given.items() if isinstance(value, dict)}
    lines = ["[[interceptor]]", *toml_lines({key: value for key, value in given.items() if key not in tables})]
    for key, table in tables.items():
        lines += [f"[interceptor.{key}]", *toml_lines(table)]
    return "\n".join(lines)


def _binding(block: str) -> InterceptorBinding:
    """The binding that a block of TOML is to a bundle. Raises CommandError if it is none."""
    manifest, problems = parse_manifest(block.encode())
    if problems:
        raise CommandError("; ".join(problem.message for problem in problems).replace("interceptor.0.", ""))
    return manifest.interceptor[0]


def _name(path: str) -> str:
    """A name for a binding to the module in a file, of characters that names may have."""
    return _NOT_IN_NAMES.sub("-", module_name(path))[:_MAX_NAME].strip("._-") or "interceptor"


def _document(file: SourceFile, findings: _Findings, block: str) -> dict[str, Any]:
    facts, cause = findings.facts, findings.cause
    document: dict[str, Any] = {"ok": cause is None, "sha256": file.digest, "size_bytes": len(file.content)}
    if facts is not None:
        document |= {"kind": facts.kind, "imports": list(facts.imports), "exports": list(facts.exports)}
    if findings.refusal is None:
        document["abi"] = 1
    document["trials"] = {phase: _refusal_form(refusal) for phase, refusal in findings.trials.items()}
    return {**document, "refusal": _refusal_form(cause), "binding": block}


def _refusal_form(refusal: ModuleRefusedError | None) -> dict[str, str] | None:
    return None if refusal is None else {"error_class": refusal.error_class.value, "reason": refusal.reason}


def _lines(path: str, file: SourceFile, findings: _Findings) -> Iterator[str]:
    cause = findings.cause
    if cause is None:
        yield f"{painted('ok', 'green')}: `{printable(path)}` loads"
    else:
        yield f"{painted('refused', 'red')}: `{printable(path)}`: {printable(str(cause))}"
    for name, value in _facts(file, findings):
        yield f"  {name:<9} {value}"


def _facts(file: SourceFile, findings: _Findings) -> Iterator[tuple[str, str]]:
    facts = findings.facts
    if facts is not None:
        yield "kind", facts.kind
    yield "size", f"{len(file.content)} bytes"
    yield "sha256", file.digest
    if facts is not None:
        yield "imports", _names(facts.imports)
        yield "exports", _names(facts.exports)
    if findings.refusal is None:
        yield "abi", "1"
    for phase, refusal in findings.trials.items():
        yield phase, "ok" if refusal is None else f"refused: {printable(str(refusal))}"


def _names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    shown = ", ".join(printable(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN_NAMES])
    return f"{shown}, and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else shown
