"""Hostile replies, from a module through the sandbox to a verdict."""

from __future__ import annotations

import json
import time

import pytest

from pdp.cedar.arguments import parse_type
from pdp.sandbox.model import GuestFailureError
from pdp.sandbox.reply import Reply, read_reply
from tests.component.sandbox import guests

LONG = b'{"verdict":"deny","message":"' + b"m" * 5_000 + b'","reason":"' + b"r" * 50_000 + b'"}'


def _say(reply: bytes, may_transform: bool = False) -> Reply:
    for runner in guests.driven_runners(guests.driven(reply)):
        call = guests.sandbox().call(time.monotonic_ns() + guests.PATIENT_MS * 1_000_000, guests.no_log)
        assert runner.run("request", guests.REQUEST, call) == reply
    return read_reply(reply, "request", may_transform, {"risk": parse_type("Long")})


@pytest.mark.parametrize(
    "reply",
    [
        b"hello",
        b"{",
        b"null",
        b"[]",
        b'"pass"',
        b"\0" * 100,
        b'{"verdict":"pass"}\0',
        b'{"verdict":"pass"}{"verdict":"deny"}',
        b'{"verdict":"pass","verdict":"deny"}',
        b'{"verdict":"deny","verd\\u0069ct":"pass"}',
        b'\xef\xbb\xbf{"verdict":"pass"}',
        b'{"verdict":"pass","reason":"\xff"}',
        b'{"verdict":"pass","reason":"\xed\xa0\x80"}',
        b'{"verdict":"pass","reason":"\\ud800"}',
        b'{"verdict":"pass","annotations":{"risk":NaN}}',
        b'{"verdict":"pass","annotations":{"risk":1e999}}',
        b'{"verdict":"pass","annotations":{"risk":' + b"9" * 100_000 + b"}}",
        b'{"verdict":"pass","annotations":{"risk":"high"}}',
        b'{"verdict":"pass","annotations":[]}',
        b'{"verdict":"pass","annotations":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"verdict":"pass","message":"for nobody"}',
        b'{"verdict":"allow"}',
        b'{"verdict":"PASS"}',
        b'{"verdict":["pass"]}',
        b'{"verdict":null}',
        b"{}",
        b'{"verdict":"pass","extra":1}',
        b'{"verdict":"pass","arguments":{}}',
        b'{"verdict":"transform","arguments":{}}',
        b'{"verdict":"transform","result":{}}',
    ],
)
def test_bad_reply_is_no_verdict(reply: bytes) -> None:
    """What is not exactly one verdict is a failure of the class `bad_output`."""
    with pytest.raises(GuestFailureError) as failure:
        _say(reply)
    assert failure.value.error_class.value == "bad_output"


def test_good_replies_come_through() -> None:
    """What a module says exactly is what comes out, and long text is cut."""
    assert _say(b' {"verdict" : "pass"}\n').verdict == "pass"
    assert _say(b'{"verdict":"pass","annotations":{"risk":7,"other":[]}}').annotations == {"risk": 7}
    cut = _say(LONG)
    assert (cut.verdict, len(cut.message.encode()), len(cut.reason.encode())) == ("deny", 1_000, 4_000)
    payload = b'{ "a": 1e400, "b": "\\u0000\\ud83d\\ude00" }'
    assert _say(b'{"verdict":"transform","arguments":' + payload + b"}", may_transform=True).payload == payload


def test_reply_may_be_as_large_as_the_limit() -> None:
    """A reply of exactly the largest size is read, with all that is in it."""
    head, tail = b'{"verdict":"transform","arguments":{"a":"', b'"}}'
    reply = head + b"x" * ((1 << 20) - len(head) - len(tail)) + tail
    payload = _say(reply, may_transform=True).payload
    assert payload is not None
    assert len(json.loads(payload)["a"]) == (1 << 20) - len(head) - len(tail)
