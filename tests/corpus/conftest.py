"""What the corpus's tests share: the cases as parameters, the bundles on disk, and what services said."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.corpus.corpus import LEVELS, ROOT, Case, load_cases
from tests.corpus.service import Run, run

_ARCHIVE = ".tar.gz"

BundlePath = Callable[[str], Path]
Runs = Callable[[Case], Run]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes `case` every case that can be asked at its level, which is the name of its module.

    Tests in `layers` get what needs more than policies alone, those beside this file the rest. A test that takes
    `decided` gets those that end in a decision.
    """
    package, _, level = metafunc.module.__name__.rpartition(".test_")
    cases = [case for case in load_cases() if level not in case.not_at]
    if level in LEVELS:
        cases = [case for case in cases if case.is_plain is not package.endswith(".layers")]
    decided = [case for case in cases if case.log is not None]
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


@pytest.fixture(scope="session")
def runs(bundle_path: BundlePath, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The life of the service that a case is asked of. Plain cases have services without the others."""
    known: dict[tuple[bool, tuple[str, str]], Run] = {}

    def find(case: Case) -> Run:
        key = (case.is_plain, case.setting)
        if key not in known:
            cases = [other for other in load_cases() if (other.is_plain, other.setting) == key]
            known[key] = run(cases, bundle_path(case.bundle), tmp_path_factory.mktemp("service"))
        return known[key]

    return find


def pack(directory: Path, archive: Path) -> None:
    """Write `directory` as `tar -czf archive -C directory .` would."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(directory, ".")
