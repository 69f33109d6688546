"""`[[interceptor]]` and `interceptors/*.wasm`: bindings and modules to interceptors that are ready to be called."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pdp.bundle.manifest import PATH as MANIFEST
from pdp.bundle.manifest import InterceptorBinding, Manifest
from pdp.bundle.source import SourceFile
from pdp.cedar.arguments import FactType, parse_type
from pdp.cedar.tool_schema import Tool
from pdp.errors import Problem
from pdp.sandbox.chain import Interceptor
from pdp.sandbox.model import CallLimits, ErrorClass, ModuleRefusedError
from pdp.sandbox.sandbox import Loaded, Sandbox, Terms

_MIB = 1024 * 1024

#: Takes an interceptor's name, a level (0 debug to 3 error) and text that the module wrote.
GuestLog = Callable[[str, int, str], None]

#: Loads a module under terms; see `Sandbox.load`.
Load = Callable[[SourceFile, Terms, Mapping[str, FactType], Callable[[int, str], None]], Loaded]


@dataclass(frozen=True, slots=True)
class LoadedInterceptors:
    """A bundle's interceptors, and what is wrong with the bindings or the modules."""

    interceptors: tuple[Interceptor, ...]
    problems: tuple[Problem, ...]


def load_interceptors(
    files: Mapping[str, SourceFile],
    manifest: Manifest,
    tools: Sequence[Tool],
    sandbox: Sandbox,
    load: Load,
    log: GuestLog,
) -> LoadedInterceptors:
    """Load every module that is bound; each that is refused is a problem at its binding."""
    interceptors, problems = [], []
    for number, binding in enumerate(manifest.interceptor):

        def problem(key: str, message: str, number: int = number) -> Problem:
            return Problem(MANIFEST, *manifest.place("interceptor", number, key), message)

        problems += [problem("tools", message) for message in _unmatched(binding, tools)]
        problems += [replace(problem("tools", text), severity="warning") for text in _without_tools(binding, tools)]
        file = files.get(binding.module)
        if file is None:
            problems.append(problem("module", f"there is no file `{binding.module}`"))
        elif binding.sha256 not in (None, file.digest):
            problems.append(problem("sha256", f"`{binding.module}` has the sha256 `{file.digest}`, not the one given"))
        else:
            try:
                interceptors.append(bind(binding, file, sandbox, load, partial(log, binding.name)))
            except ModuleRefusedError as refusal:
                message = f"interceptor `{binding.name}`: `{binding.module}` is refused: {refusal}"
                problems.append(problem("module", message))
    return LoadedInterceptors(tuple(interceptors), tuple(problems))


def config_json(binding: InterceptorBinding) -> bytes:
    """What a module is told of its configuration. TOML's dates become text in RFC 3339.

    Raises ModuleRefusedError for `inf` and `nan`, which JSON does not know.
    """
    try:
        text = json.dumps(binding.config, default=_written, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise ModuleRefusedError(ErrorClass.LOAD, "its configuration holds `inf` or `nan`") from None
    return text.encode()


def _written(value: object) -> str:
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat() if isoformat is not None else value)


def bind(
    binding: InterceptorBinding, file: SourceFile, sandbox: Sandbox, load: Load, log: Callable[[int, str], None]
) -> Interceptor:
    """An interceptor of one binding. Raises ModuleRefusedError."""
    terms = Terms(
        phases=tuple(dict.fromkeys(binding.phases)),
        limits=CallLimits(binding.timeout_ms, binding.memory_mib * _MIB, binding.fuel),
        grants=tuple(sorted(set(binding.grants))),
        may_transform=binding.may_transform,
        config=config_json(binding),
        prewarm=binding.prewarm,
    )
    declared = {name: parse_type(text) for name, text in binding.annotations.items()}
    return Interceptor(
        name=binding.name,
        tools=tuple(binding.tools),
        order=binding.order,
        shadow=binding.mode == "shadow",
        allow_on_error=binding.on_error == "allow",
        terms=terms,
        declared=declared,
        loaded=load(file, terms, declared, log),
        log=log,
        max_payload_bytes=sandbox.options.max_payload_bytes,
        max_log_bytes=sandbox.options.max_log_bytes,
        pushed=binding.origin == "pushed",
    )


def _without_tools(binding: InterceptorBinding, tools: Sequence[Tool]) -> list[str]:
    """Patterns for servers that nobody pinned, where others are: perhaps a misspelt server."""
    servers = {tool.server for tool in tools}
    return [
        f"interceptor `{binding.name}`: `{pattern}` matches no pinned tool"
        for pattern in binding.tools
        if servers
        and pattern.partition("/")[0] not in servers
        and not any(fnmatch.fnmatchcase(tool.action_id, pattern) for tool in tools)
    ]


def _unmatched(binding: InterceptorBinding, tools: Sequence[Tool]) -> list[str]:
    """Patterns that name a pinned server and none of its tools: a misspelt tool would leave the call unguarded."""
    found = []
    for pattern in binding.tools:
        server = pattern.partition("/")[0]
        of_server = [tool.action_id for tool in tools if tool.server == server]
        if of_server and not any(fnmatch.fnmatchcase(name, pattern) for name in of_server):
            found.append(f"interceptor `{binding.name}`: `{pattern}` matches no tool that is pinned for `{server}`")
    return found
