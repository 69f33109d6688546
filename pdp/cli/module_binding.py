"""A module with its binding, as the command line gives them to a service."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from pdp import wire
from pdp._gen.pdp.v1.admin_service_pb2 import PutInterceptorRequest
from pdp._gen.pdp.v1.interceptor_pb2 import InterceptorBinding
from pdp.cli.documents import read_document
from pdp.cli.failure import CommandError
from pdp.sandbox.model import Phase

_CHUNK_BYTES = 64 * 1024


def module_name(path: str) -> str:
    """What a module is called after its file."""
    return Path(path).name.removesuffix(".wasm")


def binding_message(
    arguments: Namespace, name: str, tools: Iterable[str], phases: Iterable[Phase]
) -> InterceptorBinding:
    """The binding that the options of every module command give; whatever they leave out is unset."""
    declared = dict(arguments.annotations)
    if len(declared) < len(arguments.annotations):
        raise CommandError("`--annotation` gives two types to one name")
    binding = InterceptorBinding(
        name=name,
        tools=tools,
        phases=[wire.PHASE_NUMBERS[phase] for phase in phases],
        may_transform=arguments.may_transform,
        memory_mib=arguments.memory_mib,
        fuel=arguments.fuel,
        grants=arguments.grants,
        config_json=read_document(arguments.config_json),
        annotations=declared,
    )
    if arguments.timeout_ms is not None:
        binding.timeout.FromMilliseconds(arguments.timeout_ms)
    return binding


def put_parts(binding: InterceptorBinding, module: bytes) -> Iterator[PutInterceptorRequest]:
    """What `PutInterceptor` takes, in its order."""
    yield PutInterceptorRequest(binding=binding)
    for start in range(0, len(module), _CHUNK_BYTES):
        yield PutInterceptorRequest(chunk=module[start : start + _CHUNK_BYTES])
