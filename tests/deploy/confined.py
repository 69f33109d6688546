"""Start a command under the list of system calls, and the rule on executable memory, that a unit of systemd has.

For where no systemd runs: the list is expanded by `systemd-analyze`, and loaded with libseccomp as systemd does it.
As a script: `confined.py UNIT COMMAND...`.
"""

from __future__ import annotations

import ctypes
import errno
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_ALLOW = 0x7FFF_0000
_REFUSE = 0x0005_0000 | errno.EPERM
_PR_SET_NO_NEW_PRIVS = 38
_MASKED_EQUAL = 7
_PROT_EXEC, _PROT_WRITE_AND_EXEC, _SHM_EXEC = 4, 6, 0o100000


class _Argument(ctypes.Structure):
    _fields_ = (
        ("position", ctypes.c_uint),
        ("comparison", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


#: What MemoryDenyWriteExecute refuses: the call, which of its arguments, and the bits that must not all be set there.
_EXECUTABLE = (
    ("mmap", 2, _PROT_WRITE_AND_EXEC),
    ("mprotect", 2, _PROT_EXEC),
    ("pkey_mprotect", 2, _PROT_EXEC),
    ("shmat", 2, _SHM_EXEC),
)


def settings(unit: Path) -> list[tuple[str, str]]:
    """The settings of a unit, in order."""
    lines = (line.partition("=") for line in unit.read_text("utf-8").splitlines() if not line.startswith(("#", "[")))
    return [(name, value) for name, equals, value in lines if equals]


def allowed_calls(unit: Path) -> set[str]:
    """The names that the unit's `SystemCallFilter` lines leave, one after the other."""
    calls = _members("@default")
    for value in [value for name, value in settings(unit) if name == "SystemCallFilter"]:
        words = value.removeprefix("~").split()
        named = {call for word in words for call in (_members(word) if word.startswith("@") else {word})}
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def _members(group: str) -> set[str]:
    command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    words = {line.strip() for line in lines[1:]} - {""}
    words = {word for word in words if not word.startswith("#")}
    return {call for word in words for call in (_members(word) if word.startswith("@") else {word})}


def _load(library: Any, otherwise: int, rules: Iterable[tuple[int, str, Sequence[_Argument]]]) -> None:
    filters = library.seccomp_init(otherwise)
    for action, call, arguments in rules:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are calls of other machines
            array = (_Argument * max(1, len(arguments)))(*arguments)
            library.seccomp_rule_add_array(filters, action, number, len(arguments), array)
    if library.seccomp_load(filters) != 0:
        raise OSError("the filter cannot be loaded")


def confine(unit: Path) -> None:
    """Confine this process, and all that come of it, as the unit says."""
    calls = allowed_calls(unit)
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    pointer = ctypes.POINTER(_Argument)
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, pointer]
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _load(library, _REFUSE, ((_ALLOW, call, ()) for call in sorted(calls | {"seccomp", "execve"})))
    if dict(settings(unit))["MemoryDenyWriteExecute"] == "yes":
        rules = ((_REFUSE, call, [_Argument(at, _MASKED_EQUAL, bits, bits)]) for call, at, bits in _EXECUTABLE)
        _load(library, _ALLOW, rules)


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    raise SystemExit(subprocess.run(sys.argv[2:], check=False).returncode)
