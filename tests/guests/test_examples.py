"""The example interceptors, as built from their sources, in the real sandbox: every case that lies beside each.

`make modules` builds them. One whose toolchain is not there is skipped; with REQUIRE_EXAMPLE_MODULES it fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pdp.bundle.interceptor_modules import bind
from pdp.bundle.manifest import InterceptorBinding
from pdp.bundle.source import source_file
from pdp.cedar.model import EntityUid
from pdp.sandbox.artifacts import ArtifactDirectory
from pdp.sandbox.chain import Chain, Interceptor, Payload
from pdp.sandbox.model import ModuleRefusedError, SandboxOptions
from pdp.sandbox.outcome import Interception
from pdp.sandbox.reply import Envelope
from pdp.sandbox.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "interceptors_wasm" / "examples"
BUILT = ROOT / "build" / "interceptors"
SOURCES = sorted(path.parent for path in EXAMPLES.glob("*/*/cases.json"))


@dataclass(frozen=True)
class Case:
    """One case of one example."""

    source: Path
    number: int
    fields: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.source.parent.name}-{self.fields['name']}"


def all_cases() -> list[Case]:
    """Every case of every example."""
    return [
        Case(source, number, fields)
        for source in SOURCES
        for number, fields in enumerate(json.loads((source / "cases.json").read_text()))
    ]


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """One sandbox for all; compiled code is kept beside the modules."""
    return Sandbox(SandboxOptions(), ArtifactDirectory(BUILT / "compiled"))


def built(source: Path) -> bytes:
    """The module of an example; the test ends here if it is not built."""
    path = BUILT / f"{source.parent.name}.wasm"
    if not path.exists():
        told = f"{source.parent.name} is not built: run `make modules`, which says whether its toolchain is missing"
        if os.environ.get("REQUIRE_EXAMPLE_MODULES"):
            pytest.fail(told)
        pytest.skip(told)
    return path.read_bytes()


def binding(source: Path) -> dict[str, Any]:
    """The `[[interceptor]]` that an example comes with."""
    (table,) = tomllib.loads((source / "binding.toml").read_text())["interceptor"]
    return dict(table)


def loaded(sandbox: Sandbox, source: Path, config: dict[str, Any] | None) -> Interceptor:
    """An example under its own binding, with another configuration if there is one."""
    fields = {**binding(source), "tools": ["*/*"]}
    if config is not None:
        fields["config"] = config
    file = source_file(fields["module"], built(source))
    return bind(
        InterceptorBinding.model_validate(fields),
        file,
        sandbox,
        lambda file, terms, declared, log: sandbox.load(file.content, terms, declared, log),
        lambda level, text: None,
    )


def plain(value: Any) -> bytes:
    """JSON as most people write it."""
    return json.dumps(value, ensure_ascii=False).encode()


def escaped(value: Any) -> bytes:
    """The same JSON with every character of every text as an escape, names too: it means the same."""
    return _TEXT.sub(_as_escapes, json.dumps(value)).encode()


_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def _as_escapes(match: re.Match[str]) -> str:
    units = json.loads(match.group()).encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2)) + '"'


def run(interceptor: Interceptor, fields: dict[str, Any], written: Callable[[Any], bytes]) -> Interception:
    """A case through a chain of this interceptor alone."""
    envelope = Envelope(EntityUid("Agent", "a"), fields.get("server", "srv"), fields.get("tool", "tool"))
    arguments = written(fields.get("arguments", {}))
    result = written(fields["result"]) if fields["phase"] == "response" else None
    payload = Payload(arguments, result, fields.get("result_is_error", False))
    return Chain([interceptor], {}).run(fields["phase"], envelope, payload, time.monotonic_ns() + 10**10)


@pytest.mark.parametrize("written", [plain, escaped], ids=["plain", "escaped"])
@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_a_case(sandbox: Sandbox, case: Case, written: Callable[[Any], bytes]) -> None:
    """What the module answers is what its case says, however the JSON is written, within its binding's limits."""
    expected = dict(case.fields["expect"])
    try:
        interceptor = loaded(sandbox, case.source, case.fields.get("config"))
    except ModuleRefusedError:
        # A configuration that the module refuses is refused when it is loaded.
        if expected != {"error": True}:
            raise
        return
    answer = run(interceptor, case.fields, written)
    (outcome,) = answer.outcomes
    if expected == {"error": True}:
        assert outcome.verdict == "failed", outcome
        return
    assert outcome.verdict == expected.pop("verdict"), outcome
    if outcome.verdict == "deny":
        assert answer.denial is not None
        assert answer.denial.message == expected.pop("message", "an interceptor denied the call")
    for member in ("arguments", "result"):
        if member in expected:
            assert json.loads(answer.payload) == expected.pop(member)
    if "annotations" in expected:
        assert json.loads(json.dumps(outcome.stated)) == expected.pop("annotations")
    expected.pop("reason", None)
    assert not expected, f"nobody looks at {sorted(expected)}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parent.name)
def test_an_example_is_what_its_digest_says(source: Path) -> None:
    """The bytes that were built are those whose digest lies beside the source."""
    (path,) = source.glob("*.wasm.sha256")
    assert hashlib.sha256(built(source)).hexdigest() == path.read_text().strip()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parent.name)
def test_an_example_names_no_place_of_its_making(source: Path) -> None:
    """A module holds no path of the machine that it was built on."""
    assert str(ROOT).encode() not in built(source)


def test_examples_are_found() -> None:
    """There are examples, so the tests above test something."""
    assert len(SOURCES) >= 8
