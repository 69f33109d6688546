"""Decisions as lines of JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.model import (
    ActionQuery,
    Authorization,
    Denial,
    DenialCode,
    DeterminingPolicy,
    EntityUid,
    PolicyError,
    Query,
    ShadowReport,
    ToolQuery,
)
from pdp.decision_log.evaluation_errors import without_values
from pdp.decision_log.record import ArgumentsPolicy, decision_line, timestamp

AGENT = EntityUid("Agent", "a")
CALL = ToolQuery(AGENT, "srv", "get", b'{"x":1}')
QUESTION = ActionQuery(AGENT, EntityUid("Action", "read"), EntityUid("Doc", "d"), b'{"secret":1}', b"[]")
ALLOWED = Authorization(True, None, (DeterminingPolicy("p", "permit", {"advice": "x"}),))
REVISION = "f" * 64


def _line(query: Query | None, answer: Authorization, arguments: ArgumentsPolicy = "hash", request_id: str = "") -> str:
    return decision_line(
        query,
        answer,
        time_ns=1_700_000_000_123_456_789,
        duration_ns=1_234_567,
        decision_id="d1",
        request_id=request_id,
        revision=REVISION,
        arguments=arguments,
    )


def _record(*arguments: Any, **more: Any) -> dict[str, Any]:
    line = _line(*arguments, **more)
    assert "\n" not in line
    record: dict[str, Any] = json.loads(line)
    return record


def test_an_allowed_tool_call() -> None:
    """The record of a tool call has exactly these keys and values, in this order."""
    expected = {
        "kind": "authorize",
        "time": "2023-11-14T22:13:20.123456Z",
        "decision_id": "d1",
        "decision": "ALLOW",
        "code": "",
        "subject": {"type": "Agent", "id": "a"},
        "action": {"type": "Action", "id": "srv/get"},
        "resource": {"type": "Server", "id": "srv"},
        "arguments_sha256": hashlib.sha256(b'{"x":1}').hexdigest(),
        "policies": ["p"],
        "errors": [],
        "revision": REVISION,
        "duration_us": 1234,
    }
    record = _record(CALL, ALLOWED)
    assert record == expected
    assert list(record) == list(expected)


def test_a_denied_question() -> None:
    """The record of any other action has what was asked, the code and the message, and nothing of the context."""
    forbidden = Denial(DenialCode.FORBIDDEN, "not now")
    answer = Authorization(
        False, forbidden, (DeterminingPolicy("no", "forbid", {}),), (PolicyError("q", "type error: x"),)
    )
    assert _record(QUESTION, answer, request_id="r1") == {
        "kind": "authorize",
        "time": "2023-11-14T22:13:20.123456Z",
        "decision_id": "d1",
        "decision": "DENY",
        "code": "FORBIDDEN",
        "message": "not now",
        "subject": {"type": "Agent", "id": "a"},
        "action": {"type": "Action", "id": "read"},
        "resource": {"type": "Doc", "id": "d"},
        "policies": ["no"],
        "errors": [{"policy": "q", "message": "type error"}],
        "revision": REVISION,
        "duration_us": 1234,
        "request_id": "r1",
    }


def test_nobody_established() -> None:
    """Where a token establishes nobody, the record says so."""
    record = _record(None, Authorization.denied(DenialCode.INVALID_TOKEN, "no"))
    assert (record["subject"], record["code"]) == (None, "INVALID_TOKEN")
    assert "action" not in record
    assert "arguments_sha256" not in record


@pytest.mark.parametrize("code", DenialCode)
def test_every_code_is_written_by_its_name(code: DenialCode) -> None:
    """Codes stand in the log as they stand in the contract."""
    assert _record(CALL, Authorization.denied(code, ""))["code"] == code.name


def test_a_session_and_a_shadow_are_written() -> None:
    """A session and what shadow policies would have changed are part of the record."""
    answer = Authorization(True, shadow=ShadowReport(False, ("a",), ("a", "b")))
    record = _record(CALL._replace(session_id="s1"), answer)
    assert record["session_id"] == "s1"
    assert record["shadow"] == {"would_be_decision": "DENY", "flipping": ["a"], "matched": ["a", "b"]}
    assert (
        _record(CALL, Authorization(False, shadow=ShadowReport(True, (), ())))["shadow"]["would_be_decision"] == "ALLOW"
    )


def test_arguments_are_written_as_configured() -> None:
    """Their sha256, all of them as text, or nothing."""
    assert "arguments" not in _record(CALL, ALLOWED, "hash")
    full = _record(CALL, ALLOWED, "full")
    assert full["arguments"] == '{"x":1}'
    assert "arguments_sha256" not in full
    nothing = _record(CALL, ALLOWED, "none")
    assert not {"arguments", "arguments_sha256"} & nothing.keys()
    assert _record(CALL._replace(arguments=b""), ALLOWED, "full")["arguments"] == ""


def test_bytes_that_are_no_text_are_written_all_the_same() -> None:
    """What an agent sent need not be UTF-8, nor JSON; it is written down in a form that JSON can carry."""
    sent = b'\xff\x00"\n\\\xed\xa0\x80'
    assert _record(CALL._replace(arguments=sent), ALLOWED, "full")["arguments"] == '\\xff\x00"\n\\\\xed\\xa0\\x80'
    assert _record(CALL._replace(arguments=sent), ALLOWED)["arguments_sha256"] == hashlib.sha256(sent).hexdigest()


_HOSTILE = st.text(
    alphabet=st.sampled_from('a"\\\n\r\t\x00\x1b\x7f\x85\u2028\u2029\ufeff\u202e{}[],:é\U0001f600')
    | st.characters(codec="utf-8"),
    max_size=20,
)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


_UIDS = st.builds(EntityUid, st.just("Agent") | _HOSTILE, _HOSTILE)
_ANSWERS = st.builds(
    Authorization,
    st.booleans(),
    st.none() | st.builds(Denial, st.sampled_from(DenialCode), _HOSTILE),
    st.lists(st.builds(DeterminingPolicy, _HOSTILE, st.just("permit"), st.just({})), max_size=2).map(tuple),
    st.lists(st.builds(PolicyError, _HOSTILE, _HOSTILE), max_size=2).map(tuple),
    st.none() | st.builds(ShadowReport, st.booleans(), st.tuples(_HOSTILE), st.tuples(_HOSTILE, _HOSTILE)),
)


@given(_UIDS, _HOSTILE, _HOSTILE, st.binary(max_size=20) | _HOSTILE.map(str.encode), _HOSTILE, _HOSTILE, _ANSWERS)
def test_nothing_sent_can_break_or_forge_a_line(
    principal: EntityUid, server: str, tool: str, arguments: bytes, session: str, request_id: str, answer: Authorization
) -> None:
    """Whatever the strings are, the line is one line of ASCII that reads back as exactly them, with no key twice."""
    query = ToolQuery(principal, server, tool, arguments, session)
    line = _line(query, answer, "full", request_id)
    assert line.isascii()
    assert line.isprintable()
    record = json.loads(line, object_pairs_hook=_unique)
    assert record["subject"] == principal._asdict()
    assert record["action"]["id"] == f"{server}/{tool}"
    assert record["resource"]["id"] == server
    assert record.get("session_id", "") == session
    assert record.get("request_id", "") == request_id
    assert record["arguments"] == arguments.decode("utf-8", "backslashreplace")
    assert record["decision"] == ("ALLOW" if answer.allowed else "DENY")
    assert record["policies"] == [policy.policy_id for policy in answer.determining]
    assert record["errors"] == [{"policy": e.policy_id, "message": without_values(e.message)} for e in answer.errors]


def test_long_names_are_written_and_not_kept() -> None:
    """An id of a megabyte is written as it is."""
    long = EntityUid("Agent", "x" * 1_000_000)
    assert _record(CALL._replace(principal=long), ALLOWED)["subject"]["id"] == long.id


def test_times_are_rfc_3339() -> None:
    """Times are in UTC with microseconds, cut and not rounded."""
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(999_999_999) == "1970-01-01T00:00:00.999999Z"
    assert timestamp(4_102_444_800_000_001_999) == "2100-01-01T00:00:00.000001Z"
