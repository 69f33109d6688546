"""`pdp decide`, in process and against a service."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1.decision_service_pb2 import DecideResponse
from tests.bundles import Files, entity, manifest, tool, write_bundle
from tests.component.cli.conftest import PATIENT_MS
from tests.component.cli.fakes import faked
from tests.component.cli.guests import guest
from tests.modules import answering, binding, deny, looping, transform

Run = Callable[..., Any]

ADMINISTRATOR = ("--entities", json.dumps([entity("Agent", "bot", ("Role", "admin"))]))
HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e"
ESCAPED = r"\x1b]0;x\x07\x1b[2J\u202e"

POLICIES = """
@id("small") @advice("large ones need a person")
permit(principal, action, resource) when { context.input has n && context.input.n < 10 };
@id("administrators") permit(principal in Role::"admin", action, resource);
@id("risky") @message("this looks risky")
forbid(principal, action, resource) when {
    context has interceptors && context.interceptors has "rates" && context.interceptors["rates"].risk > 5
};
@id("later") @enforcement("shadow") forbid(principal, action == Action::"srv/plain", resource);
"""
#: One tool for each interceptor, and `plain` without any.
MODULES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "denies": (answering(deny("no", "why")), {}),
    "raises": (answering(transform(arguments={"n": 20})), {"may_transform": True}),
    "lowers": (answering(transform(arguments={"n": 2})), {"may_transform": True}),
    "fails": (looping(), {"fuel": 100_000}),
    "rates": (answering('{"verdict":"pass","annotations":{"risk":7}}'), {"annotations": {"risk": "Long"}}),
    "watches": (answering(deny("", "not yet")), {"mode": "shadow"}),
}
FILES: Files = {
    "bundle.toml": "".join(
        binding(name, **{"tools": [f"srv/{name}"], "timeout_ms": PATIENT_MS, **terms})
        for name, (_, terms) in MODULES.items()
    ),
    "policies/a.cedar": POLICIES,
    "tools/srv.json": manifest(*(tool(name, {"n": {"type": "integer"}}) for name in ("plain", *MODULES))),
    **{f"interceptors/{name}.wasm": content for name, (content, _) in MODULES.items()},
}
ONE = ("--arguments", '{"n": 1}')

#: Tool, further words, exit status and the denial's code.
QUESTIONS: dict[str, tuple[str, tuple[str, ...], int, str | None]] = {
    "allow": ("plain", (*ONE, "--session-id", "s", "--request-id", "r", "--context", "{}"), 0, None),
    "nobody permits": ("plain", ("--arguments", '{"n": 11}'), 1, "NO_MATCHING_POLICY"),
    "allow, with an entity": ("plain", ADMINISTRATOR, 0, None),
    "an interceptor denies": ("denies", ONE, 1, "INTERCEPTOR_DENIED"),
    "an interceptor makes it too large": ("raises", ONE, 1, "NO_MATCHING_POLICY"),
    "an interceptor makes it small": ("lowers", ("--arguments", '{"n": 11}'), 0, None),
    "an interceptor fails": ("fails", (*ONE, "--session-id", "s" * 200), 1, "INTERCEPTOR_FAILED"),
    "a policy looks at what an interceptor states": ("rates", ONE, 1, "FORBIDDEN"),
    "an interceptor in shadow": ("watches", ONE, 0, None),
    "unknown tool": ("none", ONE, 1, "UNKNOWN_TOOL"),
    "arguments that do not fit": ("plain", ("--arguments", '{"n": "x"}'), 1, "INVALID_ARGUMENTS"),
    "arguments that are no JSON": ("lowers", ("--arguments", '{"n": 1, "n": 2}'), 1, "INVALID_ARGUMENTS"),
}


def ask(name: str, *question: str) -> tuple[str, ...]:
    """The words that ask about this tool of the server."""
    return ("decide", "--subject", 'Agent::"bot"', "--tool", f"srv/{name}", *question)


def write(directory: Path, files: Files = FILES) -> Path:
    """A bundle of both layers."""
    return write_bundle(directory / "layers" / "bundle", files)


@pytest.fixture
def layers(tmp_path: Path, _compiled: None) -> Path:
    """The bundle that the questions are for."""
    return write(tmp_path)


def answers(pdp: Run, wheres: tuple[tuple[str, Any], ...], *question: str) -> list[dict[str, Any]]:
    """What each of these answers in JSON, without what is never the same twice."""
    documents = []
    for where in wheres:
        outcome = pdp(*question, *where, "--json")
        assert outcome.err == ""
        document = outcome.document
        assert document.pop("decision_id")
        for each in (*document["interceptors"], *document.get("shadow", {}).get("interceptors", ())):
            assert each.pop("duration").endswith("s")
        documents.append(document)
    return documents


def test_a_bundle_and_a_service_answer_alike(pdp: Run, layers: Path, running: Run) -> None:
    """The exit status is the decision's, the first line has its code, and a service and its bundle say the same."""
    wheres = (("--bundle", layers), ("--address", running(layers).address))
    for name, question, status, code in QUESTIONS.values():
        for where in wheres:
            outcome = pdp(*ask(name, *question), *where)
            assert (outcome.status, outcome.err) == (status, ""), (name, question)
            assert outcome.out.startswith("ALLOW\n" if code is None else f"DENY {code}: ")
        by_bundle, by_service = answers(pdp, wheres, *ask(name, *question))
        assert by_bundle == by_service
        assert by_bundle.get("denial", {}).get("code") == (f"DENIAL_CODE_{code}" if code else None)


@pytest.mark.usefixtures("_compiled")
def test_a_bundle_in_shadow_allows_and_tells(pdp: Run, tmp_path: Path, running: Run) -> None:
    """Where nothing is enforced every call is allowed as it came, and what would have been decided is shown."""
    files = {**FILES, "bundle.toml": f'enforcement = "shadow"\n{FILES["bundle.toml"]!s}'}
    bundle = write(tmp_path, files)
    wheres = (("--bundle", bundle), ("--address", running(bundle).address))
    for name in ("denies", "raises", "none"):
        by_bundle, by_service = answers(pdp, wheres, *ask(name, *ONE))
        assert by_bundle == by_service
        assert (by_bundle["decision"], by_bundle["arguments_json"]) == ("DECISION_ALLOW", ONE[1])
    lines = pdp(*ask("denies", *ONE), "--bundle", bundle).out.splitlines()
    assert lines[0] == "ALLOW"
    assert lines[2:5] == [
        "  if what is in shadow were enforced: DENY INTERCEPTOR_DENIED: no",
        "  mutated: no",
        "  arguments:",
    ]


def test_people_read_what_both_layers_did(pdp: Run, layers: Path) -> None:
    """After the decision come policies, interceptors, what is in shadow, and the arguments to call the tool with."""

    def lines(name: str, *question: str) -> list[str]:
        text = re.sub(r"\((\d+ us|\d+\.\d ms)", "(TIME", pdp(*ask(name, *question), "--bundle", layers).out)
        *shown, origin = text.splitlines()
        assert re.fullmatch(r"  decision [0-9a-f]+, revision [0-9a-f]{64}", origin)
        return shown

    permitted = ["ALLOW", "  permit `small`", "    @advice: large ones need a person"]
    assert lines("lowers", "--arguments", '{"n": 11}') == [
        *permitted,
        "  transform `lowers` (TIME)",
        "  mutated: yes",
        "  arguments:",
        "    {",
        '      "n": 2',
        "    }",
    ]
    assert lines("rates", *ONE) == [
        "DENY FORBIDDEN: this looks risky",
        "  forbid `risky`",
        "    @message: this looks risky",
        '  pass `rates` (TIME) states {"risk":7}',
    ]
    assert lines("plain", *ONE)[3:6] == [
        "  if what is in shadow were enforced: DENY",
        "    `later` matches, which changes the decision",
        "  mutated: no",
    ]
    assert lines("watches", *ONE)[3:5] == [
        "  deny `watches` (TIME, shadow: changes nothing): not yet",
        "  if what is in shadow were enforced: DENY",
    ]


def test_a_denial_shows_no_arguments(pdp: Run, layers: Path) -> None:
    """Where the tool may not be called there are no arguments to call it with, not even in JSON."""
    for name in ("denies", "raises"):
        question = ask(name, "--arguments", '{"n": 1, "secret": 7}')
        assert not re.search("secret|mutated", pdp(*question, "--bundle", layers).out)
        assert pdp(*question, "--bundle", layers, "--json").document["arguments_json"] == ""


def test_json_has_the_arguments_byte_for_byte(pdp: Run, layers: Path) -> None:
    """With `--json` the arguments are text, exactly as they were authorized."""
    arguments = '{ "n" : 1, "x": 1.10, "u": "\u202e" }'
    outcome = pdp(*ask("plain", "--arguments", arguments), "--bundle", layers, "--json")
    assert outcome.document["arguments_json"] == arguments
    assert outcome.out.isascii()


@pytest.mark.usefixtures("_compiled")
def test_what_modules_and_policies_say_does_not_reach_the_terminal(pdp: Run, tmp_path: Path, running: Run) -> None:
    """Control characters in names, reasons, messages and arguments come out as escapes, and spoof no line."""
    reply = json.dumps({"verdict": "transform", "reason": f"{HOSTILE}\nALLOW", "arguments": {"x": HOSTILE}})
    policy = r'@advice("\u{1b}]0;x\u{7}\u{1b}[2J\u{202e}\nALLOW") permit(principal, action, resource);'
    files: Files = {
        "bundle.toml": binding("new", tools=["srv/*"], timeout_ms=PATIENT_MS, may_transform=True),
        "interceptors/new.wasm": answering(reply),
        "policies/a.cedar": policy,
        "tools/srv.json": manifest(tool("read")),
    }
    bundle = write(tmp_path, files)
    for where in (("--bundle", bundle), ("--address", running(bundle).address)):
        outcome = pdp(*ask("read"), *where)
        assert outcome.status == 0
        assert outcome.out.count(ESCAPED) == 2
        assert all(line.isprintable() for line in (outcome.out + outcome.err).splitlines())
        assert outcome.out.count("\nALLOW") == 0


def test_what_modules_log_goes_to_standard_error(pdp: Run, guarded: Run) -> None:
    """In process, the log lines of this question come with name and level; those of trial calls do not."""
    log = '(import "pdp" "log" (func $log (param i32 i32 i32)))'
    bundle = guarded(scribe=(guest(log, "(call $log (i32.const 2) (i32.const 1024) (i32.const 9))"), {}))
    outcome = pdp(*ask("read"), "--bundle", bundle, "--json")
    assert outcome.err == '`scribe` logs warning: {"verdict\n'
    assert outcome.document["decision"] == "DECISION_ALLOW"


def test_mistakes_are_told_with_code_and_field(pdp: Run, layers: Path, running: Run) -> None:
    """What the caller got wrong ends with 2 and names code and field, from a service and in process alike."""
    address = running(layers).address
    mistakes = {"context_json": ("--context", "["), "entities_json": ("--entities", "{}")}
    for field, question in {**mistakes, "request_id": ("--request-id", "x" * 300)}.items():
        for where in (("--bundle", layers), ("--address", address)):
            outcome = pdp(*ask("plain", *ONE, *question), *where)
            assert (outcome.status, outcome.out) == (2, "")
            assert "answered INVALID_ARGUMENT: " in outcome.err
            assert f"(field `{field}`)" in outcome.err


def test_time_that_is_over_is_not_a_denial(pdp: Run, guarded: Run, running: Run) -> None:
    """Where the caller's time passes first there is no answer, even if the interceptor's failure would be forgiven."""
    bundle = guarded(slow=(looping(), {"timeout_ms": PATIENT_MS, "fuel": 10**15, "on_error": "allow"}))
    for where in (("--bundle", bundle), ("--address", running(bundle).address)):
        outcome = pdp(*ask("read", "--session-id", "s" * 200, "--timeout", "0.2", "--json"), *where)
        assert outcome.status == 2
        assert outcome.document["error"]["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--tool", "srv/read"), "--subject"),
        (("--subject", 'Agent::"bot"'), "--tool"),
        (ask("read", "--action", 'Action::"x"')[1:], "`--action`"),
        (ask("read", "--result", "{}")[1:], "`--result`"),
        (ask("read", "--address", "x:1", "--bundle", "x")[1:], "not allowed with"),
        (ask("read", "--arguments", "-", "--entities", "-")[1:], "only once"),
        (ask("read", "--bundle", "nowhere")[1:], "there is no bundle at `nowhere`"),
    ],
)
def test_wrong_usage(pdp: Run, arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2, says what is wrong, and answers nothing."""
    outcome = pdp("decide", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err


def test_a_broken_bundle_is_not_a_denial(pdp: Run, broken: Path) -> None:
    """A bundle that does not load has no opinion: the status is 2, and its problems are listed."""
    outcome = pdp(*ask("read"), "--bundle", broken)
    assert (outcome.status, outcome.out) == (2, "")
    assert "policies/wrong.cedar:1:1: error: " in outcome.err


@pytest.mark.parametrize("value", [0, 3, 99])
def test_only_an_allow_is_an_allow(pdp: Run, value: int) -> None:
    """A decision that is unset, or that this version does not know, is a denial, and shows no arguments."""
    response = DecideResponse.FromString(bytes([0x08, value]))
    response.arguments_json = b'{"secret": 1}'
    with faked("DecisionService", Decide=response) as address:
        outcome = pdp(*ask("read"), "--address", address)
        assert outcome.status == 1
        assert "secret" not in outcome.out
        assert pdp(*ask("read"), "--address", address, "--json").status == 1


def test_a_newer_service_is_understood(pdp: Run) -> None:
    """Values that this version does not know are shown as numbers, and bytes that are no text as escapes."""
    shadow = decision_pb2.ShadowReport.FromString(b"\x08\x63")
    response = DecideResponse(decision=decision_pb2.DECISION_ALLOW, shadow=shadow, arguments_json=b'{"a": "\xff\x1b[2J')
    with faked("DecisionService", Decide=response) as address:
        lines = pdp(*ask("read"), "--address", address).out.splitlines()
    assert lines[1] == "  if what is in shadow were enforced: 99"
    assert all(line.isprintable() for line in lines)
