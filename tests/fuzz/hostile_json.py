"""JSON texts that a seed makes: most of them good, some at the limits of what is good, some no JSON at all."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

TEXTS = (
    "", "a", "b", "srv", "read", "secret", "\0", '"', "\\", "\n", "é", "\U0001f600", "\u2028", "..", "../etc", "if",
    "__entity", "a" * 300, "Agent::\"a\"", "\ud7ff", "1970-01-01", "::1", "0x10", " ", "*", "ﬀ",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, 5, 9, 10, 11, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**70, 10**400, 0.1, 1.0, -0.0,
    1e300, 0.00001, 922337203685477.5807,
)  # fmt: skip
KEYS = (
    "n", "owner", "tags", "any", "deep", "mfa", "input", "__entity", "__extn", "__expr", "type", "id", "attrs", "uid",
    "session_id", "interceptors", "", "\0", "é", "params", "name", "arguments", "method", "jsonrpc",
)  # fmt: skip
_ESCAPES: tuple[Any, ...] = (
    {"__entity": {"type": "Agent", "id": "a"}}, {"__extn": {"fn": "ip", "arg": "::1"}}, {"__expr": "1"},
    {"__extn": {"fn": "decimal", "arg": "1.23456"}}, {"__entity": 5},
)  # fmt: skip
#: Texts whose damage no generator of values makes.
DAMAGED = (
    b"", b" ", b"{", b"}", b"[", b"null", b"[]", b"1", b'"x"', b"\xff", b"\xef\xbb\xbf{}", b'{"n":1,"n":2}', b"{}{}",
    b'{"n":NaN}', b'{"n":1e999999999}', b'{"n":-Infinity}', b'{"n":01}', b'{"n":.5}', b'{"owner":"\\ud800"}',
    b'{"owner":"\xed\xa0\x80"}', b'{"n" 1}', b'{"n":1,}', b"{'n':1}", b'{"\\u006e":1,"n":2}', b'{"n":1}\0',
    b'{"a":' * 70 + b"1" + b"}" * 70, b'{"a":' * 5_000, b"[" * 20_000 + b"]" * 20_000, b'{"n":' + b"9" * 5_000 + b"}",
    b'{"owner":"' + b"x" * 70_000 + b'"}', b'{"n":1' + b" " * 10_000 + b"}",
)  # fmt: skip


class JsonMaker:
    """Makes texts from one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def value(self, depth: int = 0) -> Any:
        """Any value."""
        kind = self._chance.randrange(10 if depth < 4 else 7)
        if kind < 2:
            return self._chance.choice(TEXTS)
        if kind < 5:
            return self._chance.choice(NUMBERS)
        if kind == 5:
            return self._chance.choice((None, True, False))
        if kind == 6:
            return self._chance.choice(_ESCAPES)
        size = self._chance.randrange(4)
        if kind == 7:
            return [self.value(depth + 1) for _ in range(size)]
        return {self._chance.choice(KEYS): self.value(depth + 1) for _ in range(size)}

    def record(self) -> dict[str, Any]:
        """Any object."""
        return {self._chance.choice(KEYS): self.value(1) for _ in range(self._chance.randrange(4))}

    def text(self, good: Callable[[], Any], kinds: int = 10) -> bytes:
        """A document of `good`'s, or, four times of `kinds`, of any values or with damage."""
        kind = max(self._chance.randrange(kinds) - kinds + 10, 0)
        if kind < 6:
            return self._written(good())
        if kind == 6:
            return self._written(self.record())
        if kind == 7:
            return self._chance.choice(DAMAGED)
        return self.damaged(self._written(good()))

    def _written(self, value: Any) -> bytes:
        return json.dumps(value, ensure_ascii=self._chance.random() < 0.5).encode("utf-8", "surrogatepass")

    def damaged(self, data: bytes) -> bytes:
        """A few bytes changed, cut out, put in, said twice, or the end missing."""
        changed = bytearray(data)
        for _ in range(self._chance.randint(1, 3)):
            start = self._chance.randrange(len(changed) + 1)
            kind = self._chance.randrange(5)
            if kind == 0:
                del changed[start:]
            elif kind == 1:
                del changed[start : start + self._chance.randint(1, 4)]
            elif kind == 2:
                changed[start:start] = self._chance.randbytes(self._chance.randint(1, 4))
            elif kind == 3:
                changed[start:start] = changed[start : start + self._chance.randint(1, 20)]
            elif start < len(changed):
                changed[start] ^= 1 << self._chance.randrange(8)
        return bytes(changed)
