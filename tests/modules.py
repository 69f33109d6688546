"""Small WebAssembly interceptors for tests, from WAT, and their bindings."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from wasmtime import wat2wasm

PASS = '{"verdict":"pass"}'


@cache
def module(wat: str) -> bytes:
    """A module in the binary format."""
    return bytes(wat2wasm(wat))


def answering(request: str | None = PASS, response: str | None = None, more: str = "") -> bytes:
    """A module whose hooks answer with fixed text; None leaves a hook out. `more` is WAT."""
    texts = {"pdp_on_request": request, "pdp_on_response": response}
    parts = []
    at = 1024
    for name, text in texts.items():
        if text is None:
            continue
        content = text.encode()
        data = "".join(f"\\{byte:02x}" for byte in content)
        parts.append(
            f'(data (i32.const {at}) "{data}")'
            f'(func (export "{name}") (param i32 i32) (result i64) (i64.const {at << 32 | len(content)}))'
        )
        at += len(content)
    return module(
        f"""(module (memory (export "memory") 4) (func (export "pdp_abi_v1"))
            (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072)) {"".join(parts)} {more})"""
    )


#: Answers a request with what it finds as `answer` in its configuration: a JSON text, which must be the last member.
_LOOPING = """(module (memory (export "memory") 4) (func (export "pdp_abi_v1"))
    (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072))
    (func (export "pdp_on_request") (param i32 i32) (result i64)
        (if (i32.ne (i32.load8_u (i32.const 131072)) (i32.const 123)) (then (unreachable)))
        (if (call $is_trial (local.get 1)) (then (return (i64.const 4398046511122))))
        (loop (br 0)) (unreachable))
    (data (i32.const 1024) "{\\22verdict\\22:\\22pass\\22}")
    (func $is_trial (param i32) (result i32) (i32.lt_u (local.get 0) (i32.const 230))))"""


def looping() -> bytes:
    """A module that passes its trial, whose request is short, and never ends on longer ones."""
    return module(_LOOPING)


def binding(name: str, *, phases: tuple[str, ...] = ("request",), **more: Any) -> str:
    """A `[[interceptor]]` for `interceptors/<name>.wasm`; `config` and `annotations` become tables of their own."""
    tables = {key: more.pop(key) for key in ("config", "annotations") if key in more}
    fields = {"name": name, "module": f"interceptors/{name}.wasm", "phases": list(phases), **more}
    lines = ["[[interceptor]]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
    for table, values in tables.items():
        lines.append(f"[interceptor.{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def deny(message: str = "", reason: str = "") -> str:
    """A reply that denies."""
    return json.dumps({"verdict": "deny", "message": message, "reason": reason})


def transform(**payload: Any) -> str:
    """A reply that gives new `arguments` or a new `result`."""
    return json.dumps({"verdict": "transform", **payload})
