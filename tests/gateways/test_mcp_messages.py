"""MCP's messages and what HTTP wraps them in: read strictly, changed in one place."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.strict_json import parse_value
from pdp.servicers.gateways import mcp_messages as mcp
from pdp.servicers.gateways.json_spans import items, members, replaced, whole
from pdp.servicers.gateways.mcp_http import Event, EventReader, is_plain, media_type, written
from pdp.servicers.gateways.mcp_messages import MESSAGE_LIMITS, MessageError
from pdp.servicers.gateways.refusals import RefusedError
from pdp.servicers.gateways.sources import Facts, session_in, subject_in, text_at

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3).filter(str.isascii), inner, max_size=4)
    ),
    max_leaves=12,
)
INDENTS = st.sampled_from([None, 0, 1, "\t"])


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ae1 jsonrpc20idmethod', max_size=60).map(str.encode))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    """Whatever the bytes are, a reader reads them or says that they are no message."""
    for read in (mcp.read_message, mcp.read_call, mcp.read_result, mcp.read_tools):
        with suppress(MessageError):
            read(data)


@given(
    st.dictionaries(st.text(max_size=3).filter(str.isascii), VALUES, min_size=1, max_size=4), VALUES, INDENTS, st.data()
)
def test_only_one_member_changes(value: dict[str, Any], other: Any, indent: Any, data: st.DataObject) -> None:
    """Replacing a member's text changes this member's value, and no byte outside of it."""
    text = json.dumps(value, indent=indent)
    key = data.draw(st.sampled_from(sorted(value)))
    span = members(text, whole(text))[key]
    new = replaced(text, [(span, json.dumps(other))])
    assert json.loads(new) == {**value, key: other}
    assert new.startswith(text[: span[0]])
    assert new.endswith(text[span[1] :])


@given(st.lists(VALUES, max_size=5), INDENTS)
def test_items_are_found(value: list[Any], indent: Any) -> None:
    """Each item of an array is found where it stands."""
    text = f" {json.dumps(value, indent=indent)}\n"
    assert [json.loads(text[start:end]) for start, end in items(text, whole(text))] == value


def test_numbers_of_any_length_are_stepped_over() -> None:
    """A number with more digits than the interpreter reads is no obstacle on the way to what stands behind it."""
    text = '{"n":%s,"params":1}' % ("9" * 10_000)
    assert members(text, whole(text))["params"] == (len(text) - 2, len(text) - 1)


@given(VALUES, INDENTS)
def test_arguments_are_handed_on_byte_for_byte(value: Any, indent: Any) -> None:
    """What is decided about is the text that came, and with other arguments everything else stays as it was."""
    arguments = json.dumps({"x": value}, indent=indent)
    params = f'{{ "_meta":{{"arguments":1}},"arguments" : {arguments} , "name":"t" }}'.encode()
    if len(params) > MESSAGE_LIMITS.max_bytes:
        return
    assert mcp.read_call(params) == mcp.ToolCall("t", arguments.encode())
    assert mcp.with_arguments(params, b"{}") == params.replace(arguments.encode(), b"{}")


def test_refusals_are_json_whatever_they_say() -> None:
    """An answer that tells why is strict JSON, whatever stands in the reason or the id."""
    for identifier in ("\"'\n\u2028\x00", -(2**63), 7):
        for text in (mcp.tool_error(identifier, '"\n\x00'), mcp.error_answer(identifier, -32001, '"\n\x00')):
            assert parse_value(text)["id"] == identifier


def test_results_say_that_they_are_complete() -> None:
    """A result that an interceptor made gets the member that newer versions of MCP want, once."""
    assert mcp.completed(b'{"content":[]}') == b'{"resultType":"complete","content":[]}'
    assert mcp.completed(b" { } ") == b' {"resultType":"complete" } '
    assert mcp.completed(b'{"resultType":"complete"}') == b'{"resultType":"complete"}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@given(cuts=st.lists(st.integers(0, 90), max_size=8))
def test_events_are_the_same_however_they_are_cut(end: bytes, cuts: list[int]) -> None:
    """A stream of events says the same, in whatever pieces it comes and however its lines end."""
    lines = [
        b"\xef\xbb\xbfid: 1",
        b"data: a",
        b"data:b",
        b"",
        b":comment",
        b"",
        b"event: other",
        b"data: c",
        b"",
        b"data: d",
    ]
    stream = end.join(lines)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = EventReader(1_000)
    events = [event for start, stop in pairwise(edges) for event in reader.feed(stream[start:stop])]
    assert events == [Event(b"a\nb", (("id", "1"),)), Event(None), Event(b"c", (), False)]


def test_an_event_without_an_end_is_bounded() -> None:
    """An event that goes on and on is refused, in one line or in many."""
    for piece in (b"x" * 100, b"data: x\n" * 10, b"x\n"):
        reader = EventReader(1_000)
        with pytest.raises(MessageError):
            deque(map(reader.feed, [piece] * 50))


def test_line_breaks_in_a_message_start_no_field() -> None:
    """A message with line breaks is written as one line, so that nothing in it is read as a field."""
    assert written(Event(b"x", (("id", "1"),)), b'{\r\n"a":\n1}') == b'id: 1\nevent: message\ndata: { "a": 1}\n\n'


def test_separators_of_lines_in_strings_stay() -> None:
    """What Unicode calls a line separator is nothing to a stream of events."""
    text = '{"a":"\u2028\x85"}'.encode()
    assert text in written(Event(b"x"), text)


def test_media_types_are_read_with_one_parameter() -> None:
    """Case does not matter, UTF-8 may be named; with any other parameter, and without a type, it is none."""
    assert media_type("Application/JSON") == "application/json"
    for utf_8 in ("charset=utf-8", 'Charset="UTF-8"', " charset=utf-8;", ""):
        assert media_type(f"application/json; {utf_8}") == "application/json"
    for other in ("charset=utf-16", "charset=utf-8; charset=utf-7", "charset='utf-8'", "x, text/plain", 'x="a;b"'):
        assert media_type(f"application/json; {other}") == ""
    assert media_type(None) == ""


def test_encodings_that_change_nothing_are_plain() -> None:
    """Only content that is there as it is counts as plain."""
    assert is_plain(None)
    assert is_plain("Identity")
    assert not is_plain("gzip, identity")


class Places:
    """Where things are."""

    def __init__(self, **places: str) -> None:
        self.subject_from = places.get("subject", "")
        self.subject_type = "Agent"
        self.token_from = places.get("token", "")
        self.session_from = places.get("session", "")


FACTS = Facts(
    [("authorization", "Bearer  a.b.c"), ("x", "1"), ("twice", "1"), ("twice", "1")], {"ns": {"a": {"b": "v"}}}
)


def test_places_are_found() -> None:
    """Headers, metadata and fixed texts are found; nothing else is."""
    assert text_at("fixed:git", FACTS, "it") == "git"
    assert text_at("header:X", FACTS, "it") == "1"
    assert text_at("metadata:ns/a/b", FACTS, "it") == "v"
    for nowhere in ("fixed:", "header:y", "route:x", "metadata:ns", "metadata:ns/a", "metadata:ns/a/b/c", "metadata:b"):
        with pytest.raises(RefusedError, match="it is not known"):
            text_at(nowhere, FACTS, "it")
    with pytest.raises(RefusedError, match="given twice"):
        text_at("header:twice", FACTS, "it")


def test_subjects_are_found() -> None:
    """A subject is an entity of the configured type, or a token without the word in front of it."""
    entity = subject_in(Places(subject="header:x"), FACTS).entity
    assert (entity.type, entity.id) == ("Agent", "1")
    assert subject_in(Places(token="header:authorization"), FACTS).token == "a.b.c"
    assert session_in(Places(session="header:x"), FACTS) == "1"
    assert session_in(Places(session="header:y"), FACTS) == session_in(Places(), FACTS) == ""
