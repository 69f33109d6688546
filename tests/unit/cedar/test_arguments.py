"""Hostile arguments, and facts that others state, to typed Cedar values."""

from __future__ import annotations

import ipaddress
import json
from decimal import Decimal
from typing import Any

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdp.cedar.arguments import ConvertedInput, ToolInput, parse_type
from pdp.cedar.strict_json import JsonLimits
from pdp.cedar.tool_types import from_json_schema
from pdp.errors import InvalidArgumentsError

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "e": {"enum": ["a", "b"]},
        "maybe": {"type": ["string", "null"]},
        "list": {"type": "array", "items": {"type": "string"}},
        "grid": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "any_list": {"type": "array"},
        "files": {
            "type": "array",
            "items": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        },
        "nested": {
            "type": "object",
            "properties": {"deep": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        },
        "free": {"type": "object"},
        "any": {},
        "union": {"type": ["string", "integer"]},
        "number_or_text": {"type": ["string", "number"]},
        "labels": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "owner": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"login": {"type": "string"}}}]},
    },
}


def _convert(data: bytes | str, required: tuple[str, ...] = (), limits: JsonLimits | None = None) -> ConvertedInput:
    tool_input = ToolInput(from_json_schema({**_SCHEMA, "required": list(required)}), limits or JsonLimits())
    return tool_input.convert(data if isinstance(data, bytes) else data.encode())


def _refused(data: bytes | str, required: tuple[str, ...] = ()) -> tuple[str, str]:
    with pytest.raises(InvalidArgumentsError) as caught:
        _convert(data, required)
    return caught.value.path, caught.value.message


def _decimal(text: str) -> dict[str, Any]:
    return {"__extn": {"fn": "decimal", "arg": text}}


# --- attacks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["__entity", "__extn", "__expr"])
@pytest.mark.parametrize(
    ("template", "place"),
    [
        ('{"KEY":{"type":"Group","id":"admin"}}', ""),
        ('{"s":{"KEY":{"type":"Group","id":"admin"}}}', "/s"),
        ('{"nested":{"KEY":1}}', "/nested"),
        ('{"free":{"KEY":1}}', "/free"),
        ('{"free":{"a":[0,{"b":{"KEY":1}}]}}', "/free/a/1/b"),
        ('{"any":{"KEY":1}}', "/any"),
        ('{"any_list":[{"KEY":1}]}', "/any_list/0"),
        ('{"files":[{"path":"a","KEY":1}]}', "/files/0"),
        ('{"undeclared":{"x":{"KEY":{"type":"Group","id":"admin"}}}}', "/undeclared/x"),
        ('{"maybe":null,"undeclared":[{"KEY":null}]}', "/undeclared/0"),
    ],
)
@pytest.mark.parametrize("written", ["plain", "escaped"])
def test_cedars_escape_keys_are_refused_everywhere(key: str, template: str, place: str, written: str) -> None:
    """A key that Cedar's JSON gives a meaning is refused anywhere, declared or not, however it is spelled."""
    spelled = key if written == "plain" else "".join(f"\\u{ord(character):04x}" for character in key)
    path, message = _refused(template.replace("KEY", spelled))
    assert path == f"{place}/{key}"
    assert f"`{key}`" in message


@pytest.mark.parametrize(
    "value",
    [' "__entity" ', '"{\\"__extn\\":1}"', '["__expr"]', '{"x__entity":1,"__entitys":{}}', '{"\\u005f\\u005f":1}'],
)
def test_text_that_looks_like_an_escape_key_is_only_text(value: str) -> None:
    """Strings, and keys that are not exactly an escape key, are ordinary arguments."""
    assert json.loads(_convert(f'{{"any":{{"k":{value}}}}}').value["any"]["json"]) == {"k": json.loads(value)}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (b'{"free":{"k":1,"k":2}}', "/free/k"),
        (b'{"s":"a","s":"b"}', "/s"),
        (b'{"other":' + b"[" * 10**6, "/other" + "/0" * 31),
        (b'{"s":"\\ud800"}', "/s"),
        (b'{"s":"\xed\xa0\x80"}', ""),
        (b"\xef\xbb\xbf{}", ""),
        (b"{}{}", ""),
        (b'{"n":NaN}', "/n"),
        (b'{"other":1e99999999999999999999}', "/other"),
        (b"[]", ""),
        (b"null", ""),
        (b" ", ""),
        (b'{"other":"' + b"x" * 2**20 + b'"}', ""),
        (b'{"other":[' + b"0," * 10_001 + b"0]}", "/other/9999"),
    ],
)
def test_text_that_is_not_strict_json_is_refused(data: bytes, path: str) -> None:
    """What the strict reader refuses are invalid arguments, undeclared parts included."""
    assert _refused(data)[0] == path


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ('{"s":1}', "/s", "must be a string, not a number"),
        ('{"s":["a"]}', "/s", "must be a string, not an array"),
        ('{"i":"5"}', "/i", "must be an integer, not a string"),
        ('{"i":true}', "/i", "must be an integer, not a boolean"),
        ('{"n":true}', "/n", "must be a number, not a boolean"),
        ('{"n":"1.5"}', "/n", "must be a number, not a string"),
        ('{"b":0}', "/b", "must be a boolean, not a number"),
        ('{"list":"a"}', "/list", "must be an array, not a string"),
        ('{"list":["a","b",3]}', "/list/2", "must be a string, not a number"),
        ('{"list":[null]}', "/list/0", "must be a string, not null"),
        ('{"grid":[[1],[2,"x"]]}', "/grid/1/1", "must be an integer, not a string"),
        ('{"nested":[]}', "/nested", "must be an object, not an array"),
        ('{"nested":{"deep":{"x":"y"}}}', "/nested/deep/x", "must be an integer, not a string"),
        ('{"files":[{"path":"a"},{"path":2}]}', "/files/1/path", "must be a string, not a number"),
        ('{"files":[{}]}', "/files/0/path", "is required and missing"),
        ('{"files":[{"path":null}]}', "/files/0/path", "must be a string, not null"),
        ('{"free":"a"}', "/free", "must be an object, not a string"),
        ('{"union":true}', "/union", "must be an integer or a string, not a boolean"),
        ('{"union":1.5}', "/union", "must be an integer, not a fraction"),
        ('{"labels":{}}', "/labels", "must be a string or an array, not an object"),
        ('{"labels":1}', "/labels", "must be a string or an array, not a number"),
        ('{"owner":{"login":1}}', "/owner/login", "must be a string, not a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_path(data: str, path: str, message: str) -> None:
    """A declared property takes its type and nothing like it."""
    assert _refused(data) == (path, message)


def test_required_properties_must_be_there_and_not_null() -> None:
    """A required property that is absent or null is refused, unless the schema lets it be null."""
    assert _refused("{}", ("s", "i")) == ("/i", "is required and missing")
    assert _refused('{"s":null}', ("s",)) == ("/s", "must be a string, not null")
    assert _refused('{"labels":null}', ("labels",)) == ("/labels", "must be a string or an array, not null")
    assert _convert('{"maybe":null,"any":null}', ("maybe", "any")).value == {}
    assert _convert("{}", ("maybe", "any")).value == {}


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("5.0", 5),
        ("-0", 0),
        ("-0.0", 0),
        ("1e2", 100),
        ("1.20e1", 12),
        ("100e-2", 1),
        ("0e999999999", 0),
        ("5." + "0" * 100_000, 5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807.0", 2**63 - 1),
        ("922337203685477580.7e1", 2**63 - 1),
    ],
)
def test_integers_are_exact_however_they_are_written(text: str, value: int) -> None:
    """JSON has one kind of number: an integer is an integer with a point or an exponent too."""
    converted = _convert(f'{{"i":{text}}}').value["i"]
    assert type(converted) is int
    assert converted == value


@pytest.mark.parametrize(
    "text",
    ["9223372036854775808", "-9223372036854775809", "1e19", "9" * 10**6, "1e999999999", "9223372036854775807.5e1"],
)
def test_integers_beyond_64_bits_are_refused(text: str) -> None:
    """An integer that is no Long is refused, never cut."""
    assert _refused(f'{{"i":{text}}}') == ("/i", "is out of range for an integer of 64 bits")


@pytest.mark.parametrize("text", ["0.5", "1e-1", "1e-999999999", "5." + "0" * 1000 + "1"])
def test_a_fraction_is_no_integer(text: str) -> None:
    """An integer property takes no fraction, however small."""
    assert _refused(f'{{"i":{text}}}') == ("/i", "must be an integer, not a fraction")


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("1.5", "1.5"),
        ("-1.5", "-1.5"),
        ("5", "5.0"),
        ("5.0", "5.0"),
        ("1.50000", "1.5"),
        ("-0.0", "0.0"),
        ("0", "0.0"),
        ("0.0001", "0.0001"),
        ("-1e-4", "-0.0001"),
        ("1e2", "100.0"),
        ("12345e-2", "123.45"),
        ("922337203685477.5807", "922337203685477.5807"),
        ("-922337203685477.5808", "-922337203685477.5808"),
        ("922337203685477", "922337203685477.0"),
        ("-922337203685477", "-922337203685477.0"),
    ],
)
def test_numbers_are_exact_decimals(text: str, argument: str) -> None:
    """A number becomes the decimal that it is, digit by digit."""
    assert _convert(f'{{"n":{text}}}').value == {"n": _decimal(argument)}


@pytest.mark.parametrize("text", ["0.00001", "1.23456", "1e-5", "1e-999999999", "0.1000000000000000055511151231257827"])
def test_more_than_four_places_are_refused_and_never_rounded(text: str) -> None:
    """A number between two decimals is refused: rounding would let a policy see what the tool does not get."""
    assert _refused(f'{{"n":{text}}}') == ("/n", "has more than four decimal places, and is never rounded")


@pytest.mark.parametrize(
    "text",
    ["922337203685477.5808", "-922337203685477.5809", "922337203685478", "1e15", "1e999999999", "9" * 10**6],
)
def test_numbers_out_of_a_decimals_range_are_refused(text: str) -> None:
    """A number that Cedar's decimal does not reach is refused."""
    path, message = _refused(f'{{"n":{text}}}')
    assert path == "/n"
    assert message.startswith("is out of range for a decimal")


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ('{"s":"a","b":false,"e":"b"}', {"s": "a", "b": False, "e": "b"}),
        ('{"e":"not in the enum"}', {"e": "not in the enum"}),
        ('{"s":null,"list":null,"nested":{"deep":null}}', {"nested": {}}),
        ('{"list":["a","b","a"],"grid":[[1],[]]}', {"list": ["a", "b", "a"], "grid": [[1], []]}),
        ('{"files":[{"path":"a"},{"path":"b"}]}', {"files": [{"path": "a"}, {"path": "b"}]}),
        ('{"union":"a"}', {"union": {"string": "a"}}),
        ('{"union":5.0}', {"union": {"long": 5}}),
        ('{"number_or_text":5}', {"number_or_text": {"long": 5}}),
        ('{"number_or_text":5.5}', {"number_or_text": {"decimal": _decimal("5.5")}}),
        ('{"labels":"a"}', {"labels": {"string": "a"}}),
        ('{"labels":["a"]}', {"labels": {"set": ["a"]}}),
        ('{"owner":{"login":"a"}}', {"owner": {"record": {"login": "a"}}}),
        ('{"any":"a"}', {"any": {"string": "a"}}),
        ('{"any":true}', {"any": {"bool": True}}),
        ('{"any":7}', {"any": {"long": 7}}),
        ('{"any":0.5}', {"any": {"decimal": _decimal("0.5")}}),
        ('{"any":[]}', {"any": {"json": "[]"}}),
        ('{"any":{"b":1,"a":[null,1.50,1E3]}}', {"any": {"json": '{"a":[null,1.5,1000],"b":1}'}}),
        ('{"free":{"b":1,"a":null}}', {"free": {"keys": ["b", "a"], "json": '{"a":null,"b":1}'}}),
        ('{"any_list":["a",1,1.0,null,{"b":2,"a":1}]}', {"any_list": ['"a"', "1", "1", "null", '{"a":1,"b":2}']}),
    ],
)
def test_values_take_the_form_of_their_type(data: str, value: dict[str, Any]) -> None:
    """Each kind of value has one form in Cedar, and null is absence."""
    assert _convert(data) == (value, [])


def test_no_bytes_are_no_arguments() -> None:
    """Empty bytes mean the same as an empty object."""
    assert _convert(b"") == _convert(b"{}") == ({}, [])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.50", "1.5"),
        ("15e-1", "1.5"),
        ("-0.0", "0"),
        ("1e2", "100"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("123e999999997", "1.23e+999999999"),
        ("0.0000001", "0.0000001"),
        ("0.00000001", "1e-8"),
        ("123456789012345678901234", "1.23456789012345678901234e+23"),
    ],
)
def test_numbers_in_text_have_one_spelling(number: str, text: str) -> None:
    """A number inside JSON text is written in one way, so that a policy cannot be evaded by another; and shortly."""
    assert _convert(f'{{"any":[{number}]}}').value == {"any": {"json": f"[{text}]"}}


def test_a_huge_number_of_any_type_is_refused_where_it_has_no_form() -> None:
    """An untyped number that is neither a Long nor a decimal is refused."""
    assert _refused('{"any":1e300}')[0] == "/any"
    assert _refused('{"any":0.00001}')[0] == "/any"
    assert _refused('{"number_or_text":9223372036854775808}')[0] == "/number_or_text"


# --- undeclared ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "undeclared"),
    [
        ('{"force":true,"s":"a"}', ["force"]),
        ('{"b2":null,"a2":{"x":[1e300,0.00001]}}', ["a2", "b2"]),
        ('{"nested":{"y":1,"deep":{"z":1}}}', ["nested/deep/z", "nested/y"]),
        ('{"files":[{"path":"a","mode":1},{"path":"b","mode":2,"uid":3}]}', ["files/*/mode", "files/*/uid"]),
        ('{"owner":{"login":"a","id":1}}', ["owner/id"]),
        ('{"a/b":1,"c~d":2,"*":3,"":4,"é😀":5}', ["", "*", "a~1b", "c~0d", "é😀"]),
        ('{"free":{"x":1},"any":{"y":1},"any_list":[{"z":1}]}', []),
    ],
)
def test_undeclared_properties_are_named_and_dropped(data: str, undeclared: list[str]) -> None:
    """What the schema does not declare is listed once, sorted, and is not in the value."""
    converted = _convert(data)
    assert converted.undeclared == undeclared
    assert not any(name in json.dumps(converted.value) for name in ("force", "mode", "uid"))


def test_limits_are_the_tools_own() -> None:
    """The limits given with the tool bound its arguments."""
    with pytest.raises(InvalidArgumentsError, match="nests deeper than 1 levels"):
        _convert('{"list":[]}', limits=JsonLimits(max_depth=1))


# --- facts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_text", "schema_text", "value", "converted"),
    [
        ("String", "String", "a", "a"),
        (" Long ", "Long", 5, 5),
        ("Long", "Long", Decimal("5.0"), 5),
        ("Bool", "Bool", True, True),
        ("decimal", "__cedar::decimal", Decimal("1.50"), _decimal("1.5")),
        ("decimal", "__cedar::decimal", 2, _decimal("2.0")),
        ("ipaddr", "__cedar::ipaddr", "10.0.0.0/8", {"__extn": {"fn": "ip", "arg": "10.0.0.0/8"}}),
        ("datetime", "__cedar::datetime", "2024-02-29", {"__extn": {"fn": "datetime", "arg": "2024-02-29"}}),
        ("duration", "__cedar::duration", "1h30m", {"__extn": {"fn": "duration", "arg": "1h30m"}}),
        ("Set<String>", "Set<String>", ["a"], ["a"]),
        ("Set < Set<decimal> >", "Set<Set<__cedar::decimal>>", [[1], []], [[_decimal("1.0")], []]),
    ],
)
def test_a_declared_type_converts_facts(type_text: str, schema_text: str, value: Any, converted: Any) -> None:
    """A type is read as it is written, and makes Cedar values as arguments are made."""
    fact_type = parse_type(type_text)
    assert fact_type.cedar_type() == schema_text
    assert fact_type.convert(value) == converted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "string",
        "Set",
        "Set<>",
        "Set<String",
        "Set<String>>",
        "String>",
        "Set<String, Long>",
        "{}",
        "entity",
        "Set<" * 9 + "Long" + ">" * 9,
        "Set<" * 10**5,
    ],
)
def test_what_is_not_a_type_is_refused(text: str) -> None:
    """Only Cedar's own types and sets of them are types of facts."""
    with pytest.raises(ValueError, match="is not a type"):
        parse_type(text)


@pytest.mark.parametrize(
    ("type_text", "value", "path"),
    [
        ("String", None, ""),
        ("String", 1, ""),
        ("Long", 2**63, ""),
        ("Long", True, ""),
        ("Long", 1.0, ""),
        ("Bool", "true", ""),
        ("decimal", "1.5", ""),
        ("Set<Long>", [1, "2"], "/1"),
        ("Set<Set<String>>", [["a"], ["b", 2]], "/1/1"),
        ("ipaddr", 1, ""),
        ("duration", {}, ""),
    ],
)
def test_a_fact_of_another_type_is_refused(type_text: str, value: Any, path: str) -> None:
    """A fact that does not fit its declared type is refused with the path in it."""
    with pytest.raises(InvalidArgumentsError) as caught:
        parse_type(type_text).convert(value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("type_text", "text"),
    [
        ("ipaddr", "1.2.3"),
        ("ipaddr", "1.2.3.256"),
        ("ipaddr", "01.2.3.4"),
        ("ipaddr", "1.2.3.4/33"),
        ("ipaddr", "1.2.3.4/08"),
        ("ipaddr", "::1/129"),
        ("ipaddr", "::ffff:1.2.3.4"),
        ("ipaddr", "fe80::1%eth0"),
        ("ipaddr", "1.2.3.4\n"),
        ("ipaddr", "\u0661.2.3.4"),
        ("ipaddr", ""),
        ("datetime", "2023-02-29"),
        ("datetime", "0000-01-01"),
        ("datetime", "2024-01-01T24:00:00Z"),
        ("datetime", "2024-01-01T00:00:60Z"),
        ("datetime", "2024-01-01T00:00:00"),
        ("datetime", "2024-01-01T00:00:00+01:00"),
        ("datetime", "2024-01-01T00:00:00+2400"),
        ("datetime", "2024-01-01T00:00:00.1Z"),
        ("datetime", "2024-1-1"),
        ("datetime", "2024-01-01\n"),
        ("duration", ""),
        ("duration", "-"),
        ("duration", "1"),
        ("duration", "1.5s"),
        ("duration", "1ms1s"),
        ("duration", "9223372036854775808ms"),
        ("duration", "106751991168d"),
        ("duration", "1s\n"),
        ("duration", "9" * 10**5 + "d"),
    ],
)
def test_text_that_cedar_would_fail_on_is_refused(type_text: str, text: str) -> None:
    """Addresses, times and durations are checked here, so that no policy fails on them."""
    with pytest.raises(InvalidArgumentsError):
        parse_type(type_text).convert(text)


def _damaged(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def damage(text: str, at: int, extra: str) -> str:
        return text[: at % (len(text) + 1)] + extra + text[at % (len(text) + 1) + len(extra) // 2 :]

    return texts | st.builds(
        damage, texts, st.integers(0, 40), st.sampled_from(["", "0", "-", "/", ":", "::", "9", "T"])
    )


_ADDRESSES = st.ip_addresses().map(str) | st.builds(
    "{}/{}".format, st.ip_addresses().map(lambda address: ipaddress.ip_address(address).exploded), st.integers(0, 130)
)
_DATES = st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%d"))
_TIMES = st.builds(
    "{}T{:02}:{:02}:{:02}{}{}".format,
    _DATES,
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.sampled_from(["", ".5", ".123"]),
    st.sampled_from(["Z", "", "+0130", "-2359", "+2400", "+0060"]),
)
_DURATIONS = st.lists(
    st.builds("{}{}".format, st.integers(0, 10**18), st.sampled_from(["d", "h", "m", "s", "ms"])), max_size=3
).map("".join)


@given(
    st.sampled_from(["ipaddr", "datetime", "duration"]).flatmap(
        lambda name: st.tuples(
            st.just(name),
            _damaged({"ipaddr": _ADDRESSES, "datetime": _DATES | _TIMES, "duration": _DURATIONS}[name]),
        )
    )
)
@settings(deadline=None, max_examples=300)
def test_cedar_takes_every_text_that_is_accepted(fact: tuple[str, str]) -> None:
    """Cedar never fails on an address, time or duration that was let through."""
    type_text, text = fact
    try:
        value = parse_type(type_text).convert(text)
    except InvalidArgumentsError:
        return
    request = {
        "principal": {"type": "User", "id": ""},
        "action": {"type": "Action", "id": ""},
        "resource": {"type": "Server", "id": ""},
        "context": {"x": value},
    }
    result = cedarpy.is_authorized(request, "permit (principal, action, resource) when { context has x };", [])
    assert result.decision is cedarpy.Decision.Allow, text
