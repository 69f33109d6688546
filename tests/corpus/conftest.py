"""What the corpus's tests share: the cases as parameters, and the bundles on disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.corpus.corpus import ROOT, load_cases

_ARCHIVE = ".tar.gz"

BundlePath = Callable[[str], Path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes `case` every case that can be asked at its level, which is the name of its module.

    A test that takes `decided` gets those that end in a decision.
    """
    level = metafunc.module.__name__.rpartition("test_")[2]
    cases = [case for case in load_cases() if level not in case.not_at]
    decided = [case for case in cases if case.error is None]
    for name, wanted in (("case", cases), ("decided", decided)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, wanted, ids=[f"{case.file}: {case.name}" for case in wanted])


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> BundlePath:
    """The path of a case's bundle. `….tar.gz` is made of the directory without that ending."""
    made: dict[str, Path] = {}

    def find(bundle: str) -> Path:
        if not bundle.endswith(_ARCHIVE):
            return ROOT / bundle
        if bundle not in made:
            made[bundle] = tmp_path_factory.mktemp("archive") / Path(bundle).name
            pack(ROOT / bundle.removesuffix(_ARCHIVE), made[bundle])
        return made[bundle]

    return find


def pack(directory: Path, archive: Path) -> None:
    """Write `directory` as `tar -czf archive -C directory .` would."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(directory, ".")
