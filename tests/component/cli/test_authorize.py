"""`pdp authorize`, in process and against a service."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2
from tests.component.cli.fakes import faked

Run = Callable[..., Any]

PDP = str(Path(sys.executable).with_name("pdp"))
BOT = ("--subject", 'Agent::"support-bot"')
SEARCH = ("--tool", "helpdesk/search_tickets")
REFUND = ("--tool", "helpdesk/issue_refund")
DELETE = ("--tool", "helpdesk/delete_ticket")

#: Questions with the exit status and the denial's code that they get.
QUESTIONS = {
    "allow": ((*BOT, *SEARCH), 0, None),
    "allow, shadow flips": ((*BOT, *REFUND, "--arguments", '{"ticket_id": "T", "amount_cents": 1}'), 0, None),
    "allow, with a fact": (
        (*BOT, *DELETE, "--arguments", '{"ticket_id": "T"}', "--context", '{"approved_by": "lead"}'),
        0,
        None,
    ),
    "allow, with an entity": (
        (
            "--principal",
            'Agent::"new"',
            *SEARCH,
            "--entities",
            '[{"uid": {"type": "Agent", "id": "new"}, "attrs": {}, "parents": [{"type": "Role", "id": "support"}]}]',
        ),
        0,
        None,
    ),
    "allow, ids": ((*BOT, *SEARCH, "--session-id", "s", "--request-id", "r"), 0, None),
    "forbidden": ((*BOT, *DELETE, "--arguments", '{"ticket_id": "T"}'), 1, "FORBIDDEN"),
    "nobody permits": (("--subject", 'Agent::"report-bot"', *SEARCH), 1, "NO_MATCHING_POLICY"),
    "unknown tool": ((*BOT, "--tool", "helpdesk/no/such"), 1, "UNKNOWN_TOOL"),
    "arguments that do not fit": ((*BOT, *DELETE), 1, "INVALID_ARGUMENTS"),
    "arguments that are no JSON": ((*BOT, *SEARCH, "--arguments", '{"a": 1, "a": 2}'), 1, "INVALID_ARGUMENTS"),
    "action on resource": (
        (
            *BOT,
            "--action",
            'Action::"helpdesk/search_tickets"',
            "--resource",
            'Server::"helpdesk"',
            "--context",
            '{"input": {}, "undeclared": []}',
        ),
        0,
        None,
    ),
}
#: Questions that are no questions: the code and the field of the error.
MISTAKES = {
    "principal type": (("--subject", 'Robot::"x"', *SEARCH), "INVALID_ARGUMENT", "subject.entity.type"),
    "undeclared fact": ((*BOT, *SEARCH, "--context", '{"x": 1}'), "INVALID_ARGUMENT", "context_json"),
    "no JSON": ((*BOT, *SEARCH, "--context", "{"), "INVALID_ARGUMENT", "context_json"),
    "empty id": (("--subject", 'Agent::""', *SEARCH), "INVALID_ARGUMENT", "subject.entity.id"),
    "overlong id": ((*BOT, *SEARCH, "--request-id", "x" * 300), "INVALID_ARGUMENT", "request_id"),
}


@pytest.fixture
def address(serve: Run, bundle: Path) -> str:
    """A service with the starter bundle."""
    return str(serve("--bundle", bundle).address)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_bundle_answers(pdp: Run, bundle: Path, name: str) -> None:
    """In process, the exit status is that of the decision, and the first line says it with its code."""
    question, status, code = QUESTIONS[name]
    outcome = pdp("authorize", "--bundle", bundle, *question)
    assert (outcome.status, outcome.err) == (status, "")
    assert outcome.out.startswith("ALLOW\n" if code is None else f"DENY {code}: ")


@pytest.mark.process
def test_a_service_answers_the_same(pdp: Run, bundle: Path, address: str) -> None:
    """A service and its bundle in process answer every question alike, but for the decision's id."""
    for question, status, code in QUESTIONS.values():
        answers = []
        for where in (("--bundle", bundle), ("--address", address)):
            outcome = pdp("authorize", *where, *question, "--json")
            assert (outcome.status, outcome.err) == (status, ""), question
            answers.append(outcome.document)
        ids = [answer.pop("decision_id") for answer in answers]
        assert answers[0] == answers[1]
        assert all(ids)
        assert ids[0] != ids[1]
        assert answers[0].get("denial", {}).get("code") == (f"DENIAL_CODE_{code}" if code else None)


@pytest.mark.process
def test_mistakes_are_told_with_code_and_field(pdp: Run, bundle: Path, address: str) -> None:
    """What the caller got wrong ends with 2 and names code and field, from a service and in process alike."""
    for question, code, field in MISTAKES.values():
        for where in (("--bundle", bundle), ("--address", address)):
            outcome = pdp("authorize", *where, *question)
            assert (outcome.status, outcome.out) == (2, ""), question
            assert f"answered {code}: " in outcome.err
            assert f"(field `{field}`)" in outcome.err
            error = pdp("authorize", *where, *question, "--json").document["error"]
            assert (error["code"], error["field"]) == (code, field)
            assert error["reason"].isupper()


def test_people_read_why(pdp: Run, bundle: Path) -> None:
    """The answer names the policies with effect and annotations, the shadow's opinion, and decision and revision."""
    question, _, _ = QUESTIONS["allow, shadow flips"]
    lines = pdp("authorize", "--bundle", bundle, *question).out.splitlines()
    assert lines[:5] == [
        "ALLOW",
        "  permit `support-makes-small-refunds`",
        "    @advice: larger refunds are made by people",
        "  if what is in shadow were enforced: DENY",
        "    `refunds-need-a-reason` matches, which changes the decision",
    ]
    assert lines[5].startswith("  decision ")
    assert ", revision " in lines[5]


def test_policy_errors_are_shown(pdp: Run, bundle: Path) -> None:
    """A policy that fails is named with Cedar's words."""
    (bundle / "policies" / "failing.cedar").write_text(
        '@id("failing") forbid (principal, action == Action::"helpdesk/issue_refund", resource)\n'
        "when { context.input.amount_cents * 9223372036854775807 > 1 };\n"
    )
    arguments = ("--arguments", '{"ticket_id": "T", "amount_cents": 2}')
    outcome = pdp("authorize", "--bundle", bundle, *BOT, *REFUND, *arguments)
    assert outcome.status == 1
    assert outcome.out.startswith("DENY POLICY_ERROR: ")
    assert "  failed `failing`: " in outcome.out


def test_the_configuration_counts(pdp: Run, bundle: Path, tmp_path: Path) -> None:
    """In process, `--config` decides about failing policies as it does for the service."""
    test_policy_errors_are_shown(pdp, bundle)
    (tmp_path / "pdp.toml").write_text('[authorize]\non_forbid_error = "skip"\n')
    arguments = ("--arguments", '{"ticket_id": "T", "amount_cents": 2}', "--config", tmp_path / "pdp.toml")
    assert pdp("authorize", "--bundle", bundle, *BOT, *REFUND, *arguments).status == 0


def test_documents_come_from_files_and_standard_input(
    pdp: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`@file` and `-` are read as bytes and taken as they are."""
    (tmp_path / "arguments.json").write_bytes(b'{"ticket_id": "T"}')
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"approved_by": "lead"}')))
    ask = ("authorize", "--bundle", bundle, *BOT, *DELETE)
    assert pdp(*ask, "--arguments", f"@{tmp_path / 'arguments.json'}", "--context", "-").status == 0
    (tmp_path / "arguments.json").write_bytes(b'{"ticket_id": "\xff"}')
    outcome = pdp(*ask, "--arguments", f"@{tmp_path / 'arguments.json'}")
    assert outcome.out.startswith("DENY INVALID_ARGUMENTS: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((*SEARCH,), "--subject"),
        ((*BOT,), "--tool"),
        (("--subject", "Agent::bot", *SEARCH), '`Agent::bot` is not an entity; write `Type::"id"`'),
        ((*BOT, "--tool", "helpdesk"), "`helpdesk` is not a tool; write `server/tool`"),
        ((*BOT, "--tool", "/x"), "`/x` is not a tool"),
        ((*BOT, *SEARCH, "--resource", 'Server::"x"'), "`--resource` belongs to `--action`"),
        ((*BOT, "--action", 'Action::"x"'), "`--action` needs `--resource`"),
        ((*BOT, "--action", 'Action::"x"', "--resource", 'R::"x"', "--arguments", "{}"), "`--arguments` belongs to"),
        ((*BOT, "--action", 'Action::"x"', "--resource", 'R::"x"', "--session-id", "s"), "`--session-id` belongs to"),
        ((*BOT, *SEARCH, "--action", 'Action::"x"'), "not allowed with"),
        ((*BOT, *SEARCH, "--address", "x:1", "--bundle", "x"), "not allowed with"),
        ((*BOT, *SEARCH, "--address", "nowhere"), "`nowhere` is not an address"),
        ((*BOT, *SEARCH, "--arguments", "-", "--context", "-"), "only once"),
        ((*BOT, *SEARCH, "--arguments", "@nowhere.json"), "`nowhere.json` cannot be read: no such file or directory"),
        ((*BOT, *SEARCH, "--bundle", "nowhere"), "there is no bundle at `nowhere`"),
        ((*BOT, *SEARCH, "--request-id", "\udcff"), r"`\udcff` is not UTF-8"),
        *(((*BOT, *SEARCH, "--timeout", text), f"`{text}` is not a number of seconds") for text in ("0", "nan", "inf")),
    ],
)
def test_wrong_usage(pdp: Run, arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2, says what is wrong, and answers nothing."""
    outcome = pdp("authorize", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err


def test_a_broken_bundle_is_not_a_denial(pdp: Run, broken: Path) -> None:
    """A bundle that does not load has no opinion: the status is 2, and its problems are listed."""
    outcome = pdp("authorize", "--bundle", broken, *BOT, *SEARCH)
    assert (outcome.status, outcome.out) == (2, "")
    assert "policies/wrong.cedar:1:1: error: " in outcome.err


def test_what_policies_say_does_not_reach_the_terminal(pdp: Run, bundle: Path) -> None:
    """Control characters in a policy's annotations and message come out as escapes."""
    (bundle / "policies" / "hostile.cedar").write_text(
        '@id("h\\u{1b}[2J") @message("gone\\n\\u{1b}]0;x\\u{7}\\u{202e}") forbid (principal, action, resource);\n'
    )
    outcome = pdp("authorize", "--bundle", bundle, *BOT, *SEARCH)
    assert outcome.status == 1
    assert outcome.out.startswith(r"DENY FORBIDDEN: gone\n\x1b]0;x\x07\u202e" + "\n")
    assert all(line.isprintable() for line in outcome.out.splitlines())
    assert pdp("authorize", "--bundle", bundle, *BOT, *SEARCH, "--json").out.isascii()


def test_nobody_there_is_a_failure(pdp: Run) -> None:
    """Where nothing listens, the status is 2 and the message names the address; in JSON too."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        outcome = pdp("authorize", "--address", address, *BOT, *SEARCH)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err.startswith(f"error: no service can be reached at `{address}`: ")
        error = pdp("authorize", "--address", address, *BOT, *SEARCH, "--json").document["error"]
        assert error["code"] == "UNAVAILABLE"


def test_silence_is_a_failure(pdp: Run) -> None:
    """What accepts a connection and says nothing is given up after the timeout, with 2."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        outcome = pdp("authorize", "--address", address, *BOT, *SEARCH, "--timeout", "0.2")
        assert (outcome.status, outcome.out) == (2, "")
        assert address in outcome.err


@pytest.mark.process
def test_unix_sockets_and_the_variable(
    pdp: Run, serve: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is found over a unix socket, and by `$PDP_ADDRESS`."""
    address = f"unix:{tmp_path}/s"
    serve("--bundle", bundle, "--listen", address)
    assert pdp("authorize", "--address", address, *BOT, *SEARCH).status == 0
    monkeypatch.setenv("PDP_ADDRESS", address)
    assert pdp("authorize", *BOT, *SEARCH).status == 0


@pytest.mark.process
def test_a_proxy_is_not_for_this_machine(address: str, pdp: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names for the network is not asked for a local service."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert pdp("authorize", "--address", address, *BOT, *SEARCH).status == 0


@pytest.mark.parametrize("value", [0, 3, 99])
def test_only_an_allow_is_an_allow(pdp: Run, value: int) -> None:
    """A decision that is unset, or that this version does not know, is a denial."""
    response = decision_service_pb2.AuthorizeResponse.FromString(bytes([0x08, value]))
    with faked("DecisionService", Authorize=response) as address:
        assert pdp("authorize", "--address", address, *BOT, *SEARCH).status == 1
        assert pdp("authorize", "--address", address, *BOT, *SEARCH, "--json").status == 1


def test_a_newer_service_is_understood(pdp: Run) -> None:
    """Values that this version does not know are shown as numbers."""
    denial = decision_pb2.Denial.FromString(b"\x08\x63")
    response = decision_service_pb2.AuthorizeResponse(decision=decision_pb2.DECISION_DENY, denial=denial)
    with faked("DecisionService", Authorize=response) as address:
        outcome = pdp("authorize", "--address", address, *BOT, *SEARCH)
        assert (outcome.status, outcome.out.splitlines()[0]) == (1, "DENY 99: ")


def test_the_answer_is_one_document(bundle: Path) -> None:
    """As a process, `--json` writes one JSON object to standard output and nothing to standard error."""
    command = [PDP, "authorize", "--bundle", str(bundle), *BOT, *SEARCH, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert document["decision"] == "DECISION_ALLOW"
    assert document["policy_errors"] == []
    assert [policy["policy_id"] for policy in document["determining_policies"]] == ["support-reads"]
