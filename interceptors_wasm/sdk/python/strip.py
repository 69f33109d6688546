"""Usage: strip.py FILE.wasm: take the names of functions and tools, which only debuggers need, out of a component."""

# ruff: noqa: INP001

import sys
from pathlib import Path

_COMPONENT = b"\0asm\x0d\0\1\0"
_MODULE = b"\0asm\1\0\0\0"
_CUSTOM, _NESTED_MODULE, _NESTED_COMPONENT = 0, 1, 4  # numbers of sections; the last two in components
_UNNEEDED = {b"name", b"component-name", b"producers", b"target_features"}


def strip(wasm):
    """The bytes of a module or component without custom sections that nothing needs, in nested ones too."""
    out = bytearray(wasm[:8])
    if out not in (_COMPONENT, _MODULE):
        raise ValueError("this is neither a module nor a component")
    at = 8
    while at < len(wasm):
        kind = wasm[at]
        size, start = _number(wasm, at + 1)
        content, at = wasm[start : start + size], start + size
        if kind == _CUSTOM and _name(content) in _UNNEEDED:
            continue
        if out[:8] == _COMPONENT and kind in (_NESTED_MODULE, _NESTED_COMPONENT):
            content = strip(content)
        out += bytes([kind]) + _encoded(len(content)) + content
    return bytes(out)


def _name(content):
    length, start = _number(content, 0)
    return content[start : start + length]


def _number(data, at):
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _encoded(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_bytes(strip(file.read_bytes()))
