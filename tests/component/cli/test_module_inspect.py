"""`pdp module inspect`."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.bundle.source import source_file
from pdp.cli import module_inspect
from pdp.cli.module_binding import binding_message
from tests.bundles import write_bundle
from tests.component.cli.guests import guest
from tests.modules import PASS, answering, deny, module, transform

Run = Callable[..., Any]

#: A trial that takes long on a busy machine is no refusal.
PATIENT = ("--timeout-ms", "10000")

#: Imports the random numbers that have to be granted, and logs at every call.
RANDOM = guest(
    """(import "pdp" "random" (func (param i32 i32) (result i32)))
       (import "pdp" "log" (func $log (param i32 i32 i32)))""",
    "(call $log (i32.const 1) (i32.const 2048) (i32.const 9))",
    r'(data (i32.const 2048) "hel\1b[2Jlo")',
)
#: Does not work with an empty configuration.
CONFIGURED = guest(
    more=r"""(data (i32.const 512) "{\22ok\22:true}")
        (func (export "pdp_configure") (param i32 i32) (result i64)
            (if (i32.le_u (local.get 1) (i32.const 2)) (then (return (i64.const 0))))
            (i64.const 2199023255563))"""
)
#: Needs any amount of fuel and time.
ENDLESS = guest(body="(loop (br 0))")
HUNGRY = guest(pages=320)
MANY = guest("".join(f'(import "env" "f{number:02}" (func))' for number in range(30)))
HOSTILE = guest(r'(import "e\1b[2J" "\e2\80\aex" (func))', more=r'(export "\07" (memory 0))')
STATING = answering('{"verdict":"pass","annotations":{"risk":"high"}}')

#: Modules that are refused: the class and a part of the reason.
REFUSED = {
    "empty": (b"", (), "load", "it is empty"),
    "garbage": (b"garbage\x1b[2J" * 100, (), "load", "it is no WebAssembly"),
    "torn": (answering()[:-20], (), "load", "it does not compile"),
    "text": (b"(module)", (), "load", "it is no WebAssembly"),
    "no interceptor": (module("(module)"), (), "load", "it does not export `pdp_abi_v1`"),
    "no world": (module("(component)"), (), "load", "it exports no `describe`"),
    "unknown imports": (MANY, (), "load", "it imports `env.f00`, which the host does not have"),
    "a grant": (RANDOM, ("--grant", "log"), "load", 'add `grants = ["random"]`'),
    "a trap": (guest(body="(unreachable)"), (), "trap", "its trial request failed"),
    "fuel": (ENDLESS, ("--fuel", "10000"), "fuel", "it used up its fuel"),
    "time": (ENDLESS, ("--fuel", str(10**15), "--timeout-ms", "20"), "deadline", "its time was over"),
    "memory": (HUNGRY, ("--memory-mib", "8"), "memory", "memory"),
    "a right": (answering(transform(arguments={})), (), "bad_output", "`transform` without the right to"),
    "a configuration": (CONFIGURED, (), "guest_error", "`pdp_configure` answered 0"),
    "a fact": (STATING, ("--annotation", "risk=Long"), "bad_output", "not of its declared type"),
    "one phase of two": (answering(PASS, "{}"), (), "bad_output", "its trial response failed"),
}
#: Modules that load, some of them because of an option.
LOADED = {
    "request": (answering(), (), ["request"]),
    "response": (answering(None, deny()), (), ["response"]),
    "both": (answering(PASS, PASS), (), ["request", "response"]),
    "a grant": (RANDOM, ("--grant", "random", "--grant", "log"), ["request"]),
    "memory": (HUNGRY, ("--memory-mib", "64"), ["request"]),
    "a right": (answering(transform(arguments={})), ("--may-transform",), ["request"]),
    "a configuration": (CONFIGURED, ("--config-json", '{"a b": [1, {"c": 1.5}], "d": true}'), ["request"]),
    "a fact": (STATING, ("--annotation", "risk=String", "--annotation", "seen=Set<Long>"), ["request"]),
}


@pytest.mark.parametrize("name", LOADED)
def test_a_module_that_loads(pdp: Run, wasm: Run, tmp_path: Path, name: str) -> None:
    """It ends with 0, tells what the module is, and prints a binding with which a bundle loads it."""
    content, options, phases = LOADED[name]
    path = wasm(content, "redact (v2).wasm")
    outcome = pdp("module", "inspect", path, *PATIENT, *options)
    lines = outcome.out.splitlines()
    assert outcome.status == 0
    assert lines[:4] == [
        f"ok: `{path}` loads",
        "  kind      core",
        f"  size      {len(content)} bytes",
        f"  sha256    {hashlib.sha256(content).hexdigest()}",
    ]
    assert [line for line in lines if line.endswith(" ok")] == [f"  {phase:<9} ok" for phase in phases]
    block = outcome.out[outcome.out.index("[[interceptor]]") :]
    [bound] = tomllib.loads(block)["interceptor"]
    assert (bound["name"], bound["phases"]) == ("redact-v2", phases)
    bundle = write_bundle(tmp_path / "bound", {bound["module"]: content, "bundle.toml": block})
    assert pdp("check", bundle).status == 0
    document = pdp("module", "inspect", path, *PATIENT, *options, "--json").document
    assert (document["ok"], document["refusal"]) == (True, None)
    assert document["trials"] == dict.fromkeys(phases)
    assert document["binding"] == block.rstrip("\n")


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_that_is_refused(pdp: Run, wasm: Run, name: str) -> None:
    """It ends with 1, tells class and reason in the first line, and prints no binding; in JSON too."""
    content, options, error_class, reason = REFUSED[name]
    path = wasm(content)
    patient = () if name == "time" else PATIENT
    outcome = pdp("module", "inspect", path, *patient, *options)
    assert outcome.status == 1
    assert outcome.out.splitlines()[0].startswith(f"refused: `{path}`: {error_class}: ")
    assert reason in outcome.out.splitlines()[0]
    assert "[[interceptor]]" not in outcome.out
    assert all(line.isprintable() for line in outcome.out.splitlines())
    document = pdp("module", "inspect", path, *patient, *options, "--json").document
    assert (document["ok"], document["binding"]) == (False, "")
    assert document["refusal"]["error_class"] == error_class
    assert reason in document["refusal"]["reason"]
    assert document["size_bytes"] == len(content)


def test_every_phase_is_tried(pdp: Run, wasm: Run) -> None:
    """A phase that works is shown beside one that does not, and the module is refused for the one."""
    path = wasm(answering(PASS, "{}"))
    lines = pdp("module", "inspect", path, *PATIENT).out.splitlines()
    assert "  request   ok" in lines
    assert lines[-1].startswith("  response  refused: bad_output: its trial response failed: ")
    trials = pdp("module", "inspect", path, *PATIENT, "--json").document["trials"]
    assert trials["request"] is None
    assert trials["response"]["error_class"] == "bad_output"


def test_a_component_is_told_from_a_core_module(pdp: Run, wasm: Run) -> None:
    """The kind is shown where the module compiles, also if it is refused."""
    outcome = pdp("module", "inspect", wasm(module("(component)")))
    assert outcome.out.splitlines()[1] == "  kind      component"


def test_refused_modules_show_what_they_import(pdp: Run, wasm: Run) -> None:
    """A module that wants what there is not has its imports listed; of very many the first, and all in JSON."""
    path = wasm(MANY)
    outcome = pdp("module", "inspect", path)
    [imports] = [line for line in outcome.out.splitlines() if line.startswith("  imports ")]
    assert imports == f"  imports   {', '.join(f'env.f{number:02}' for number in range(20))}, and 10 more"
    assert len(pdp("module", "inspect", path, "--json").document["imports"]) == 30


def test_names_in_modules_do_not_reach_the_terminal(pdp: Run, wasm: Run) -> None:
    """Control characters in the names of imports and exports, and in the file's own, come out as escapes."""
    path = wasm(HOSTILE, "a\x1b[2J\n.wasm")
    outcome = pdp("module", "inspect", path)
    assert outcome.status == 1
    assert all(line.isprintable() for line in outcome.out.splitlines())
    assert r"a\x1b[2J\n.wasm" in outcome.out
    assert r"  imports   e\x1b[2J.\u202ex" in outcome.out
    assert r"  exports   \x07, memory, " in outcome.out
    assert pdp("module", "inspect", path, "--json").out.isascii()


def test_what_a_module_logs_goes_to_standard_error(pdp: Run, wasm: Run) -> None:
    """What the trial call logs is told beside the answer, escaped."""
    outcome = pdp("module", "inspect", wasm(RANDOM), "--grant", "log", "--grant", "random", *PATIENT)
    assert outcome.err == "`guest` logs info: hel\\x1b[2Jlo\n"
    assert "hel" not in outcome.out


def test_a_configuration_from_standard_input(pdp: Run, wasm: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration can be `-` or `@file`, and is there for the trial as well as for the printed binding."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"threshold": 3}')))
    outcome = pdp("module", "inspect", wasm(CONFIGURED), "--config-json", "-", *PATIENT)
    assert outcome.status == 0
    assert outcome.out.endswith("[interceptor.config]\nthreshold = 3\n")


def test_the_sandbox_is_configured(pdp: Run, wasm: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of the configuration count as they do for the service."""
    monkeypatch.setenv("PDP_INTERCEPTORS__CACHE_DIR", "")
    (tmp_path / "pdp.toml").write_text("[interceptors]\ncompile_seconds = 0.001\n")
    outcome = pdp("module", "inspect", wasm(), "--config", tmp_path / "pdp.toml")
    assert outcome.status == 1
    assert "it does not compile within 0.001 seconds" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "FILE"),
        (("nowhere.wasm",), "`nowhere.wasm` cannot be read: no such file or directory"),
        ((".",), "`.` cannot be read: is a directory"),
        (("a\0b",), r"`a\x00b` cannot be read: "),
        (("x", "--grant", "files"), "`files`"),
        (("x", "--annotation", "risk"), "`risk` is not an annotation; write `NAME=TYPE`"),
        (("x", "--fuel", "0"), "`0` is not a whole number from 1 to"),
        (("x", "--fuel", "1" * 5_000), "is not a whole number from 1 to"),
        (("x", "--memory-mib", "many"), "`many` is not a whole number"),
    ],
)
def test_wrong_usage(pdp: Run, arguments: tuple[str, ...], complaint: str) -> None:
    """Wrong usage ends with 2, says what is wrong, and answers nothing."""
    outcome = pdp("module", "inspect", *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--annotation", "risk=Lon"), "`annotations.risk`: "),
        (("--config-json", "@nowhere.json"), "`nowhere.json` cannot be read: no such file or directory"),
        (("--annotation", "a b=Long"), "`annotations.a b`: "),
        (("--annotation", "a=Long", "--annotation", "a=String"), "`--annotation` gives two types to one name"),
        (("--memory-mib", "65"), "`memory_mib`: "),
        (("--timeout-ms", "60000"), "`timeout_ms`: "),
        (("--config-json", "[]"), "`binding.config_json`: "),
        (("--config-json", '{"a": 1, "a": 2}'), "`binding.config_json`: "),
        (("--config-json", '{"a": [null]}'), "`a[0]` is null, which a bundle cannot hold"),
        (("--config-json", '{"a": 0.1000000000000000000001}'), "`a` cannot be held exactly"),
    ],
)
def test_options_that_make_no_binding(pdp: Run, wasm: Run, options: tuple[str, ...], complaint: str) -> None:
    """What no bundle could say is wrong usage and no finding about the module."""
    outcome = pdp("module", "inspect", wasm(), *options)
    assert (outcome.status, outcome.out) == (2, "")
    assert complaint in outcome.err


def test_files_without_end_are_no_modules(pdp: Run, tmp_path: Path) -> None:
    """A file is not read for ever; what is larger than any module is wrong usage."""
    with (tmp_path / "large.wasm").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    for path in ("/dev/zero", tmp_path / "large.wasm"):
        outcome = pdp("module", "inspect", path)
        assert (outcome.status, outcome.out) == (2, "")
        assert f"`{path}` has more than 64 MiB" in outcome.err


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.booleans()
            | st.integers(-(2**63), 2**63 - 1)
            | st.text()
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_configuration_is_written(config: dict[str, Any]) -> None:
    """Whatever a configuration holds, the printed binding is TOML that says the same, and prints nothing raw."""
    options = Namespace(
        annotations=[], may_transform=False, memory_mib=None, fuel=None, timeout_ms=None, grants=None,
        config_json=json.dumps(config),
    )  # fmt: skip
    message = binding_message(options, "x", ["*/*"], ["request"])
    block = module_inspect._block(source_file("interceptors/x.wasm", b"x"), message, ["request"])
    assert all(line.isprintable() for line in block.split("\n"))
    assert tomllib.loads(block)["interceptor"][0]["config"] == config
