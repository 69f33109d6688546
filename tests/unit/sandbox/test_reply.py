"""The JSON of the ABI: what a guest is told, and what counts as a verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pdp.cedar.arguments import parse_type
from pdp.cedar.model import EntityUid
from pdp.sandbox import reply
from pdp.sandbox.model import ErrorClass, GuestFailureError, Phase

DECLARED = {"risk": parse_type("Long"), "labels": parse_type("Set<String>"), "share": parse_type("decimal")}


def _read(data: bytes, phase: Phase = "request", may_transform: bool = True) -> reply.Reply:
    return reply.read_reply(data, phase, may_transform, DECLARED)


def _refused(data: bytes, phase: Phase = "request", may_transform: bool = True) -> tuple[str, str]:
    with pytest.raises(GuestFailureError) as failure:
        _read(data, phase, may_transform)
    return failure.value.error_class.value, failure.value.reason


@pytest.mark.parametrize(
    ("data", "verdict", "message", "reason"),
    [
        (b'{"verdict":"pass"}', "pass", "", ""),
        (b'\t{ "verdict" :\r\n"pass" } ', "pass", "", ""),
        (b'{"\\u0076erdict":"p\\u0061ss"}', "pass", "", ""),
        (b'{"verdict":"pass","reason":"it is fine"}', "pass", "", "it is fine"),
        (b'{"verdict":"deny"}', "deny", "", ""),
        (b'{"message":"no","reason":"rule 7","verdict":"deny"}', "deny", "no", "rule 7"),
        (b'{"verdict":"deny","message":"\\ud83d\\ude00"}', "deny", "\U0001f600", ""),
        (b'{"verdict":"deny","message":"a\\u001b[2Jb"}', "deny", "a\\x1b[2Jb", ""),
        (b'{"verdict":"pass","annotations":{}}', "pass", "", ""),
    ],
)
def test_good_reply_is_read(data: bytes, verdict: str, message: str, reason: str) -> None:
    """A reply with a known verdict gives that verdict, and text that is safe to show."""
    read = _read(data)
    assert (read.verdict, read.message, read.reason) == (verdict, message, reason)
    assert (read.payload, read.annotations, read.stated) == (None, None, None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff", "not UTF-8"),
        (b'\xef\xbb\xbf{"verdict":"pass"}', "byte order mark"),
        ('{"verdict":"pass"}'.encode("utf-16"), "not UTF-8"),
        ('{"verdict":"pass"}'.encode("utf-16-le"), ""),
        (b'{"verdict":"pass"', ""),
        (b'{"verdict":"pass",}', ""),
        (b"{'verdict':'pass'}", ""),
        (b'{"verdict":"pass"} {}', "text after"),
        (b'{"verdict":"pass"}\0', "text after"),
        (b'{"verdict":"pass"}//', "text after"),
        (b"NaN", "is not JSON"),
        (b'{"verdict":"pass","reason":Infinity}', "is not JSON"),
        (b'{"verdict":"pass","verdict":"pass"}', "given twice"),
        (b'{"verdict":"deny","\\u0076erdict":"pass"}', "given twice"),
        (b'{"verdict":"pass","annotations":{"risk":1,"risk":2}}', "given twice"),
        (b'{"verdict":"transform","arguments":{"a":1,"\\u0061":2}}', "given twice"),
        (b'{"verdict":"pass","reason":"\\ud800"}', "surrogate"),
        (b'{"verdict":"pass","reason":"\\udc00\\ud800"}', "surrogate"),
        (b'{"verdict":"pass","reason":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"verdict":"pass","reason":"\n"}', "control character"),
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"0", "a number"),
        (b'"pass"', "a string"),
        (b'[{"verdict":"pass"}]', "an array"),
        (b"{}", "`verdict` is missing"),
        (b'{"verdict":null}', "`verdict` is missing"),
        (b'{"Verdict":"pass"}', "`Verdict` is no member"),
        (b'{"verdict":"Pass"}', "not `pass`, `transform` or `deny`"),
        (b'{"verdict":"pass "}', "not `pass`, `transform` or `deny`"),
        (b'{"verdict":"failed"}', "not `pass`, `transform` or `deny`"),
        (b'{"verdict":["pass"]}', "not `pass`, `transform` or `deny`"),
        (b'{"verdict":{"pass":1}}', "not `pass`, `transform` or `deny`"),
        (b'{"verdict":1}', "not `pass`, `transform` or `deny`"),
        (b'{"verdict":"pass","":1}', "`` is no member"),
        (b'{"verdict":"pass","verdict ":"deny"}', "`verdict ` is no member"),
        (b'{"verdict":"pass","payload":{}}', "`payload` is no member"),
        (b'{"verdict":"pass","\\u001b[2J":1}', "`\\x1b[2J` is no member"),
        (b'{"verdict":"pass","message":"x"}', "`message` goes with `deny`"),
        (b'{"verdict":"pass","message":""}', "`message` goes with `deny`"),
        (b'{"verdict":"transform","arguments":{},"message":"x"}', "`message` goes with `deny`"),
        (b'{"verdict":"deny","message":1}', "`message` must be text"),
        (b'{"verdict":"deny","message":null}', "`message` must be text"),
        (b'{"verdict":"pass","reason":["x"]}', "`reason` must be text"),
        (b'{"verdict":"pass","arguments":{}}', "`arguments` does not go with `pass`"),
        (b'{"verdict":"pass","arguments":null}', "`arguments` does not go with `pass`"),
        (b'{"verdict":"deny","result":null}', "`result` does not go with `deny`"),
        (b'{"verdict":"transform"}', "`transform` without `arguments`"),
        (b'{"verdict":"transform","result":{}}', "`result` does not go with `transform`"),
        (b'{"verdict":"transform","arguments":{},"result":{}}', "`result` does not go with `transform`"),
        (b'{"verdict":"transform","arguments":null}', "`arguments` must be an object, not null"),
        (b'{"verdict":"transform","arguments":[]}', "`arguments` must be an object, not an array"),
        (b'{"verdict":"transform","arguments":"{}"}', "`arguments` must be an object, not a string"),
        (b'{"verdict":"pass","annotations":null}', "`annotations` must be an object"),
        (b'{"verdict":"pass","annotations":[]}', "`annotations` must be an object"),
        (b'{"verdict":"pass","annotations":{"risk":"7"}}', "the annotation `risk` is not of its declared type"),
        (b'{"verdict":"pass","annotations":{"risk":true}}', "the annotation `risk` is not of its declared type"),
        (
            b'{"verdict":"pass","annotations":{"risk":9223372036854775808}}',
            "the annotation `risk` is not of its declared type",
        ),
        (b'{"verdict":"pass","annotations":{"risk":1e400}}', "the annotation `risk` is not of its declared type"),
        (b'{"verdict":"pass","annotations":{"risk":null}}', "the annotation `risk` is not of its declared type"),
        (b'{"verdict":"pass","annotations":{"labels":["a",1]}}', "the annotation `labels` is not of its declared type"),
        (b'{"verdict":"pass","annotations":{"share":1e-100000}}', "the annotation `share` is not of its declared type"),
    ],
)
def test_bad_reply_is_a_failure(data: bytes, says: str) -> None:
    """What is not exactly one verdict fails as `bad_output`, and the reason names what is wrong."""
    error_class, why = _refused(data)
    assert error_class == "bad_output"
    assert says in why


def test_number_without_a_fraction_is_what_it_is() -> None:
    """`7.0` is the whole number 7."""
    assert _read(b'{"verdict":"pass","annotations":{"risk":7.0}}').annotations == {"risk": 7}


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b'{ "a" : 1 }',
        b'{"a":1e400,"b":-0.0,"c":12345678901234567890.000}',
        b'{"\\u0061":"\\u00e9\\/","\xc3\xa9":"\xf0\x9f\x98\x80"}',
        b'{"arguments":{"verdict":"deny"},"verdict":"deny"}',
        b'{"a":"\\"},\\"verdict\\":\\"deny\\"{"}',
        b'{"a":[[[{"b":null}]],true,false]}',
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        (b'{"verdict":"transform","arguments":', b"}"),
        (b' {\n"arguments" :\t', b' , "verdict":"transform"} '),
        (b'{"reason":"\\"arguments\\":{}","arguments":', b',"verdict":"transform"}'),
        (b'{"annotations":{"arguments":{"x":1}},"\\u0061rguments":', b',"verdict":"transform"}'),
    ],
)
def test_payload_is_byte_for_byte_what_was_said(payload: bytes, around: tuple[bytes, bytes]) -> None:
    """The payload of a transform is cut out of the reply as it stands, wherever and however it is written there."""
    before, after = around
    assert _read(before + payload + after).payload == payload


@pytest.mark.parametrize("payload", [b"null", b"true", b"0", b'"text"', b"[]", b"[ 1e5 ]", b"{}", b"-0", b"1E+2"])
def test_result_may_be_any_json(payload: bytes) -> None:
    """In the phase `response`, the new result is any JSON value, byte for byte."""
    assert _read(b'{"result": ' + payload + b' ,"verdict":"transform"}', "response").payload == payload


@pytest.mark.parametrize("phase", ["request", "response"])
def test_transform_needs_the_right_and_the_phase(phase: Phase) -> None:
    """Without `may_transform` there is no transform, and the payload of the other phase is none."""
    own, other = ("arguments", "result") if phase == "request" else ("result", "arguments")
    own_reply = json.dumps({"verdict": "transform", own: {}}).encode()
    other_reply = json.dumps({"verdict": "transform", other: {}}).encode()
    assert _read(own_reply, phase).payload == b"{}"
    assert "without the right to" in _refused(own_reply, phase, may_transform=False)[1]
    assert "does not go with" in _refused(other_reply, phase)[1]


def test_only_declared_annotations_count() -> None:
    """Facts that the binding does not declare are left out; the others are given as said and as Cedar takes them."""
    data = b'{"verdict":"pass","annotations":{"risk":70,"share":0.5,"other":{"__entity":1},"labels":["b","a"]}}'
    read = _read(data)
    assert read.annotations is not None
    assert set(read.annotations) == {"risk", "share", "labels"}
    assert read.annotations["risk"] == 70
    assert reply.stated_json(read.stated or {}) == '{"labels":["b","a"],"risk":70,"share":0.5}'


@pytest.mark.parametrize("member", ["message", "reason"])
def test_text_is_cut(member: str) -> None:
    """Long text is cut at its limit, at the end of a character, and says so."""
    most = 1_000 if member == "message" else 4_000
    for text in ("x" * 10_000, "é" * 10_000, "\U0001f600" * 10_000, "\x01" * 10_000):
        read = _read(json.dumps({"verdict": "deny", member: text}).encode())
        shown = getattr(read, member)
        assert most - 8 <= len(shown.encode()) <= most
        assert shown.endswith("…")
    assert getattr(_read(json.dumps({"verdict": "deny", member: "x" * most}).encode()), member) == "x" * most


@pytest.mark.parametrize("text", ["no", "", "\x1b[2J", "é" * 5_000])
def test_error_is_the_guests(text: str) -> None:
    """`{"error": …}` is a failure that the guest reports itself, with its text made safe."""
    error_class, why = _refused(json.dumps({"error": text}).encode())
    assert error_class == "guest_error"
    assert len(why.encode()) <= 4_000
    assert "\x1b" not in why


@pytest.mark.parametrize(
    "data", [b'{"error":1}', b'{"error":null}', b'{"error":"x","verdict":"pass"}', b'{"error":{}}']
)
def test_error_stands_alone(data: bytes) -> None:
    """An error beside a verdict, or one that is no text, is bad output."""
    assert _refused(data)[0] == "bad_output"


def test_deep_and_wide_replies_are_bounded() -> None:
    """A payload may nest 64 levels and no more; a reply of another size is not even read."""
    for depth, good in ((64, True), (65, False), (100_000, False)):
        data = b'{"verdict":"transform","result":' + b"[" * depth + b"]" * depth + b"}"
        assert (_read(data, "response").payload is not None) if good else _refused(data, "response")[0] == "bad_output"
    assert "bytes long" in _refused(b'{"verdict":"pass","reason":"' + b"x" * (1 << 20) + b'"}')[1]


@pytest.mark.parametrize("data", [b'{"ok":true}', b' { "ok" : true } ', b'{"o\\u006b":true}'])
def test_configured(data: bytes) -> None:
    """`{"ok": true}`, however it is written, says that a module is configured."""
    reply.read_configured(data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"true", b'{"ok":1}', b'{"ok":1.0}', b'{"ok":"true"}', b'{"ok":true,"x":1}', b'{"ok":null}']
)
def test_not_configured(data: bytes) -> None:
    """Anything else is bad output."""
    with pytest.raises(GuestFailureError) as failure:
        reply.read_configured(data)
    assert failure.value.error_class is ErrorClass.BAD_OUTPUT


def test_configuration_error_is_the_guests() -> None:
    """A refused configuration is the guest's own error."""
    with pytest.raises(GuestFailureError) as failure:
        reply.read_configured(b'{"error":"`paths` is missing"}')
    assert (failure.value.error_class, failure.value.reason) == (ErrorClass.GUEST_ERROR, "`paths` is missing")


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        ('{"v":1,"phases":["request"]}', {"request"}),
        ('{"v":1,"phases":["response","request","request"],"name":"x","more":{}}', {"request", "response"}),
    ],
)
def test_description(text: str, phases: set[str]) -> None:
    """A description gives its phases; what else it says is ignored."""
    assert reply.read_description(text) == phases


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"v":"1","phases":["request"]}',
        '{"v":true,"phases":["request"]}',
        '{"v":1.0,"phases":["request"]}',
        '{"v":2,"phases":["request"]}',
        '{"v":' + "9" * 5_000 + ',"phases":["request"]}',
        '{"v":1}',
        '{"v":1,"phases":[]}',
        '{"v":1,"phases":"request"}',
        '{"v":1,"phases":{"request":1}}',
        '{"v":1,"phases":["Request"]}',
        '{"v":1,"phases":[["request"]]}',
        '{"v":1,"phases":["request",{}]}',
        '{"v":1,"phases":["request"],"phases":["response"]}',
        '{"v":1,"phases":["request"],"name":"\ud800"}',
    ],
)
def test_bad_description(text: str) -> None:
    """A description without exactly version 1 and known phases is bad output."""
    with pytest.raises(GuestFailureError) as failure:
        reply.read_description(text)
    assert failure.value.error_class is ErrorClass.BAD_OUTPUT


HOSTILE_NAMES = ('"}', "\\", "\x00", "\u2028", "é\U0001f600", "a" * 300, '","v":2,"x":"')


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("phase", ["request", "response"])
def test_request_says_what_the_call_is(name: str, phase: Phase) -> None:
    """Whatever names a call has, the request is JSON that says exactly them, and its payloads as they are."""
    envelope = reply.Envelope(EntityUid(name, name), name, name, name, name)
    result = b'[1e400,"\\u0061"]' if phase == "response" else None
    text = reply.request_text(
        reply.request_prefix(phase, envelope), b'{"a": 1.0}', b'{"b":2}', b'{"c":3}', result, True, False
    )
    told: dict[str, Any] = json.loads(text, parse_float=str)
    assert told.pop("tool_call") == {"server": name, "tool": name, "session_id": name, "arguments": {"a": "1.0"}}
    expected: dict[str, Any] = {
        "v": 1,
        "phase": phase,
        "request_id": name,
        "subject": {"type": name, "id": name},
        "context": {"b": 2},
        "config": {"c": 3},
        "may_transform": False,
    }
    if phase == "response":
        expected |= {"result": ["1e400", "a"], "result_is_error": True}
    assert told == expected
