"""`pdp module push`, `remove` and `list`, against a service."""

from __future__ import annotations

import hashlib
import re
import shlex
import socket
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, interceptor_pb2
from tests.bundles import write_bundle
from tests.component.cli.fakes import faked
from tests.component.cli.guests import guest
from tests.modules import PASS, answering, deny, transform

Run = Callable[..., Any]

BOT = ("--subject", 'Agent::"bot"')
READ = ("--tool", "srv/read")
#: What every push needs; a trial that takes long on a busy machine is no refusal.
BOUND = ("--tool", "srv/*", "--phase", "request", "--timeout-ms", "10000")

HOSTILE = "\x1b]0;x\x07\x1b[2J\u202e"
ESCAPED = r"\x1b]0;x\x07\x1b[2J\u202e"

#: Modules that are refused: the options, the reason that programs read, and a part of what people read.
REFUSED = {
    "garbage": (b"garbage", (), "MODULE_REFUSED_LOAD", "it is no WebAssembly"),
    "unknown imports": (
        guest(r'(import "e\1b[2J" "steal" (func))'),
        (),
        "MODULE_REFUSED_LOAD",
        r"it imports `e\x1b[2J.steal`, which the host does not have",
    ),
    "no right": (
        answering(transform(arguments={})),
        (),
        "MODULE_REFUSED_BAD_OUTPUT",
        "`transform` without the right to",
    ),
    "no grant": (
        guest('(import "pdp" "now_ms" (func (result i64)))'),
        ("--grant", "log"),
        "MODULE_REFUSED_LOAD",
        "which the binding does not grant",
    ),
    "too little fuel": (answering(), ("--fuel", "1"), "MODULE_REFUSED_FUEL", "it used up its fuel"),
    "not its phase": (answering(), ("--phase", "response"), "MODULE_REFUSED_LOAD", "no hook for the phase `response`"),
}
#: Bindings that are none: the field that is wrong.
MISTAKES = {
    "name": (("--name", "a b"), "binding.name"),
    "no name": (("--name", ""), "binding.name"),
    "glob": (("--tool", "srv"), "binding.tools.1"),
    "memory": (("--memory-mib", "65"), "binding.memory_mib"),
    "type": (("--annotation", "risk=Lon"), "binding.annotations.risk"),
    "configuration": (("--config-json", "[1]"), "binding.config_json"),
    "null": (("--config-json", '{"a": null}'), "binding.config_json"),
}


def listed(pdp: Run, address: str) -> dict[str, Any]:
    """The interceptors of the service, by name."""
    document = pdp("module", "list", "--address", address, "--json").document
    return {each["binding"]["name"]: each for each in document["interceptors"]}


def revision(pdp: Run, address: str) -> str:
    return str(pdp("module", "list", "--address", address, "--json").document["revision"])


def test_what_is_pushed_is_in_force(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """A push answers with the new revision, `intercept` and `list` show it, and removing it undoes it."""
    bundle = guarded()
    address = running(bundle).address
    content = answering(deny("no", "why"))
    ask = ("intercept", "--address", address, *BOT, *READ)
    assert pdp(*ask).status == 0

    outcome = pdp("module", "push", wasm(content, "stop.wasm"), *BOUND, "--address", address)
    assert (outcome.status, outcome.err) == (0, "")
    first, second = outcome.out.splitlines()
    assert first == f"pushed: `stop`, sha256 {hashlib.sha256(content).hexdigest()}"
    assert second == f"  revision {revision(pdp, address)}"
    assert pdp(*ask).out.startswith("DENY INTERCEPTOR_DENIED: no\n  deny `stop` (")
    text = re.sub(r"mean \d+(\.\d)? (us|ms)", "mean TIME", pdp("module", "list", "--address", address).out)
    assert text.splitlines()[:-1] == [
        "`stop` on request of `srv/*`, order 100",
        "  enforce, on error deny; 10000 ms, 16 MiB, 50000000 fuel",
        "  1 call, 1 denied, mean TIME",
        f"  core, {len(content)} bytes, pushed, sha256 {hashlib.sha256(content).hexdigest()}",
    ]

    outcome = pdp("module", "remove", "stop", "--address", address)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == f"removed: `stop`\n  revision {revision(pdp, address)}\n"
    assert pdp(*ask).status == 0
    assert listed(pdp, address) == {}
    assert list((bundle / "interceptors").iterdir()) == []


def test_every_option_arrives(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """What the options say is what the binding is, in the service's answer and in the bundle's file."""
    bundle = guarded()
    address = running(bundle).address
    content = guest('(import "pdp" "random" (func (param i32 i32) (result i32)))')
    options = shlex.split(
        """--name all --tool srv/* --tool other/x --phase request --order -7 --mode shadow --on-error allow
        --may-transform --timeout-ms 9000 --memory-mib 32 --fuel 1_000_000 --prewarm 1 --grant random --grant now_ms
        --annotation risk=Long --annotation who='Set<String>'"""
    )
    config = ("--config-json", '{"a": [1, {"b": 1.5}], "c d": "\\u001b"}')
    outcome = pdp("module", "push", wasm(content), *options, *config, "--address", address, "--json")
    assert outcome.status == 0
    assert outcome.document["changed"] is True
    assert outcome.document["problems"] == []
    digest = hashlib.sha256(content).hexdigest()
    assert outcome.document["sha256"] == digest
    assert listed(pdp, address)["all"] == {
        "binding": {
            "name": "all",
            "sha256": digest,
            "phases": ["PHASE_REQUEST"],
            "tools": ["srv/*", "other/x"],
            "order": -7,
            "mode": "INTERCEPTOR_MODE_SHADOW",
            "on_error": "ON_ERROR_ALLOW",
            "may_transform": True,
            "timeout": "9s",
            "memory_mib": 32,
            "fuel": "1000000",
            "config_json": '{"a":[1,{"b":1.5}],"c d":"\\u001b"}',
            "annotations": {"risk": "Long", "who": "Set<String>"},
            "grants": ["now_ms", "random"],
            "prewarm": 1,
        },
        "origin": "INTERCEPTOR_ORIGIN_PUSHED",
        "kind": "MODULE_KIND_CORE",
        "size_bytes": str(len(content)),
        "imports": ["pdp.random"],
    }
    [bound] = tomllib.loads((bundle / "bundle.toml").read_text())["interceptor"]
    assert (bound["name"], bound["origin"], bound["config"]["c d"]) == ("all", "pushed", "\x1b")
    assert "  shadow, on error allow, may transform; 9000 ms" in pdp("module", "list", "--address", address).out


def test_a_push_replaces_and_repeats(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """A second push of a name replaces the first; the same once more changes nothing, and says so."""
    address = running(guarded()).address
    push = ("module", "push", *BOUND, "--name", "one", "--address", address)
    assert pdp(*push, wasm(answering(deny()))).status == 0
    assert pdp(*push, wasm(answering())).out.startswith("pushed: `one`, ")
    before = revision(pdp, address)
    outcome = pdp(*push, wasm(answering()))
    assert outcome.status == 0
    assert outcome.out.startswith("unchanged: `one`, ")
    assert revision(pdp, address) == before
    assert list(listed(pdp, address)) == ["one"]


def test_large_modules_are_sent_in_parts(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """A module beyond the size of one message arrives whole."""
    address = running(guarded(), limits={"message_bytes": 100_000}).address
    data = f'(data (i32.const 200000) "{"x" * 50_000}")'
    content = guest(more=data * 20)
    assert len(content) > 1_000_000
    assert pdp("module", "push", wasm(content), *BOUND, "--address", address).status == 0
    assert listed(pdp, address)["guest"]["size_bytes"] == str(len(content))


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_module_changes_nothing(pdp: Run, guarded: Run, running: Run, wasm: Run, name: str) -> None:
    """It ends with 1 and tells class and reason, for people and for programs; bundle and revision stay as they were."""
    content, options, reason, text = REFUSED[name]
    bundle = guarded()
    address = running(bundle).address
    before = revision(pdp, address)
    push = ("module", "push", wasm(content), *BOUND, *options, "--address", address)
    outcome = pdp(*push)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("error: the module is refused: ")
    assert text in outcome.err
    assert all(line.isprintable() for line in outcome.err.splitlines())
    outcome = pdp(*push, "--json")
    assert outcome.status == 1
    error = outcome.document["error"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", reason)
    assert revision(pdp, address) == before
    assert not (bundle / "interceptors").exists()


def test_a_bundle_that_would_not_load(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """Where the bundle has a problem with a good module it ends with 1 and the problem, and nothing changed."""
    address = running(guarded()).address
    before = revision(pdp, address)
    push = ("module", "push", wasm(), *BOUND, "--tool", f"srv/{HOSTILE}", "--name", "x", "--address", address)
    outcome = pdp(*push)
    assert (outcome.status, outcome.err) == (1, "")
    problem, summary, last = outcome.out.splitlines()
    assert problem.startswith("bundle.toml:")
    assert problem.endswith(f": error: interceptor `x`: `srv/{ESCAPED}` matches no tool that is pinned for `srv`")
    assert summary.startswith("refused: `x`, sha256 ")
    assert summary.endswith(": the bundle would not load, and nothing changed")
    assert last == f"  revision {before}"
    outcome = pdp(*push, "--json")
    assert outcome.status == 1
    assert [problem["severity"] for problem in outcome.document["problems"]] == ["SEVERITY_ERROR"]
    assert revision(pdp, address) == before


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_binding_is_a_failure(pdp: Run, guarded: Run, running: Run, wasm: Run, name: str) -> None:
    """A binding that no bundle could hold ends with 2 and names its field: it says nothing of the module."""
    options, field = MISTAKES[name]
    address = running(guarded()).address
    outcome = pdp("module", "push", wasm(), *BOUND, *options, "--address", address)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"(field `{field}`)" in outcome.err


def test_an_empty_file_is_a_failure(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """A file without content is no module to refuse."""
    outcome = pdp("module", "push", wasm(b""), *BOUND, "--address", running(guarded()).address)
    assert outcome.status == 2
    assert "the module is missing" in outcome.err


def test_a_bundle_that_cannot_be_written(pdp: Run, guarded: Run, running: Run, wasm: Run) -> None:
    """Where the service cannot change its bundle it ends with 2 and says why."""
    bundle = guarded(there=(answering(), {}))
    (bundle / "bundle.toml").rename(bundle / "shared.toml")
    (bundle / "bundle.toml").symlink_to("shared.toml")
    address = running(bundle).address
    for change in (("push", wasm(), *BOUND), ("remove", "there")):
        outcome = pdp("module", *change, "--address", address)
        assert (outcome.status, outcome.out) == (2, "")
        assert "answered FAILED_PRECONDITION: `bundle.toml` is a link" in outcome.err


def test_a_name_that_is_not_there(pdp: Run, guarded: Run, running: Run) -> None:
    """To remove what there is not ends with 1 and the name, escaped; in JSON with its code."""
    address = running(guarded()).address
    outcome = pdp("module", "remove", HOSTILE, "--address", address)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"error: there is no interceptor `{ESCAPED}`\n"
    outcome = pdp("module", "remove", "x", "--address", address, "--json")
    assert outcome.status == 1
    assert outcome.document["error"]["code"] == "NOT_FOUND"


def test_what_cannot_be_left_out(pdp: Run, guarded: Run, running: Run) -> None:
    """A removal after which the bundle would not load ends with 1 and the problem."""
    bundle = guarded(there=(answering(), {}))
    address = running(bundle).address
    write_bundle(bundle, {"policies/wrong.cedar": "permit ("})
    outcome = pdp("module", "remove", "there", "--address", address)
    assert outcome.status == 1
    assert outcome.out.startswith("policies/wrong.cedar:1:")
    assert "refused: `there`: the bundle would not load" in outcome.out
    assert list(listed(pdp, address)) == ["there"]


def test_a_binding_of_the_bundle(pdp: Run, guarded: Run, running: Run) -> None:
    """An interceptor that the bundle's author bound is listed as such, and can be removed; its module stays."""
    bundle = guarded(
        second=(answering(PASS, PASS), {"order": 2, "phases": ["request", "response"]}),
        first=(answering(), {"order": 1}),
    )
    address = running(bundle).address
    lines = pdp("module", "list", "--address", address).out.splitlines()
    assert [line for line in lines if line.startswith("`")] == [
        "`first` on request of `srv/*`, order 1",
        "`second` on request and response of `srv/*`, order 2",
    ]
    assert lines[3].startswith("  core, ")
    assert ", bundle, sha256 " in lines[3]
    assert pdp("module", "remove", "second", "--address", address).status == 0
    assert list(listed(pdp, address)) == ["first"]
    assert (bundle / "interceptors" / "second.wasm").exists()


@pytest.mark.parametrize("command", [("push", "--tool", "*", "--phase", "request"), ("remove", "x"), ("list",)])
def test_nobody_there_is_a_failure(pdp: Run, guarded: Run, running: Run, wasm: Run, command: tuple[str, ...]) -> None:
    """Where nothing listens, or no administration is served, the status is 2 and the message names the address."""
    words = (*command, wasm()) if command[0] == "push" else command
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        outcome = pdp("module", *words, "--address", address)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err.startswith(f"error: no service can be reached at `{address}`: ")
    apart = running(guarded(), server={"admin_listen": ["127.0.0.1:0"]})
    outcome = pdp("module", *words, "--address", apart.address)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"what listens at `{apart.address}` does not serve this call" in outcome.err
    assert pdp("module", "list", "--address", apart.app.admin_addresses[0]).status == 0


def test_what_a_service_says_does_not_reach_the_terminal(pdp: Run, wasm: Run) -> None:
    """Control characters in a service's answers come out as escapes, and values that are new as numbers."""
    binding = interceptor_pb2.InterceptorBinding.FromString(b"\x1a\x01\x63")
    binding.MergeFrom(interceptor_pb2.InterceptorBinding(name=HOSTILE, tools=[HOSTILE], sha256=HOSTILE))
    problem = admin_service_pb2.BundleProblem(path=HOSTILE, line=1, column=1, message=HOSTILE)
    answers = {
        "ListInterceptors": admin_service_pb2.ListInterceptorsResponse(
            interceptors=[admin_service_pb2.Interceptor(binding=binding)], revision=HOSTILE
        ),
        "GetStatus": admin_service_pb2.GetStatusResponse(),
        "PutInterceptor": admin_service_pb2.PutInterceptorResponse(revision=HOSTILE, sha256=HOSTILE, changed=True),
        "DeleteInterceptor": admin_service_pb2.DeleteInterceptorResponse(revision=HOSTILE, problems=[problem]),
    }
    with faked("AdminService", **answers) as address:
        for words, status in ((("list",), 0), (("push", wasm(), *BOUND), 0), (("remove", "x"), 1)):
            outcome = pdp("module", *words, "--address", address)
            assert (outcome.status, outcome.err) == (status, "")
            assert ESCAPED in outcome.out
            assert all(line.isprintable() for line in outcome.out.splitlines())
            assert pdp("module", *words, "--address", address, "--json").out.isascii()
        assert "` on 99 of `" in pdp("module", "list", "--address", address).out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("push", "--tool", "*", "--phase", "request"), "FILE"),
        (("push", "x", "--phase", "request"), "--tool"),
        (("push", "x", "--tool", "*"), "--phase"),
        (("push", "x", "--tool", "*", "--phase", "both"), "`both`"),
        (("push", "x", "--tool", "*", "--phase", "request", "--mode", "off"), "`off`"),
        (("push", "x", "--tool", "*", "--phase", "request", "--on-error", "ignore"), "`ignore`"),
        (("push", "x", "--tool", "*", "--phase", "request", "--order", "2147483648"), "`2147483648` is not a whole"),
        (("push", "x", "--tool", "*", "--phase", "request", "--prewarm", "-1"), "`-1` is not a whole number"),
        (("push", "x", "--tool", "\udcff", "--phase", "request"), r"`\udcff` is not UTF-8"),
        (("push", "nowhere.wasm", "--tool", "*", "--phase", "request"), "`nowhere.wasm` cannot be read"),
        (("remove",), "NAME"),
        (("list", "x"), "`x`"),
        (("list", "--address", "nowhere"), "`nowhere` is not an address"),
    ],
)
def test_wrong_usage(pdp: Run, arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2, says what is wrong, and answers nothing."""
    outcome = pdp("module", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err
