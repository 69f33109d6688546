"""Small modules in WAT: one that passes everything, and some that go wrong."""

from __future__ import annotations

from typing import Literal

from wasmtime import wat2wasm

Behaviour = Literal["pass", "loop", "trap", "babble"]

#: The request of a trial call is shorter, so that a module that goes wrong can be loaded.
SHORTEST = 512

_PASSING = '{"verdict":"pass"}'
_BABBLE = "all is well"
_BODIES: dict[Behaviour, str] = {
    "pass": "",
    "loop": "(loop (br 0))",
    "trap": "(unreachable)",
    "babble": f"(return (i64.const {2048 << 32 | len(_BABBLE)}))",
}
# Four pages: the request gets the upper half, which has room for 128 KiB.
_MODULE = """(module (memory (export "memory") 4) (func (export "pdp_abi_v1"))
    (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072))
    (data (i32.const 1024) "{passing}") (data (i32.const 2048) "{babble}")
    (func (export "pdp_on_request") (param i32 i32) (result i64)
        (if (i32.gt_u (local.get 1) (i32.const {shortest})) (then {body}))
        (i64.const {answer})))"""


def wat_module(behaviour: Behaviour) -> bytes:
    """A module that passes short requests, and does this with those of more than SHORTEST bytes."""
    text = _MODULE.format(
        passing=_PASSING.replace('"', '\\"'),
        babble=_BABBLE,
        shortest=SHORTEST,
        body=_BODIES[behaviour],
        answer=1024 << 32 | len(_PASSING),
    )
    return bytes(wat2wasm(text))
