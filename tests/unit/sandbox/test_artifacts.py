"""Compiled code kept on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pdp.sandbox import artifacts
from pdp.sandbox.artifacts import ArtifactDirectory, NoArtifacts

CODE = bytes(range(256)) * 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A place for a directory."""
    return tmp_path / "cache"


def _file(directory: Path, name: str = "a") -> Path:
    return directory / f"{name}.cwasm"


def test_what_is_kept_is_found(directory: Path) -> None:
    """Code is found under its name, by this object and by others, and only there."""
    ArtifactDirectory(directory).put("a", CODE)
    assert ArtifactDirectory(directory).get("a") == CODE
    assert ArtifactDirectory(directory).get("b") is None
    ArtifactDirectory(directory).put("a", b"")
    assert ArtifactDirectory(directory).get("a") == b""


def test_nothing_is_kept_where_nothing_should_be() -> None:
    """The store that keeps nothing finds nothing."""
    store = NoArtifacts()
    store.put("a", CODE)
    assert store.get("a") is None


def test_directory_and_files_are_the_users_alone(directory: Path) -> None:
    """Nobody else may read or write the directory, the key or the code, not even where the directory was open."""
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    ArtifactDirectory(directory).put("a", CODE)
    assert [path.lstat().st_mode & 0o777 for path in (directory, directory / "key", _file(directory))] == [
        0o700, 0o600, 0o600,
    ]  # fmt: skip


def _with_other_key(directory: Path) -> None:
    (directory / "key").write_bytes(bytes(32))


def _flip(place: int) -> Callable[[Path], None]:
    def flip(directory: Path) -> None:
        content = bytearray(_file(directory).read_bytes())
        content[place] ^= 0x10
        _file(directory).write_bytes(content)

    return flip


DAMAGES: list[Callable[[Path], object]] = [
    _flip(0),
    _flip(31),
    _flip(32),
    _flip(5_000),
    _flip(-1),
    _with_other_key,
    lambda directory: (directory / "key").unlink(),
    lambda directory: (directory / "key").write_bytes(b""),
    lambda directory: (directory / "key").write_bytes(bytes(31)),
    lambda directory: (directory / "key").write_bytes(bytes(1_000_000)),
    lambda directory: (directory / "key").chmod(0o640),
    lambda directory: (directory / "key").chmod(0o602),
    lambda directory: _file(directory).write_bytes(b""),
    lambda directory: _file(directory).write_bytes(bytes(16)),
    lambda directory: _file(directory).write_bytes(_file(directory).read_bytes() + b"x"),
    lambda directory: _file(directory).write_bytes(_file(directory).read_bytes()[:-1]),
    lambda directory: _file(directory).chmod(0o622),
    lambda directory: _file(directory).replace(_file(directory, "b")),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_is_not_found(directory: Path, damage: Callable[[Path], object]) -> None:
    """Code that was changed, moved, or kept under another or a loose key is not found, and can be kept anew."""
    store = ArtifactDirectory(directory)
    store.put("a", CODE)
    damage(directory)
    assert store.get("a") is None
    assert store.get("b") is None
    store.put("a", CODE)
    assert store.get("a") == CODE


def test_code_of_another_name_is_not_found(directory: Path) -> None:
    """Code is authentic under its own name only."""
    store = ArtifactDirectory(directory)
    store.put("a", CODE)
    store.put("ab", b"other")
    _file(directory, "ab").write_bytes(_file(directory).read_bytes())
    assert store.get("ab") is None


def test_links_are_not_followed(directory: Path, tmp_path: Path) -> None:
    """A key or code that is a symbolic link is not read through it, and what it points to is not written."""
    store = ArtifactDirectory(directory)
    store.put("a", CODE)
    for path in (_file(directory), directory / "key"):
        elsewhere = tmp_path / f"{path.name}.elsewhere"
        path.rename(elsewhere)
        content = elsewhere.read_bytes()
        path.symlink_to(elsewhere)
        assert store.get("a") is None
        store.put("a", CODE)
        assert store.get("a") == CODE
        assert not path.is_symlink()
        assert elsewhere.read_bytes() == content


def test_directory_that_is_a_link_is_not_used(directory: Path, tmp_path: Path) -> None:
    """A directory that is a symbolic link keeps nothing."""
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")
    store = ArtifactDirectory(directory)
    store.put("a", CODE)
    assert store.get("a") is None
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["key", "a.cwasm"])
def test_what_is_no_file_is_not_read(directory: Path, name: str) -> None:
    """A directory or a pipe in the place of a file costs the code, and neither hangs nor raises."""
    for make in (Path.mkdir, os.mkfifo):
        store = ArtifactDirectory(directory)
        store.put("a", CODE)
        (directory / name).unlink()
        make(directory / name)
        assert store.get("a") is None
        store.put("a", CODE)
        if (directory / name).is_dir():
            (directory / name).rmdir()


@pytest.mark.parametrize("who", ["directory", "file"])
def test_what_belongs_to_others_is_not_used(directory: Path, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory, a key and code of another user are as good as none."""
    store = ArtifactDirectory(directory)
    store.put("a", CODE)
    real = os.geteuid()
    module = artifacts if who == "file" else sys.modules["pdp.private_directory"]

    class Os:
        """`os`, for somebody else."""

        def __getattr__(self, name: str) -> object:
            return (lambda: real + 1) if name == "geteuid" else getattr(os, name)

    monkeypatch.setattr(module, "os", Os())
    assert store.get("a") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="rights do not bind the superuser")
def test_directory_without_rights_keeps_nothing(directory: Path) -> None:
    """A directory that may not be written keeps nothing new, and gives what it has."""
    store = ArtifactDirectory(directory)
    store.put("a", CODE)
    directory.chmod(0o500)
    store.put("b", CODE)
    assert store.get("a") == CODE
    assert store.get("b") is None
    directory.chmod(0o700)


@pytest.mark.parametrize("full", ["mkstemp", "write", "replace"])
def test_full_disk_keeps_nothing(directory: Path, full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room, nothing is kept, nothing is raised, and no half file is left behind."""
    store = ArtifactDirectory(directory)
    store.put("a", CODE)

    def fail(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if full == "mkstemp":
            patch.setattr(tempfile, "mkstemp", fail)
        elif full == "write":
            patch.setattr(os, "fdopen", _failing_fdopen)
        else:
            patch.setattr(Path, "replace", fail)
        store.put("b", CODE)
        store.put("a", b"newer")
    assert store.get("b") is None
    assert store.get("a") == CODE
    assert sorted(path.name for path in directory.iterdir()) == ["a.cwasm", "key"]


_fdopen = os.fdopen


def _failing_fdopen(handle: int, mode: str) -> object:
    if mode != "wb":
        return _fdopen(handle, mode)
    os.close(handle)
    raise OSError(28, "No space left on device")


def test_oldest_goes_first(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are at most so many files; those that were written first go."""
    monkeypatch.setattr(artifacts, "_MAX_FILES", 3)
    store = ArtifactDirectory(directory)
    for number in range(6):
        store.put(f"n{number}", CODE)
        os.utime(_file(directory, f"n{number}"), ns=(number, number))
    store.put("last", CODE)
    assert sorted(path.stem for path in directory.glob("*.cwasm")) == ["last", "n4", "n5"]


TWO = """
import sys
from pathlib import Path
from pdp.sandbox.artifacts import ArtifactDirectory
store, own = ArtifactDirectory(Path(sys.argv[1])), sys.argv[2].encode() * 20_000
for _ in range(60):
    for name in ("shared", sys.argv[2]):
        store.put(name, own)
        found = store.get(name)
        assert found is None or (len(set(found)) == 1 and len(found) == 20_000), "mixed code"
"""


def test_two_processes_share_a_directory(directory: Path) -> None:
    """Two processes that write the same names at once read whole code or none, and afterwards both use one key."""
    commands = [[sys.executable, "-c", TWO, str(directory), letter] for letter in "xy"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    store = ArtifactDirectory(directory)
    assert store.get("shared") in (b"x" * 20_000, b"y" * 20_000)
    assert [store.get(letter) for letter in "xy"] == [b"x" * 20_000, b"y" * 20_000]
