"""Core modules as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from pdp.sandbox.core_module import has_start_section

MEMORY = "(memory 1)"
FUNCTIONS = "(func $a) (func $b)"
DATA = '(data (i32.const 0) "' + "\\08" * 300 + '")'


@pytest.mark.parametrize(
    ("wat", "starts"),
    [
        ("(module)", False),
        (f"(module {MEMORY} {FUNCTIONS} {DATA})", False),
        (f"(module {MEMORY} {FUNCTIONS} {DATA} (start $b))", True),
        (f"(module {FUNCTIONS} (start $a))", True),
        (f'(module (import "a" "b" (func $c)) {FUNCTIONS} (start $c))', True),
        ('(module (@custom "first" (before first) "\\08\\01\\00") (func $a))', False),
        ('(module (@custom "start" "\\08\\01\\00") (func $a) (@custom "\\08" "\\08"))', False),
        ('(module (@custom "x" "\\08\\01\\00") (func $a) (start $a))', True),
    ],
)
def test_start_functions_are_found(wat: str, starts: bool) -> None:
    """A module has a start function where it has that section, and nothing else in it passes for one."""
    assert has_start_section(bytes(wat2wasm(wat))) is starts


def _section(number: int, size: bytes, content: bytes) -> bytes:
    return bytes([number]) + size + content


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]), st.binary(max_size=300))))
def test_only_the_section_counts(sections: list[tuple[int, bytes]]) -> None:
    """Whatever other sections hold, and however their sizes are written, only a start section is one."""
    content = b"\0asm\1\0\0\0"
    for number, inside in sections:
        # Five bytes, as linkers write sizes that they fill in later.
        size = bytes([len(inside) & 0x7F | 0x80, len(inside) >> 7 | 0x80, 0x80, 0x80, 0])
        content += _section(number, size, inside)
    assert not has_start_section(content)
    assert has_start_section(content + _section(8, b"\1", b"\0"))
    assert has_start_section(content[:8] + _section(8, b"\1", b"\0") + content[8:])
