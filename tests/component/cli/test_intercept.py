"""`pdp intercept`, in process and against a service."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1.decision_service_pb2 import InterceptResponse
from tests.bundles import PERMIT_ALL, write_bundle
from tests.component.cli.conftest import PATIENT_MS
from tests.component.cli.fakes import faked
from tests.component.cli.guests import guest
from tests.modules import answering, binding, deny, looping, transform

Run = Callable[..., Any]
Interceptors = Mapping[str, tuple[bytes, Mapping[str, Any]]]

BOT = ("--subject", 'Agent::"bot"')
READ = ("--tool", "srv/read")
RESULT = ("--result", '{"content": []}')

#: Text that a terminal would obey, and what is shown of it.
HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e"
ESCAPED = r"\x1b]0;x\x07\x1b[2J\u202e"

#: Logs every request as it is, then lets it pass.
LOGGING = guest(
    '(import "pdp" "log" (func $log (param i32 i32 i32)))',
    """(call $log (i32.const 2) (local.get 0) (local.get 1))
       (call $log (i32.const 3) (i32.const 2048) (i32.const 14))""",
    r'(data (i32.const 2048) "two \1b[2J\nlines")',
)

#: Interceptors with questions, and the exit status and the denial's code that they get.
QUESTIONS: dict[str, tuple[Interceptors, tuple[str, ...], int, str | None]] = {
    "nothing is bound": ({}, (), 0, None),
    "pass": (
        {"a": (answering(), {})},
        ("--arguments", '{"n": 1.10}', "--session-id", "s", "--request-id", "r"),
        0,
        None,
    ),
    "another tool": ({"a": (answering(deny()), {"tools": ["other/*"]})}, (), 0, None),
    "deny": ({"a": (answering(deny("no", "why")), {})}, (), 1, "INTERCEPTOR_DENIED"),
    "shadow": ({"a": (answering(deny()), {"mode": "shadow"})}, (), 0, None),
    "transform": ({"a": (answering(transform(arguments={"n": 2})), {"may_transform": True})}, (), 0, None),
    "failure": ({"a": (looping(), {"fuel": 100_000})}, ("--session-id", "s" * 200), 1, "INTERCEPTOR_FAILED"),
    "forgiven": (
        {"a": (looping(), {"fuel": 100_000, "on_error": "allow"})},
        ("--session-id", "s" * 200, "--decision-id", "d"),
        0,
        None,
    ),
    "result": ({"a": (answering(None, deny()), {"phases": ["response"]})}, RESULT, 1, "INTERCEPTOR_DENIED"),
    "not its phase": ({"a": (answering(deny()), {})}, (*RESULT, "--result-is-error"), 0, None),
    "arguments that are no JSON": (
        {"a": (answering(), {})},
        ("--arguments", '{"a": 1, "a": 2}'),
        1,
        "INVALID_ARGUMENTS",
    ),
}
#: Questions that are no questions: the field of the error.
MISTAKES = {
    "no JSON": (("--context", "{"), "context_json"),
    "no object": (("--context", "[]"), "context_json"),
    "a result that is no JSON": (("--result", "nope"), "result_json"),
    "an empty result": (("--result", ""), "result_json"),
    "overlong id": (("--decision-id", "x" * 300), "decision_id"),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_bundle_and_a_service_answer_alike(pdp: Run, guarded: Run, running: Run, name: str) -> None:
    """The exit status is the decision's, the first line has its code, and a service and its bundle say the same."""
    interceptors, question, status, code = QUESTIONS[name]
    bundle = guarded(**interceptors)
    documents = []
    for where in (("--bundle", bundle), ("--address", running(bundle).address)):
        outcome = pdp("intercept", *where, *BOT, *READ, *question)
        assert (outcome.status, outcome.err) == (status, "")
        assert outcome.out.startswith("ALLOW\n" if code is None else f"DENY {code}: ")
        document = pdp("intercept", *where, *BOT, *READ, *question, "--json").document
        assert document.pop("decision_id")
        assert all(each.pop("duration").endswith("s") for each in document["interceptors"])
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[0].get("denial", {}).get("code") == (f"DENIAL_CODE_{code}" if code else None)


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_with_code_and_field(pdp: Run, guarded: Run, running: Run, name: str) -> None:
    """What the caller got wrong ends with 2 and names code and field, from a service and in process alike."""
    question, field = MISTAKES[name]
    bundle = guarded()
    for where in (("--bundle", bundle), ("--address", running(bundle).address)):
        outcome = pdp("intercept", *where, *BOT, *READ, *question)
        assert (outcome.status, outcome.out) == (2, "")
        assert "answered INVALID_ARGUMENT: " in outcome.err
        assert f"(field `{field}`)" in outcome.err
        assert pdp("intercept", *where, *BOT, *READ, *question, "--json").document["error"]["field"] == field


def test_people_read_what_each_interceptor_did(pdp: Run, guarded: Run) -> None:
    """Every interceptor has one line, in the order of the chain, then comes what is left of the payload."""
    facts = '{"verdict":"pass","reason":"looks good","annotations":{"risk":70,"other":1}}'
    new = '{"verdict":"transform","arguments":{"n":1.10,"o":{},"l":[[],"a:b"]}}'
    bundle = guarded(
        facts=(answering(facts), {"order": 1, "annotations": {"risk": "Long"}}),
        loops=(looping(), {"order": 2, "fuel": 100_000, "on_error": "allow"}),
        new=(answering(new), {"may_transform": True}),
        trial=(answering(deny("", "not yet")), {"order": 200, "mode": "shadow"}),
    )
    outcome = pdp("intercept", "--bundle", bundle, *BOT, *READ, "--session-id", "s" * 200)
    text = re.sub(r"\(\d+ us|\(\d+\.\d ms", "(TIME", outcome.out)
    assert text.splitlines()[:-1] == [
        "ALLOW",
        '  pass `facts` (TIME) states {"risk":70}: looks good',
        "  failed `loops` (TIME): fuel: it used up its fuel",
        "  transform `new` (TIME)",
        "  deny `trial` (TIME, shadow: changes nothing): not yet",
        "  mutated: yes",
        "  arguments:",
        "    {",
        '      "n": 1.10,',
        '      "o": {},',
        '      "l": [',
        "        [],",
        '        "a:b"',
        "      ]",
        "    }",
    ]
    assert re.fullmatch(r"  decision [0-9a-f]+, revision [0-9a-f]{64}", text.splitlines()[-1])


def test_a_denial_shows_no_payload(pdp: Run, guarded: Run) -> None:
    """Where the payload may not go on there is none to show, and the last interceptor is the one that denied."""
    bundle = guarded(first=(answering(deny("no", "why")), {}), second=(answering(), {"order": 900}))
    outcome = pdp("intercept", "--bundle", bundle, *BOT, *READ, "--arguments", '{"secret": 1}')
    assert outcome.status == 1
    assert outcome.out.startswith("DENY INTERCEPTOR_DENIED: no\n  deny `first` (")
    assert not re.search("secret|mutated|second", outcome.out)


@pytest.mark.parametrize(("member", "question"), [("arguments", ()), ("result", RESULT)])
def test_json_has_the_payload_byte_for_byte(pdp: Run, guarded: Run, member: str, question: tuple[str, ...]) -> None:
    """With `--json` the final payload is text, exactly as the last interceptor wrote it, and so are stated facts."""
    payload = '{ "n" : 1.10, "big": 123456789012345678901234567890, "x": "\u202e" }'
    reply = f'{{"verdict":"transform","{member}":{payload},"annotations":{{"risk":7}}}}'
    reworder, phase = (answering(reply), "request") if member == "arguments" else (answering(None, reply), "response")
    bundle = guarded(new=(reworder, {"phases": [phase], "may_transform": True, "annotations": {"risk": "Long"}}))
    outcome = pdp("intercept", "--bundle", bundle, *BOT, *READ, *question, "--json")
    document = outcome.document
    assert document[f"{member}_json"] == payload
    assert document["mutated"] is True
    assert document["interceptors"][0]["annotations_json"] == '{"risk":7}'
    assert outcome.out.isascii()


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ('{"a": [' + "1," * 60 + "1]}", '{"a": [' + "1," * 60 + "1]}"),
        ('{"a":"' + "x" * 5_000 + '"}', '{"a":"' + "x" * 1_994 + "… (5008 bytes; `--json` shows them all)"),
    ],
    ids=["many lines", "many bytes"],
)
def test_long_payloads_are_one_line(pdp: Run, guarded: Run, payload: str, shown: str) -> None:
    """What would fill the screen is one line, and what would fill it even so is cut, with its size."""
    outcome = pdp("intercept", "--bundle", guarded(), *BOT, *READ, "--arguments", payload)
    assert outcome.out.splitlines()[3] == f"    {shown}"


def test_what_modules_say_does_not_reach_the_terminal(pdp: Run, guarded: Run, running: Run) -> None:
    """Control characters in reasons, facts, messages and payloads come out as escapes, and spoof no line."""
    reply = {"verdict": "transform", "reason": f"{HOSTILE}\nALLOW", "annotations": {"who": HOSTILE}}
    text = json.dumps({**reply, "result": {"text": HOSTILE}}, ensure_ascii=False)
    bundle = guarded(
        new=(
            answering(None, text),
            {"phases": ["response"], "may_transform": True, "annotations": {"who": "String"}, "order": 900},
        ),
        no=(answering(deny(f"{HOSTILE}\nALLOW")), {"order": 900}),
    )
    for where in (("--bundle", bundle), ("--address", running(bundle).address)):
        for question, found in (((), rf"{ESCAPED}\nALLOW"), (RESULT, r"\u202e")):
            outcome = pdp("intercept", *where, *BOT, *READ, *question)
            assert found in outcome.out
            assert all(line.isprintable() for line in (outcome.out + outcome.err).splitlines())
            assert outcome.out.count("\nALLOW") == 0
            assert pdp("intercept", *where, *BOT, *READ, *question, "--json").out.isascii()


def test_what_modules_log_goes_to_standard_error(pdp: Run, guarded: Run) -> None:
    """In process, the log lines of this question come with name and level, escaped; those of trial calls do not."""
    bundle = guarded(scribe=(LOGGING, {}))
    outcome = pdp("intercept", "--bundle", bundle, *BOT, *READ, "--request-id", "r-17", "--json")
    lines = outcome.err.splitlines()
    assert lines[0].startswith('`scribe` logs warning: {"v":1,"phase":"request","request_id":"r-17",')
    assert lines[1:] == [r"`scribe` logs error: two \x1b[2J", "`scribe` logs error: lines"]
    assert outcome.document["decision"] == "DECISION_ALLOW"


def test_documents_come_from_files_and_standard_input(
    pdp: Run, guarded: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every document can be `@file` or `-`, is taken as it is, and standard input is read once."""
    (tmp_path / "result.json").write_bytes(b'{"big": 1.10}')
    ask = ("intercept", "--bundle", guarded(), *BOT, *READ)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"n": 1.10}')))
    assert pdp(*ask, "--arguments", "-", "--json").document["arguments_json"] == '{"n": 1.10}'
    question = ("--result", f"@{tmp_path / 'result.json'}", "--json")
    assert pdp(*ask, *question).document["result_json"] == '{"big": 1.10}'


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((*READ,), "--subject"),
        ((*BOT,), "--tool"),
        ((*BOT, "--tool", "read"), "`read` is not a tool; write `server/tool`"),
        ((*BOT, *READ, "--phase", "both"), "`both`"),
        ((*BOT, *READ, "--phase", "response"), "`--phase response` needs `--result`"),
        (
            (*BOT, *READ, "--phase", "request", *RESULT),
            "`--result` and `--result-is-error` belong to `--phase response`",
        ),
        ((*BOT, *READ, "--result-is-error"), "`--result` and `--result-is-error` belong to `--phase response`"),
        ((*BOT, *READ, "--entities", "[]"), "`--entities`"),
        ((*BOT, *READ, "--address", "x:1", "--bundle", "x"), "not allowed with"),
        ((*BOT, *READ, "--address", "nowhere"), "`nowhere` is not an address"),
        ((*BOT, *READ, "--arguments", "-", "--result", "-"), "only once"),
        ((*BOT, *READ, "--result", "@nowhere.json"), "`nowhere.json` cannot be read: no such file or directory"),
        ((*BOT, *READ, "--bundle", "nowhere"), "there is no bundle at `nowhere`"),
        ((*BOT, *READ, "--decision-id", "\udcff"), r"`\udcff` is not UTF-8"),
    ],
)
def test_wrong_usage(pdp: Run, arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2, says what is wrong, and answers nothing."""
    outcome = pdp("intercept", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err


def test_a_refused_module_is_not_a_denial(pdp: Run, guarded: Run) -> None:
    """A bundle whose interceptor does not load has no opinion: the status is 2, and the problem is listed."""
    outcome = pdp("intercept", "--bundle", guarded(broken=(b"\0asm", {})), *BOT, *READ)
    assert (outcome.status, outcome.out) == (2, "")
    assert "bundle.toml:3:1: error: interceptor `broken`: " in outcome.err
    assert "so there is no decision" in outcome.err


def test_time_that_is_over_is_not_a_denial(pdp: Run, guarded: Run, running: Run) -> None:
    """Where the caller's time passes first there is no answer, even if the interceptor's failure would be forgiven."""
    bundle = guarded(slow=(looping(), {"timeout_ms": PATIENT_MS, "fuel": 10**15, "on_error": "allow"}))
    for where in (("--bundle", bundle), ("--address", running(bundle).address)):
        outcome = pdp("intercept", *where, *BOT, *READ, "--session-id", "s" * 200, "--timeout", "0.2", "--json")
        assert outcome.status == 2
        assert outcome.document["error"]["code"] == "DEADLINE_EXCEEDED"


def test_nobody_there_is_a_failure(pdp: Run) -> None:
    """Where nothing listens, the status is 2 and the message names the address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        outcome = pdp("intercept", "--address", address, *BOT, *READ)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: no service can be reached at `{address}`: ")


@pytest.mark.parametrize("value", [0, 3, 99])
def test_only_an_allow_is_an_allow(pdp: Run, value: int) -> None:
    """A decision that is unset, or that this version does not know, is a denial, and shows no payload."""
    response = InterceptResponse.FromString(bytes([0x08, value]))
    response.arguments_json = b'{"secret": 1}'
    with faked("DecisionService", Intercept=response) as address:
        outcome = pdp("intercept", "--address", address, *BOT, *READ)
        assert outcome.status == 1
        assert "secret" not in outcome.out
        assert pdp("intercept", "--address", address, *BOT, *READ, "--json").status == 1


def test_a_newer_service_is_understood(pdp: Run) -> None:
    """Values that this version does not know are shown as numbers, and bytes that are no text as escapes."""
    outcome = interceptor_pb2.InterceptorOutcome.FromString(b"\x0a\x01x\x10\x63\x1a\x01b\x3a\x01\xff")
    response = InterceptResponse(
        decision=decision_pb2.DECISION_ALLOW, interceptors=[outcome], result_json=b'{"a": "\xff\x1b[2J'
    )
    with faked("DecisionService", Intercept=response) as address:
        lines = pdp("intercept", "--address", address, *BOT, *READ).out.splitlines()
        document = pdp("intercept", "--address", address, *BOT, *READ, "--json").document
    assert lines[1] == r"  99 `x` (0 us) states \xff: b"
    assert all(line.isprintable() for line in lines)
    assert document["result_json"] == '{"a": "\\xff\x1b[2J'


@pytest.mark.usefixtures("_compiled")
def test_tools_that_nobody_pinned(pdp: Run, tmp_path: Path) -> None:
    """A binding to every tool concerns those too that the bundle does not know."""
    files: dict[str, str | bytes] = {
        "policies/a.cedar": PERMIT_ALL,
        "bundle.toml": binding("any", timeout_ms=PATIENT_MS),
        "interceptors/any.wasm": answering(deny("no")),
    }
    bundle = write_bundle(tmp_path / "any", files)
    assert pdp("intercept", "--bundle", bundle, *BOT, "--tool", "other/thing/x").out.startswith(
        "DENY INTERCEPTOR_DENIED"
    )
