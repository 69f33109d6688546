"""The decision log of a running service: one line for each decision, whatever becomes of the disk."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.errors import ConfigError
from tests.bundles import PERMIT_ALL, manifest, tool
from tests.grpc.service import READ, TIMEOUT_SECONDS, Service, failure, question, serving, tool_call
from tests.waiting import wait_until

POLICIES = """
@id("yes") permit(principal == Agent::"a", action, resource);
@id("no") @message("not that one") forbid(principal, action, resource) when { context has x && context.x == 1 };
@id("broken") forbid(principal == Agent::"unlucky", action, resource) when { principal.absent };
@id("lame") permit(principal, action, resource) when { context has y && context.y.absent };
@enforcement("shadow") @id("later") forbid(principal == Agent::"a", action == Action::"srv/shadowed", resource);
"""
FILES = {"policies/a.cedar": POLICIES, "tools/srv.json": manifest(READ, tool("shadowed"))}
ARGUMENTS = b'{"n":1}'
EMPTY = hashlib.sha256(b"").hexdigest()

#: The keys of every record, in their order, and the parts that differ from call to call.
TIME = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


CALL = {"subject": _uid("Agent", "a"), "action": _uid("Action", "srv/read"), "resource": _uid("Server", "srv")}
HASH = {"arguments_sha256": hashlib.sha256(ARGUMENTS).hexdigest()}
NO_MATCH = {"code": "NO_MATCHING_POLICY", "message": "no policy permits this call"}
FAILED = "a policy that could forbid this call failed to evaluate"


def _token() -> pb.AuthorizeRequest:
    request = tool_call(ARGUMENTS, request_id="r")
    request.subject.token = "very.secret.token"
    return request


CASES: dict[str, tuple[pb.AuthorizeRequest, dict[str, Any]]] = {
    "allow": (tool_call(ARGUMENTS), {"decision": "ALLOW", "code": "", **CALL, **HASH, "policies": ["yes"]}),
    "allow of an action": (
        question(),
        {
            "decision": "ALLOW",
            "code": "",
            "subject": _uid("Agent", "a"),
            "action": _uid("Action", "read"),
            "resource": _uid("Doc", "d"),
            "policies": ["yes"],
        },
    ),
    "forbid": (
        tool_call(ARGUMENTS, context_json=b'{"x":1}', session_id="s1", request_id="r1"),
        {
            "decision": "DENY",
            "code": "FORBIDDEN",
            "message": "not that one",
            **CALL,
            "session_id": "s1",
            **HASH,
            "policies": ["no"],
            "request_id": "r1",
        },
    ),
    "default deny": (
        tool_call(ARGUMENTS, agent="b"),
        {"decision": "DENY", **NO_MATCH, **CALL, "subject": _uid("Agent", "b"), **HASH},
    ),
    "policy error": (
        tool_call(ARGUMENTS, agent="unlucky"),
        {
            "decision": "DENY",
            "code": "POLICY_ERROR",
            "message": FAILED,
            **CALL,
            "subject": _uid("Agent", "unlucky"),
            **HASH,
            "errors": ["broken"],
        },
    ),
    "a permit that fails": (
        tool_call(ARGUMENTS, context_json=b'{"y":{}}'),
        {"decision": "ALLOW", "code": "", **CALL, **HASH, "policies": ["yes"], "errors": ["lame"]},
    ),
    "invalid arguments": (
        tool_call(b'{"n":"x"}'),
        {
            "decision": "DENY",
            "code": "INVALID_ARGUMENTS",
            "message": "/n: must be an integer, not a string",
            **CALL,
            "arguments_sha256": hashlib.sha256(b'{"n":"x"}').hexdigest(),
        },
    ),
    "unknown tool": (
        tool_call(ARGUMENTS, name="nope"),
        {
            "decision": "DENY",
            "code": "UNKNOWN_TOOL",
            "message": "this tool is not known to the policy service",
            **CALL,
            "action": _uid("Action", "srv/nope"),
            **HASH,
        },
    ),
    "token": (
        _token(),
        {
            "decision": "DENY",
            "code": "INVALID_TOKEN",
            "message": "the token does not establish who is asking",
            "subject": None,
            "request_id": "r",
        },
    ),
    "shadow": (
        tool_call(name="shadowed"),
        {
            "decision": "ALLOW",
            "code": "",
            **CALL,
            "action": _uid("Action", "srv/shadowed"),
            "arguments_sha256": EMPTY,
            "policies": ["yes"],
            "shadow": {"would_be_decision": "DENY", "flipping": ["later"], "matched": ["later"]},
        },
    ),
}


def _check(record: dict[str, Any], expected: dict[str, Any], response: pb.AuthorizeResponse) -> None:
    """The record is that of the response, with exactly the expected keys and values beside what is its own."""
    own = {name: record.pop(name) for name in ("kind", "time", "decision_id", "revision", "duration_us")}
    assert own["kind"] == "authorize"
    assert TIME.fullmatch(own["time"])
    assert (own["decision_id"], own["revision"]) == (response.decision_id, response.revision)
    assert own["duration_us"] >= 0
    errors = record.pop("errors")
    assert [error["policy"] for error in errors] == expected.get("errors", [])
    assert all(error.keys() == {"policy", "message"} for error in errors)
    assert record == {"policies": [], **{key: value for key, value in expected.items() if key != "errors"}}


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_decision_has_its_record(tmp_path: Path, kind: str) -> None:
    """Alone, again from the cache, and in a batch, a decision is one line with exactly these keys and values."""
    request, expected = CASES[kind]
    with serving(tmp_path, FILES) as service:
        responses = [service.authorize(request), service.authorize(request)]
        responses += [result.response for result in service.batch(request, request).results]
        records = service.records(4)
    assert len({response.decision_id for response in responses}) == 4
    for record, response in zip(records, responses, strict=True):
        _check(record, expected, response)
    assert "very.secret.token" not in (tmp_path / "decisions.jsonl").read_text()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("hash", HASH), ("full", {"arguments": '{"n":1}'}), ("none", {})],
)
def test_arguments_are_written_as_configured(tmp_path: Path, policy: str, expected: dict[str, str]) -> None:
    """Of the arguments the log has their digest, all of them, or nothing; and never the context or the entities."""
    secret = json.dumps({"z": "a secret"}).encode()
    log = {"arguments": policy}
    with serving(tmp_path, FILES, decision_log=log) as service:
        service.authorize(tool_call(ARGUMENTS, context_json=secret))
        [record] = service.records(1)
    assert {key: value for key, value in record.items() if key.startswith("arguments")} == expected
    assert "secret" not in json.dumps(record)


def test_refused_questions_are_no_decisions(tmp_path: Path) -> None:
    """What is the caller's mistake makes no line; neither do later RPCs, nor a batch that is too large."""
    with serving(tmp_path, FILES, limits={"batch_requests": 2}) as service:
        for call, request in (
            (service.decision.Authorize, pb.AuthorizeRequest()),
            (service.decision.Authorize, tool_call(context_json=b"[")),
            (service.decision.Decide, pb.DecideRequest()),
            (service.decision.AuthorizeBatch, pb.AuthorizeBatchRequest(requests=[tool_call()] * 3)),
        ):
            failure(call, request)
        service.batch(tool_call(context_json=b"["), tool_call(request_id="good"))
        assert [record["request_id"] for record in service.records(1)] == ["good"]


HOSTILE = ['"}\n{"kind":"authorize","decision":"ALLOW"', "\r\n", "\x00\x1b[2J", "\u2028\u2029\x85", "\\", '\\"']
HOSTILE += ["\ufeff", "\U0001f600", "\x7f", "a\nb", '","decision":"ALLOW","x":"']


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_in_their_places(tmp_path: Path, text: str) -> None:
    """Whatever is sent stays inside its own string: no line breaks, none is forged, nothing is lost."""
    sent = text.encode() + b"\xff\xc3"
    with serving(tmp_path, FILES, decision_log={"arguments": "full"}) as service:
        requests = [
            tool_call(sent, agent=text, server=text, name=text, session_id=text, request_id=text),
            tool_call(sent, agent=text),
        ]
        for request in requests:
            service.authorize(request)
        wait_until(lambda: service.log.read_bytes().count(b"\n") >= 2, "the lines are written")
        written = service.log.read_bytes()
        assert written.isascii()
        assert len(written.decode().splitlines()) == written.count(b"\n") == 2
        first, second = service.records(2)
    assert (first["subject"]["id"], first["resource"]["id"]) == (text, text)
    assert (first["session_id"], first["request_id"], first["action"]["id"]) == (text, text, f"{text}/{text}")
    assert (first["decision"], first["code"]) == ("DENY", "UNKNOWN_TOOL")
    assert second["arguments"] == sent.decode("utf-8", "backslashreplace")
    assert second["code"] == "INVALID_ARGUMENTS"


def test_many_callers_at_once_have_a_line_each(tmp_path: Path) -> None:
    """However many ask at once, each decision is one whole line under the id that the caller was told."""
    with serving(tmp_path, FILES) as service:
        calls = [service.decision.Authorize.future(tool_call(request_id=str(n))) for n in range(300)]
        told = {call.result().decision_id: str(number) for number, call in enumerate(calls)}
        records = service.records(300)
    assert {record["decision_id"]: record["request_id"] for record in records} == told


# --- the disk --------------------------------------------------------------------------------------------------------


def _status(service: Service) -> admin_service_pb2.GetStatusResponse:
    return service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_degrades_and_drops_are_counted(tmp_path: Path) -> None:
    """While no line can be written questions are answered; the status says so and counts what is dropped."""
    log = {"path": "/dev/full", "buffer_lines": 10, "spool_dir": ""}
    with serving(tmp_path, FILES, decision_log=log) as service:
        assert _status(service).state == admin_service_pb2.SERVICE_STATE_SERVING
        service.authorize(tool_call())
        reason = "the decision log cannot be written: no space left on device"
        wait_until(lambda: reason in _status(service).degraded_reasons, "it is noticed")
        for _ in range(3):
            assert len(service.batch(*[tool_call()] * 8).results) == 8
        status = _status(service)
        assert status.state == admin_service_pb2.SERVICE_STATE_DEGRADED
        assert "15 decision log lines were dropped" in status.degraded_reasons


def test_the_log_is_for_its_owner_alone_and_grows(tmp_path: Path) -> None:
    """A new log can be read by its owner only; an old one is continued."""
    for count in (1, 2):
        with serving(tmp_path, FILES) as service:
            service.authorize(tool_call())
            assert len(service.records(count)) == count
            assert service.log.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_not_joined_to_the_next(tmp_path: Path) -> None:
    """What a process that was killed left unfinished stays a line of its own where no spool has it."""
    (tmp_path / "decisions.jsonl").write_text('{"kind":"authorize","time":"20')
    with serving(tmp_path, FILES, decision_log={"spool_dir": ""}) as service:
        service.authorize(tool_call())
        wait_until(lambda: service.log.read_bytes().count(b"\n") == 2, "two lines")
        torn, whole = service.log.read_text().splitlines()
    assert torn == '{"kind":"authorize","time":"20'
    assert json.loads(whole)["decision"] == "ALLOW"


def test_everything_is_written_before_the_end(tmp_path: Path) -> None:
    """When the service has stopped, every decision that it answered is in the log."""
    with serving(tmp_path, FILES) as service:
        for _ in range(5):
            service.batch(*[tool_call()] * 100)
    text = (tmp_path / "decisions.jsonl").read_bytes()
    assert text.count(b'{"kind":"authorize"') == 500


def test_a_log_that_cannot_be_opened_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    """A log in the place of a directory is refused before anything listens."""
    with pytest.raises(ConfigError) as caught, serving(tmp_path, FILES, decision_log={"path": str(tmp_path)}):
        pytest.fail("it started")
    assert caught.value.problems == (f"the decision log cannot be written to `{tmp_path}`: is a directory",)


def test_no_log_is_kept_if_none_is_wanted(tmp_path: Path) -> None:
    """Without a sink questions are answered, and nothing is written anywhere."""
    with serving(tmp_path, {"policies/a.cedar": PERMIT_ALL}, decision_log={"sink": "none"}) as service:
        service.authorize(question())
    assert not (tmp_path / "decisions.jsonl").exists()
