"""Hazard 6: compiled code from the disk runs only where it is what was written there, for the same engine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pdp.sandbox import sandbox as sandbox_module
from pdp.sandbox.artifacts import ArtifactDirectory
from pdp.sandbox.compiler import compile_module
from pdp.sandbox.engine import EngineSettings
from pdp.sandbox.model import SandboxOptions
from pdp.sandbox.sandbox import Sandbox, Terms
from tests.component.sandbox import guests
from tests.modules import answering, deny

OTHER = answering(deny(reason="the other"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The modules that were compiled so far."""
    seen: list[bytes] = []

    def note(content: bytes, settings: EngineSettings, options: SandboxOptions) -> bytes:
        seen.append(content)
        return compile_module(content, settings, options)

    monkeypatch.setattr(sandbox_module, "compile_module", note)
    return seen


def _verdict(directory: Path, content: bytes) -> str:
    """What a module says that a fresh sandbox loads, with this directory."""
    sandbox = Sandbox(SandboxOptions(), ArtifactDirectory(directory))
    loaded = sandbox.load(content, Terms(("request",), guests.PATIENT), {}, guests.no_log)
    return guests.outcome(loaded.runner)[0]


def _only(directory: Path) -> Path:
    (path,) = directory.glob("*.cwasm")
    return path


@pytest.mark.parametrize("content", [answering(), guests.binary(guests.hostile_guest("component_good"))])
def test_second_start_compiles_nothing(tmp_path: Path, compiled: list[bytes], content: bytes) -> None:
    """What one sandbox compiled, the next takes from the disk."""
    for _ in range(2):
        assert _verdict(tmp_path, content) == "pass"
    assert compiled == [content]


def _flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int((len(content) - 1) * place)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        *[lambda path, place=place: _flip(path, place) for place in (0, 0.01, 0.5, 1)],
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(path.read_bytes()[32:]),
        lambda path: (path.parent / "key").write_bytes(bytes(32)),
        lambda path: (path.parent / "key").unlink(),
        lambda path: path.chmod(0o644),
    ],
)
def test_hazard_6_damaged_code_is_compiled_anew(
    tmp_path: Path, compiled: list[bytes], damage: Callable[[Path], object]
) -> None:
    """Code that is not bit for bit what was written, under the same key, is not run: the module is compiled anew."""
    assert _verdict(tmp_path, answering()) == "pass"
    damage(_only(tmp_path))
    assert _verdict(tmp_path, answering()) == "pass"
    assert len(compiled) == 2
    assert _verdict(tmp_path, answering()) == "pass"
    assert len(compiled) == 2


def test_code_under_another_name_is_compiled_anew(tmp_path: Path, compiled: list[bytes]) -> None:
    """Code of one module in the place of another's is not run."""
    (mine, others) = (tmp_path / "mine", tmp_path / "others")
    for directory in (mine, others):
        directory.mkdir()
    assert _verdict(mine, answering()) == "pass"
    shutil.copy(mine / "key", others / "key")
    assert _verdict(others, OTHER) == "deny"
    shutil.copy(_only(others), _only(mine))
    assert _verdict(mine, answering()) == "pass"
    assert compiled == [answering(), OTHER, answering()]


def test_code_for_another_engine_is_not_found(tmp_path: Path, compiled: list[bytes]) -> None:
    """With another stack or memory limit there is other code, under another name."""
    for options in (SandboxOptions(), SandboxOptions(max_stack_bytes=128 * 1024), SandboxOptions()):
        Sandbox(options, ArtifactDirectory(tmp_path)).inspect(answering())
    assert len(compiled) == 2
    assert len(list(tmp_path.glob("*.cwasm"))) == 2


def test_code_that_does_not_fit_the_processor_is_compiled_anew(
    tmp_path: Path, compiled: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that is authentic, but that the engine refuses, is compiled anew."""
    monkeypatch.setattr(ArtifactDirectory, "get", lambda store, name: b"for another machine")
    assert _verdict(tmp_path, answering()) == "pass"
    assert len(compiled) == 1


def test_directory_that_cannot_be_used_costs_only_time(tmp_path: Path, compiled: list[bytes]) -> None:
    """Where nothing can be kept, modules are compiled each time, and work."""
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert _verdict(tmp_path / "file", answering()) == "pass"
    assert len(compiled) == 2
