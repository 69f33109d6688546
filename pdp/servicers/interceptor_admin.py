"""Interceptors as AdminService shows and takes them: protobuf to bindings and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from google.protobuf.duration_pb2 import Duration
from pydantic import ValidationError

from pdp import wire
from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp._gen.pdp.v1 import interceptor_pb2
from pdp.bundle.interceptor_modules import Load, bind
from pdp.bundle.manifest import InterceptorBinding
from pdp.bundle.source import source_file
from pdp.cedar.strict_json import JsonError, parse_object
from pdp.errors import InvalidRequestError, OverLimitError
from pdp.sandbox.chain import Interceptor
from pdp.sandbox.model import ModuleRefusedError
from pdp.sandbox.sandbox import Sandbox

_PHASES = {interceptor_pb2.PHASE_REQUEST: "request", interceptor_pb2.PHASE_RESPONSE: "response"}
_MODES = {interceptor_pb2.INTERCEPTOR_MODE_ENFORCE: "enforce", interceptor_pb2.INTERCEPTOR_MODE_SHADOW: "shadow"}
_ON_ERROR = {interceptor_pb2.ON_ERROR_DENY: "deny", interceptor_pb2.ON_ERROR_ALLOW: "allow"}
_KINDS = {"core": pb.MODULE_KIND_CORE, "component": pb.MODULE_KIND_COMPONENT}
_NS_PER_MS = 1_000_000


def read_put(requests: Iterator[pb.PutInterceptorRequest], max_bytes: int) -> tuple[dict[str, Any], bytes]:
    """The binding, as a `[[interceptor]]` without its module, and the module.

    Raises InvalidRequestError for parts that are malformed or out of order, OverLimitError for too many bytes.
    """
    first = next(requests, None)
    if first is None or first.WhichOneof("part") != "binding":
        raise InvalidRequestError("binding", "the first message must have `binding`", "MISSING_FIELD")
    chunks: list[bytes] = []
    size = 0
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise InvalidRequestError("chunk", "every message but the first must have `chunk`", "MISSING_FIELD")
        size += len(request.chunk)
        if size > max_bytes:
            raise OverLimitError(f"the module has more than {max_bytes} bytes")
        chunks.append(request.chunk)
    if not size:
        raise InvalidRequestError("chunk", "the module is missing", "MISSING_FIELD")
    module = b"".join(chunks)
    digest = hashlib.sha256(module).hexdigest()
    if first.binding.sha256 not in ("", digest):
        raise InvalidRequestError("binding.sha256", f"the bytes that came have the sha256 `{digest}`")
    return _read_binding(first.binding), module


def require_loadable(binding: dict[str, Any], module: bytes, sandbox: Sandbox) -> None:
    """Raise InvalidRequestError unless the binding is one, and the module loads under it."""
    file = source_file("interceptors/pushed.wasm", module)
    try:
        checked = InterceptorBinding.model_validate({**binding, "module": file.path})
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(map(str, ("binding", *detail["loc"])))
        raise InvalidRequestError(field, detail["msg"].removeprefix("Value error, ").lower()) from None
    try:
        bind(checked, file, sandbox, _loading(sandbox), lambda level, text: None)
    except ModuleRefusedError as refusal:
        reason = f"MODULE_REFUSED_{refusal.error_class.name}"
        raise InvalidRequestError("chunk", f"the module is refused: {refusal}", reason) from None


def _loading(sandbox: Sandbox) -> Load:
    return lambda file, terms, declared, log: sandbox.load(file.content, terms, declared, log)


def _read_binding(binding: interceptor_pb2.InterceptorBinding) -> dict[str, Any]:
    wire.require(binding.name, "binding.name")
    if not binding.tools:
        raise InvalidRequestError("binding.tools", "`binding.tools` is missing", "MISSING_FIELD")
    found: dict[str, Any] = {
        "name": binding.name,
        "phases": [_word(_PHASES, phase, "binding.phases") for phase in binding.phases],
        "tools": list(binding.tools),
    }
    for key in ("order", "memory_mib", "fuel", "prewarm"):
        if binding.HasField(key):
            found[key] = getattr(binding, key)
    if binding.mode:
        found["mode"] = _word(_MODES, binding.mode, "binding.mode")
    if binding.on_error:
        found["on_error"] = _word(_ON_ERROR, binding.on_error, "binding.on_error")
    if binding.may_transform:
        found["may_transform"] = True
    if binding.HasField("timeout"):
        found["timeout_ms"] = _milliseconds(binding.timeout)
    if binding.grants:
        found["grants"] = list(binding.grants)
    if binding.config_json:
        found["config"] = _config(binding.config_json)
    if binding.annotations:
        found["annotations"] = dict(sorted(binding.annotations.items()))
    return found


def _word(words: dict[Any, str], number: int, field: str) -> str:
    if number not in words:
        raise InvalidRequestError(field, f"`{field}`: {number} is no value of it")
    return words[number]


def _milliseconds(timeout: Duration) -> int:
    nanoseconds = timeout.seconds * 1_000_000_000 + timeout.nanos
    if nanoseconds % _NS_PER_MS:
        raise InvalidRequestError("binding.timeout", "`binding.timeout` must be whole milliseconds")
    return nanoseconds // _NS_PER_MS


def _config(text: bytes) -> dict[str, Any]:
    try:
        config = parse_object(text)
    except JsonError as error:
        raise InvalidRequestError("binding.config_json", f"`binding.config_json`: {error}", "INVALID_JSON") from None
    return {name: _toml_value(value, name) for name, value in config.items()}


def _toml_value(value: Any, place: str) -> Any:
    """A JSON value as TOML can hold it, which has no null and no number but 64-bit integers and doubles."""
    if isinstance(value, dict):
        return {name: _toml_value(inner, f"{place}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_toml_value(inner, f"{place}[{number}]") for number, inner in enumerate(value)]
    if value is None:
        raise InvalidRequestError("binding.config_json", f"`{place}` is null, which a bundle cannot hold; leave it out")
    if isinstance(value, Decimal):
        if Decimal(repr(float(value))) != value:
            raise InvalidRequestError("binding.config_json", f"`{place}` cannot be held exactly; give it as text")
        return float(value)
    return value


def write_interceptor(interceptor: Interceptor) -> pb.Interceptor:
    """An interceptor as it is loaded."""
    terms, facts = interceptor.terms, interceptor.loaded.facts
    binding = interceptor_pb2.InterceptorBinding(
        name=interceptor.name,
        sha256=facts.sha256,
        phases=[wire.PHASE_NUMBERS[phase] for phase in terms.phases],
        tools=interceptor.tools,
        order=interceptor.order,
        mode=wire.write_mode(interceptor.shadow),
        on_error=interceptor_pb2.ON_ERROR_ALLOW if interceptor.allow_on_error else interceptor_pb2.ON_ERROR_DENY,
        may_transform=terms.may_transform,
        memory_mib=terms.limits.memory_bytes >> 20,
        fuel=terms.limits.fuel,
        config_json=terms.config,
        annotations={name: fact.cedar_type() for name, fact in interceptor.declared.items()},
        grants=terms.grants,
        prewarm=terms.prewarm,
    )
    binding.timeout.FromMilliseconds(terms.limits.timeout_ms)
    return pb.Interceptor(
        binding=binding,
        origin=pb.INTERCEPTOR_ORIGIN_PUSHED if interceptor.pushed else pb.INTERCEPTOR_ORIGIN_BUNDLE,
        kind=_KINDS[facts.kind],
        size_bytes=facts.size_bytes,
        imports=facts.imports,
    )


def write_statuses(interceptors: Iterable[Interceptor]) -> list[pb.InterceptorStatus]:
    """What interceptors did, in the order of their names."""
    return [_status(interceptor) for interceptor in sorted(interceptors, key=lambda interceptor: interceptor.name)]


def _status(interceptor: Interceptor) -> pb.InterceptorStatus:
    counts = interceptor.counters.counts()
    status = pb.InterceptorStatus(
        name=interceptor.name,
        sha256=interceptor.loaded.facts.sha256,
        mode=wire.write_mode(interceptor.shadow),
        healthy=counts.healthy,
        calls=counts.calls,
        passed=counts.passed,
        transformed=counts.transformed,
        denied=counts.denied,
        failures=[
            pb.InterceptorFailures(error_class=wire.write_error_class(error_class), count=count)
            for error_class, count in sorted(counts.failures.items(), key=lambda item: item[0].value)
        ],
    )
    status.total_duration.FromNanoseconds(counts.total_ns)
    if counts.last_failure_at is not None:
        status.last_failure_at.FromDatetime(counts.last_failure_at)
    return status
