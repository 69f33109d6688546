"""Workers that keep to a core each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import write_bundle
from tests.workers.fleet import BUNDLE, fleet

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="it needs two cores")


@pytest.fixture
def two_cores() -> Iterator[set[int]]:
    """What is started here has two cores."""
    own = os.sched_getaffinity(0)
    pair = set(sorted(own)[:2])
    os.sched_setaffinity(0, pair)
    try:
        yield pair
    finally:
        os.sched_setaffinity(0, own)


def _cores_of(pid: int) -> set[frozenset[int]]:
    """On which the threads of a process may run."""
    return {frozenset(os.sched_getaffinity(int(task.name))) for task in Path(f"/proc/{pid}/task").iterdir()}


@pytest.mark.process
def test_each_worker_keeps_to_a_core(two_cores: set[int], tmp_path: Path) -> None:
    """All threads of a worker run on one core, also those that answer; no two workers share one."""
    with fleet(write_bundle(tmp_path / "bundle", BUNDLE), tmp_path) as running:
        workers = running.whole()
        for connection in running.connections():
            connection.authorize()
        assert [_cores_of(pid) for pid in workers] in (
            [{frozenset([core])} for core in order] for order in (sorted(two_cores), sorted(two_cores, reverse=True))
        )


@pytest.mark.process
@pytest.mark.parametrize("settings", [{"SERVER__WORKER_AFFINITY": "none"}, {"SERVER__WORKERS": "3"}])
def test_workers_are_moved_about(settings: dict[str, str], two_cores: set[int], tmp_path: Path) -> None:
    """Where that is wanted, and where there is not one core for each."""
    with fleet(write_bundle(tmp_path / "bundle", BUNDLE), tmp_path, **settings) as running:
        for pid in running.whole(int(settings.get("SERVER__WORKERS", "2"))):
            assert _cores_of(pid) == {frozenset(two_cores)}


def test_the_compiler_has_all_cores(two_cores: set[int]) -> None:
    """A process that keeps to one core has its modules compiled on those that it was given."""
    program = """
import json, os, sys
from pdp import cores
from pdp.sandbox import compile_child
cores.keep_to(cores.USABLE[0])
order = {"settings": {}, "memory_bytes": -1, "cpu_seconds": -1, "code_bytes": 0, "cores": cores.USABLE}
sys.argv[1:] = [json.dumps(order)]
kept = sorted(os.sched_getaffinity(0))
try:
    compile_child.main()
except TypeError:
    print(json.dumps([kept, sorted(os.sched_getaffinity(0))]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [sorted(two_cores)[:1], sorted(two_cores)]
