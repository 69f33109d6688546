"""The context that callers add."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdp.cedar.arguments import parse_type
from pdp.cedar.caller_context import RESERVED, CallerContext
from pdp.errors import InvalidRequestError

_TYPES = {name: parse_type(name) for name in ("Long", "String", "Bool", "decimal", "ipaddr", "datetime", "duration")}
_TYPES["Set"] = parse_type("Set<String>")

OPEN = CallerContext()
CLOSED = CallerContext(_TYPES, closed=True)


def _refused(context: CallerContext, data: bytes | str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        context.read(data if isinstance(data, bytes) else data.encode())
    assert caught.value.field == "context_json"
    return caught.value.message


@pytest.mark.parametrize("context", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "(document): is not UTF-8 at byte 0"),
        (" ", "(document): is empty"),
        ("[]", "(document): must be a JSON object, not an array"),
        ("null", "(document): must be a JSON object, not null"),
        ('{"a":1,"a":1}', "/a: the key `a` is given twice"),
        ('{"a":{"b":[{"c":1,"c":2}]}}', "/a/b/0/c: the key `c` is given twice"),
        ('{"a":1', "/a: expected `,` or `}` after this value"),
        ('{"a":"\\ud800"}', "/a: the string has half of a surrogate pair"),
        ('{"a":' + "[" * 40 + "]" * 40 + "}", "nests deeper than 32 levels"),
        ('{"a":[' + ",".join(["0"] * 10_001) + "]}", "there are more than 10000 members and items"),
        ('{"a":"' + "x" * (1 << 20) + '"}', "at most 1048576 are read"),
        ('{"a":{"__entity":5}}', "`__entity` is not used as Cedar's JSON defines it"),
        ('{"a":{"__entity":{"type":"U","id":"a"},"b":1}}', "`__entity` is not used as Cedar's JSON defines it"),
        ('{"a":[{"__extn":["ip"]}]}', "`__extn` is not used as Cedar's JSON defines it"),
        ('{"__expr":"1"}', "`__expr` is not used as Cedar's JSON defines it"),
        ('{"a":{"\\u005f_entity":5}}', "`__entity` is not used as Cedar's JSON defines it"),
    ],
)
def test_malformed_contexts_are_refused(context: CallerContext, data: bytes | str, message: str) -> None:
    """A context that is not one strict JSON object is the caller's mistake, and the message says where it is."""
    assert message in _refused(context, data)


@pytest.mark.parametrize("context", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("key", sorted(RESERVED))
def test_the_services_own_keys_cannot_be_given(context: CallerContext, key: str) -> None:
    """What the service fills in cannot come from outside, however it is written."""
    escaped = f"\\u{ord(key[0]):04x}{key[1:]}"
    for written in (key, escaped):
        assert _refused(context, f'{{"{written}":{{}}}}') == f"`{key}` is filled in by the service and cannot be given"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.5", "numbers with a fraction are not Cedar values"),
        ("1e2", "numbers with a fraction are not Cedar values"),
        ("99999999999999999999", "numbers with a fraction are not Cedar values"),
        ("null", "found a `null`"),
        ('{"__extn":{"fn":"nope","arg":"1"}}', "extension function `nope` does not exist"),
        ('{"__extn":{"fn":"ip","arg":"z"}}', "invalid IP address"),
        ('{"__entity":{"type":"not a type","id":"a"}}', "failed to parse escape `__entity`"),
    ],
)
def test_what_cedar_cannot_take_is_refused(value: str, message: str) -> None:
    """Without declared types Cedar itself says what it takes, even of parts that no policy looks at."""
    assert message in _refused(OPEN, f'{{"a":[{{"b":{value}}}]}}')


def test_only_declared_keys_pass_a_schema() -> None:
    """Where a schema says what a context may hold, other keys are refused by name."""
    assert _refused(CLOSED, '{"mfa":true}') == "`mfa` is not declared under `[context]` in bundle.toml"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Long", '"1"'),
        ("Long", "1.5"),
        ("Long", "9223372036854775808"),
        ("Long", "true"),
        ("Long", "null"),
        ("String", "1"),
        ("Bool", "1"),
        ("decimal", "1.00001"),
        ("decimal", '"1.0"'),
        ("ipaddr", '"300.1.1.1"'),
        ("datetime", '"yesterday"'),
        ("duration", '"1 hour"'),
        ("Set", '"a"'),
        ("Set", "[1]"),
        ("Long", '{"__entity":{"type":"User","id":"root"}}'),
        ("ipaddr", '{"__extn":{"fn":"ip","arg":"::1"}}'),
    ],
)
def test_declared_keys_are_typed(key: str, value: str) -> None:
    """A declared key takes values of its type alone, and the message names the key."""
    assert _refused(CLOSED, f'{{"{key}":{value}}}').startswith(f"`{key}`: ")


def test_declared_keys_become_cedar_values() -> None:
    """Facts are stated as plain JSON and become explicit Cedar values."""
    given = {"Long": 5, "decimal": 1.5, "ipaddr": "10.0.0.0/8", "duration": "1h", "Set": ["a"], "Bool": False}
    assert CLOSED.read(json.dumps(given).encode()) == {
        "Long": 5,
        "decimal": {"__extn": {"fn": "decimal", "arg": "1.5"}},
        "ipaddr": {"__extn": {"fn": "ip", "arg": "10.0.0.0/8"}},
        "duration": {"__extn": {"fn": "duration", "arg": "1h"}},
        "Set": ["a"],
        "Bool": False,
    }


def test_undeclared_keys_are_cedar_json_without_a_schema() -> None:
    """Without a schema a context is Cedar JSON as it stands, references included."""
    given: dict[str, Any] = {"who": {"__entity": {"type": "User", "id": "a"}}, "n": [1, {"x": "y"}]}
    assert OPEN.read(json.dumps(given).encode()) == given


def test_no_bytes_are_no_context() -> None:
    """An empty field is an empty context."""
    assert OPEN.read(b"") == OPEN.parse(b"") == {}


def test_long_contexts_are_not_kept() -> None:
    """What a caller sends cannot fill the memory: only short contexts are remembered."""
    context = CallerContext()
    for number in range(5):
        context.read(json.dumps({"a": "x" * 100_000, "n": number}).encode())
    assert len(context._known) == 0
    context.read(b'{"a":1}')
    assert len(context._known) == 1
