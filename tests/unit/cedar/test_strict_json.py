"""Reading JSON with nothing left to interpretation."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.cedar.json_text import canonical_text
from pdp.cedar.strict_json import JsonError, JsonLimits, locate, parse_object, parse_value

#: What `_explain` says when it finds nothing: the two readers would then disagree.
_UNEXPLAINED = "is not acceptable JSON"

# Keys and strings that the two readers might take apart differently.
_TEXTS = st.text(max_size=6) | st.sampled_from(
    ["", "a", "__entity", "\u0000", "\ud7ff\ue000", "\U0001f600", "~/", '"\\']
)
_NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


def _refused(data: bytes, limits: JsonLimits | None = None) -> JsonError:
    with pytest.raises(JsonError) as caught:
        parse_object(data, limits or JsonLimits())
    return caught.value


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (b'{"a":1,"a":1}', "/a", "the key `a` is given twice"),
        (b'{"a":1,"\\u0061":1}', "/a", "the key `a` is given twice"),
        (b'{"x":[0,{"y":{"k":1,"z":0,"k":2}}]}', "/x/1/y/k", "the key `k` is given twice"),
        (b'{"a/b":{"c~d":1,"c~d":1}}', "/a~1b/c~0d", "the key `c~d` is given twice"),
    ],
)
def test_a_duplicate_key_is_refused_where_it_stands(data: bytes, path: str, message: str) -> None:
    """The second use of a key is refused at any depth, however it is written, with its path."""
    error = _refused(data)
    assert (error.path, error.message) == (path, message)


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{"a":"\\ud800"}', "/a"),
        (b'{"a":"\\udfff"}', "/a"),
        (b'{"a":["\\ud83d\\ude00","\\ud83d"]}', "/a/1"),
        (b'{"a":"\\ud83d\\u0041"}', "/a"),
        (b'{"a":"\\ud83d\\\\ude00"}', "/a"),
        (b'{"a":"\\\\\\uD800"}', "/a"),
        (b'{"\\uD800":1}', ""),
        (b'{"a":{"\\udc00b":1}}', "/a"),
    ],
)
def test_an_escaped_lone_surrogate_is_refused(data: bytes, path: str) -> None:
    """Half of an escaped surrogate pair, in a value or a key, is refused."""
    error = _refused(data)
    assert error.path == path
    assert "half of a surrogate pair" in error.message


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":"\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"a":"\\uD83D\\uDE00\\uD83D\\uDE00"}', "\U0001f600\U0001f600"),
        (b'{"a":"\\\\ud800"}', "\\ud800"),
        (b'{"a":"\\ud7ff\\ue000"}', "\ud7ff\ue000"),
    ],
)
def test_escapes_that_only_look_like_lone_surrogates_are_read(data: bytes, value: str) -> None:
    """Paired surrogates, and text that reads `\\ud800` after an escaped backslash, are good strings."""
    assert parse_object(data) == {"a": value}


@pytest.mark.parametrize(
    "data", [b'{"a":"\xed\xa0\x80"}', b'{"a":"\xff"}', b'{"a":"\xc0\xaf"}', b'{"\xf4\x90\x80\x80":1}', b"{\x00}\x80"]
)
def test_bytes_that_are_not_utf_8_are_refused(data: bytes) -> None:
    """Raw surrogates, overlong forms, bytes out of range: none of them is UTF-8."""
    assert _refused(data).message.startswith("is not UTF-8 at byte")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
        (b"[]", "must be a JSON object, not an array"),
        (b"null", "must be a JSON object, not null"),
        (b"1e5", "must be a JSON object, not a number"),
        (b"{} {}", "there is text after the JSON value"),
        (b"{}\x00", "there is text after the JSON value"),
        (b"{}//", "there is text after the JSON value"),
        (b"nul", "expected a JSON value"),
        (b"\x0b{}", "expected a JSON value"),
    ],
)
def test_only_one_object_and_nothing_else_is_read(data: bytes, message: str) -> None:
    """The document is exactly one JSON object, with nothing but JSON white space around it."""
    error = _refused(data)
    assert (error.path, error.message) == ("", message)


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (b'{"a":NaN}', "/a", "`NaN` is not JSON"),
        (b'{"a":[Infinity]}', "/a/0", "`Infinity` is not JSON"),
        (b'{"a":-Infinity}', "/a", "`-Infinity` is not JSON"),
        (b'{"a":01}', "/a", "expected `,` or `}` after this value"),
        (b'{"a":1.}', "/a", "expected `,` or `}` after this value"),
        (b'{"a":.5}', "/a", "expected a JSON value"),
        (b'{"a":+5}', "/a", "expected a JSON value"),
        (b'{"a":0x10}', "/a", "expected `,` or `}` after this value"),
        (b'{"a":"\n"}', "/a", "the string has an invalid escape or a control character"),
        (b'{"a":"\\x"}', "/a", "the string has an invalid escape or a control character"),
        (b'{"a":"b', "/a", "the string has no end"),
        (b'{"a":[1,]}', "/a/1", "expected a JSON value"),
        (b'{"a":1,}', "", "expected a key in double quotes"),
        (b"{'a':1}", "", "expected a key in double quotes"),
        (b'{"a" 1}', "/a", "expected `:` after the key"),
        (b'{"a":', "/a", "expected a JSON value"),
        (b'{"a":[1 2]}', "/a/0", "expected `,` or `]` after this value"),
        (b'{"a":[1}', "/a/0", "expected `,` or `]` after this value"),
    ],
)
def test_what_is_not_json_is_refused_with_its_path(data: bytes, path: str, message: str) -> None:
    """Extensions that some parsers take are refused, and the message names the value."""
    error = _refused(data)
    assert (error.path, error.message) == (path, message)


@pytest.mark.parametrize("data", [b"[" * 10**6, b'{"a":' * 10**5, b'{"a":' + b"[" * 10**5 + b"]" * 10**5 + b"}"])
def test_a_depth_bomb_is_refused(data: bytes) -> None:
    """A million nested containers are refused for their depth, before anything recurses into them."""
    error = _refused(data)
    assert error.message == "nests deeper than 32 levels"
    assert len(error.path) <= 201


def test_depth_counts_containers_and_not_brackets_in_strings() -> None:
    """Exactly `max_depth` containers may nest; brackets in strings and side by side do not count."""
    limits = JsonLimits(max_depth=3)
    parse_object(b'{"a":[{}]}', limits)
    parse_object(b'{"a":[[],[],[],{}],"b":"[[[[[\\"[[[["}', limits)
    assert _refused(b'{"a":[{"b":[]}]}', limits).path == "/a/0/b"


def test_elements_are_counted() -> None:
    """Object members and array items together are bounded; commas in strings are not counted."""
    limits = JsonLimits(max_nodes=4)
    parse_object(b'{"a":[1,2,3]}', limits)
    parse_object(b'{"a":"' + b",[{" * 1000 + b'"}', limits)
    assert _refused(b'{"a":[1,2,3,4]}', limits).path == "/a/3"
    assert _refused(b'{"a":{"b":{"c":{"d":{}}}},"e":1}', limits).path == "/e"


def test_size_is_bounded_in_bytes() -> None:
    """The limit is on the bytes of the text, and is inclusive."""
    data = b'{"a":"\xc3\xa9"}'
    assert parse_object(data, JsonLimits(max_bytes=len(data))) == {"a": "é"}
    assert _refused(data, JsonLimits(max_bytes=len(data) - 1)).message == "is 10 bytes long; at most 9 are read"


def test_a_long_string_is_read() -> None:
    """A string that fills the default limit comes through whole."""
    content = "x" * (2**20 - 9)
    assert parse_object(json.dumps({"a": content}).encode())["a"] == content


@pytest.mark.parametrize("text", ["0", "-1", "9223372036854775807", "-9223372036854775808"])
def test_integers_of_64_bits_are_int(text: str) -> None:
    """An integer that fits 64 bits is read as int."""
    value = parse_object(f'{{"a":{text}}}'.encode())["a"]
    assert type(value) is int
    assert value == int(text)


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "1" * 10**6,
        "1.5",
        "5.0",
        "-0.0",
        "1e2",
        "1E-999999999",
        "1e999999999",
    ],
)
def test_other_numbers_are_exact_decimals(text: str) -> None:
    """A million digits or a huge exponent cost nothing and lose nothing."""
    value = parse_object(f'{{"a":{text}}}'.encode())["a"]
    assert type(value) is Decimal
    assert value.compare_total(Decimal(text)) == 0


@pytest.mark.parametrize(
    "text", ["1e99999999999999999999999", "-1.5E-99999999999999999999999", "0e99999999999999999999"]
)
def test_an_exponent_beyond_any_number_is_refused(text: str) -> None:
    """Exponents that no exact number type holds are refused, with the path."""
    error = _refused(f'{{"a":[{text}]}}'.encode())
    assert (error.path, error.message) == ("/a/0", "the number's exponent is out of range")


def test_hostile_keys_do_not_blow_up_messages() -> None:
    """A key as long as the document is cut in path and message."""
    key = b"k" * 100_000
    error = _refused(b'{"' + key + b'":1,"' + key + b'":2}')
    assert len(error.path) < 250
    assert len(error.message) < 250


@given(_VALUES)
@settings(deadline=None)
def test_every_json_value_is_read_back(value: Any) -> None:
    """What is written canonically is read as the value it was."""
    read = parse_value(canonical_text(value).encode())
    assert read == value
    assert canonical_text(read) == canonical_text(value)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    text = bytearray(json.dumps(draw(_VALUES), default=float, ensure_ascii=draw(st.booleans())).encode())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=2)
            | st.sampled_from([b'"', b"\\", b"\\ud800", b"{", b"[", b",", b":", b"e9", b"-", b"0"])
        )
    return bytes(text)


@given(_damaged(), st.builds(JsonLimits, st.just(1000), st.integers(1, 4), st.integers(1, 8)))
@settings(deadline=None, max_examples=500)
def test_damaged_text_is_refused_with_a_reason_or_means_what_others_read(data: bytes, limits: JsonLimits) -> None:
    """Any bytes are read as the standard library reads them, or refused, and the slow reader knows why."""
    try:
        value = parse_value(data, limits)
    except JsonError as error:
        reason = error.message
    else:
        reason = ""
        assert value == json.loads(data, parse_float=Decimal)
    assert reason != _UNEXPLAINED


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("", (1, 1)),
        ("/a", (2, 8)),
        ("/a/1", (3, 4)),
        ("/a/1/b~1c", (3, 12)),
        ("/a/1/~0", (3, 20)),
        ("/", (4, 7)),
        ("/a/9", (2, 8)),
        ("/nothing/here", (1, 1)),
        ("no pointer", (1, 1)),
    ],
)
def test_a_value_is_located(pointer: str, place: tuple[int, int]) -> None:
    """A pointer leads to line and column of its value, or of the innermost value that there is."""
    text = '{\n  "a": [1,\n   {"b/c": 2, "~": []}],\n  "": 5\n}'
    assert locate(text, pointer) == place


@pytest.mark.parametrize("text", ["", "{", '{"a":', '{"a":[1,', "]", '{"a":1,"a":2}', "[" * 10**5, '{"a":"\\ud800"}'])
@pytest.mark.parametrize("pointer", ["", "/a", "/a/1/b", "/0/0"])
def test_locating_in_broken_text_gives_a_place_in_it(text: str, pointer: str) -> None:
    """However broken the text is, there is an answer that lies in it."""
    line, column = locate(text, pointer)
    assert line == 1
    assert 1 <= column <= len(text) + 1
