"""Modules that do something besides letting every request pass."""

from __future__ import annotations

from tests.modules import PASS, module

_TEXT = PASS.replace('"', r"\22")


def guest(imports: str = "", body: str = "", more: str = "", pages: int = 4) -> bytes:
    """A module that lets every request pass, after `body`; all arguments are WAT, but for the pages of its memory."""
    return module(
        f"""(module {imports} (memory (export "memory") {pages}) (func (export "pdp_abi_v1"))
            (func (export "pdp_alloc") (param i32) (result i32) (i32.const 131072))
            (data (i32.const 1024) "{_TEXT}")
            (func (export "pdp_on_request") (param i32 i32) (result i64) {body} (i64.const {1024 << 32 | len(PASS)}))
            {more})"""
    )
