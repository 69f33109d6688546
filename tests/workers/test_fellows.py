"""What workers know of each other: one account of all, and the tools that changed."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2 as pb
from pdp._gen.pdp.v1 import interceptor_pb2
from pdp.config import Config, ServerConfig
from pdp.errors import UnavailableError
from pdp.live_definitions import TOOL_CHANGED, LiveDefinitions
from pdp.servicers.fellows import joined
from pdp.workers.changed_tools import SharedTools
from pdp.workers.fellows import Heartbeat, WorkerFellows
from pdp.workers.orders import Orders, RuntimeDirectory, runtime_directory
from tests.waiting import wait_until

KEY = ("srv", "read")


def status(pid: int, **more: object) -> pb.GetStatusResponse:
    """A worker's own account."""
    fields = {"state": pb.SERVICE_STATE_SERVING, "revision": "r1", **more}
    worker = pb.Worker(pid=pid, revision=str(fields["revision"]), state=fields["state"])  # type: ignore[arg-type]
    return pb.GetStatusResponse(workers=[worker], **fields)  # type: ignore[arg-type] # fields are a test's


def test_counts_are_added_up() -> None:
    """Interceptors and shadow policies of all workers are one count each; the last failure is the latest."""

    def counted(pid: int, calls: int, failed: int) -> pb.GetStatusResponse:
        one = status(pid)
        found = one.interceptors.add(name="a", healthy=failed == 0, calls=calls, denied=1)
        found.failures.add(error_class=interceptor_pb2.ERROR_CLASS_TRAP, count=failed)
        found.total_duration.FromNanoseconds(calls * 1_000)
        found.last_failure_at.FromSeconds(failed)
        one.shadow.policies.add(policy_id="p", flips=calls, matches=2)
        one.shadow.candidate.compared = calls
        return one

    total = joined(counted(1, 3, 0), [counted(2, 4, 5)])
    [interceptor] = total.interceptors
    assert (interceptor.calls, interceptor.denied, interceptor.healthy) == (7, 2, False)
    assert interceptor.total_duration.ToNanoseconds() == 7_000
    assert [(failure.error_class, failure.count) for failure in interceptor.failures] == [
        (interceptor_pb2.ERROR_CLASS_TRAP, 5)
    ]
    assert interceptor.last_failure_at.ToSeconds() == 5
    assert [(flips.policy_id, flips.flips, flips.matches) for flips in total.shadow.policies] == [("p", 7, 4)]
    assert total.shadow.candidate.compared == 7
    assert [worker.pid for worker in total.workers] == [1, 2]


def test_counts_of_another_revision_are_not_added() -> None:
    """Interceptors of the same name in two revisions are not the same; that there are two is told."""
    own, other = status(1), status(2, revision="r2")
    own.interceptors.add(name="a", calls=1)
    other.interceptors.add(name="a", calls=1)
    total = joined(own, [other])
    assert total.interceptors[0].calls == 1
    assert total.state == pb.SERVICE_STATE_DEGRADED
    assert list(total.degraded_reasons) == ["the workers do not all have the same revision"]


@pytest.mark.parametrize(
    ("other", "problems", "reasons"),
    [
        (status(2, state=pb.SERVICE_STATE_NOT_READY, revision=""), [], ["process 2 is not ready"]),
        (status(2, state=pb.SERVICE_STATE_DEGRADED, degraded_reasons=["x"]), [], ["x"]),
        (status(2), ["worker 1 does not answer"], ["worker 1 does not answer"]),
    ],
    ids=["not ready", "degraded", "silent"],
)
def test_what_is_wrong_with_one_is_wrong_with_all(
    other: pb.GetStatusResponse, problems: list[str], reasons: list[str]
) -> None:
    """The service is degraded, and says why, while this worker serves."""
    total = joined(status(1), [other], problems)
    assert total.state == pb.SERVICE_STATE_DEGRADED
    assert list(total.degraded_reasons) == reasons


def test_silent_workers_are_missed(tmp_path: Path) -> None:
    """A worker whose account is missing, old or no account at all does not answer."""
    runtime = RuntimeDirectory(tmp_path)
    fellows = WorkerFellows(Orders(Config(server=ServerConfig(workers=5)), 0, 5, os.getpid(), runtime))
    for index in (1, 2, 3):
        runtime.status(index).write_bytes(status(index).SerializeToString())
        runtime.beat(index).touch()
    os.utime(runtime.beat(2), (0, 0))
    runtime.status(3).write_bytes(b"\xff")
    assert [one.workers[0].pid for one in fellows.statuses()] == [1]
    assert fellows.problems() == [f"worker {index} does not answer" for index in (2, 3, 4)]


def test_a_worker_that_cannot_write_is_not_well(tmp_path: Path) -> None:
    """One that lives and whose last account is old may be in any state by now: nobody says that it serves."""
    runtime = RuntimeDirectory(tmp_path)
    orders = Orders(Config(server=ServerConfig(workers=2)), 0, 2, os.getpid(), runtime)
    runtime.status(1).write_bytes(status(1).SerializeToString())
    runtime.beat(1).touch()
    (well,) = WorkerFellows(orders).statuses()
    assert (well.state, well.workers[0].state) == (pb.SERVICE_STATE_SERVING, pb.SERVICE_STATE_SERVING)
    written = runtime.status(1).stat().st_mtime - 2
    os.utime(runtime.status(1), (written, written))
    (outdated,) = WorkerFellows(orders).statuses()
    assert (outdated.state, outdated.workers[0].state) == (pb.SERVICE_STATE_DEGRADED, pb.SERVICE_STATE_DEGRADED)
    assert list(outdated.degraded_reasons) == ["worker 1 cannot write how it is"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no room"), UnavailableError("which tools have changed cannot be read"), KeyError()]
)
def test_a_worker_beats_also_where_it_cannot_write(tmp_path: Path, error: Exception) -> None:
    """Neither a disk without room nor a status that nobody can tell makes it a dead one."""
    runtime = RuntimeDirectory(tmp_path)
    well = threading.Event()
    well.set()

    def account() -> pb.GetStatusResponse:
        if well.is_set():
            return status(0)
        raise error

    heart = Heartbeat(Orders(Config(server=ServerConfig(workers=2)), 0, 2, os.getpid(), runtime), account)
    heart.start()
    try:
        well.clear()
        written = runtime.status(0).stat().st_mtime
        wait_until(lambda: runtime.beat(0).stat().st_mtime > written + 1, "beats of a worker that cannot write")
        assert runtime.status(0).stat().st_mtime == written
    finally:
        heart.stop()


def test_nobody_cleans_up_what_is_in_use() -> None:
    """The directory of the workers is locked while it is there, for those who remove old files."""
    with runtime_directory() as runtime:
        descriptor = os.open(runtime.path, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    assert not runtime.path.exists()


# --- changed tools ---------------------------------------------------------------------------------------------------


class _Tool:
    digest = "pinned"


def test_a_change_is_known_at_once(tmp_path: Path) -> None:
    """What one process notes the other denies with its next look, and no longer once it is taken back."""
    one, other = (LiveDefinitions(SharedTools(tmp_path / "tools")) for _ in range(2))
    tools = {KEY: _Tool()}
    one.report(tools, "srv", [("read", b'{"name": "read"}')])  # type: ignore[arg-type]
    assert other.denial(tools, *KEY) is TOOL_CHANGED  # type: ignore[arg-type]
    assert other.changed(tools) == [KEY]  # type: ignore[arg-type]
    _Tool.digest = one._digest("read", b'{"name": "read"}')
    try:
        other.report(tools, "srv", [("read", b'{"name": "read"}')])  # type: ignore[arg-type]
        assert one.denial(tools, *KEY) is None  # type: ignore[arg-type]
        assert SharedTools(tmp_path / "tools").read() == {}
    finally:
        _Tool.digest = "pinned"


@pytest.mark.parametrize("processes", [1, 4])
def test_changes_of_many_at_once_are_all_kept(tmp_path: Path, processes: int) -> None:
    """Nobody's note overwrites another's, neither of another process nor of another thread."""
    own = [SharedTools(tmp_path / "tools") for _ in range(processes)]
    shared = [own[index % processes] for index in range(4)]

    def note(index: int) -> None:
        for number in range(20):
            shared[index].change({("srv", f"{index}-{number}"): "d"})

    threads = [threading.Thread(target=note, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shared[0].read()) == 80
    assert shared[0].version() == 80 + processes


def test_a_lost_file_denies_everything(tmp_path: Path) -> None:
    """Where somebody removed the file nobody knows what has changed, and none of it is forgotten."""
    tools = SharedTools(tmp_path / "tools")
    tools.change({KEY: "d"})
    (tmp_path / "tools").unlink()
    for act in (tools.read, lambda: tools.change({("srv", "other"): "d"})):
        with pytest.raises(UnavailableError):
            act()


def test_a_change_is_known_also_where_its_writer_was_killed(tmp_path: Path) -> None:
    """What was written and not told is told by the worker that comes in the place of the one that was killed."""
    other = LiveDefinitions(SharedTools(tmp_path / "tools"))
    (tmp_path / "tools").write_text('[["srv", "read", "d"]]')
    SharedTools(tmp_path / "tools")
    assert other.denial({KEY: _Tool()}, *KEY) is TOOL_CHANGED  # type: ignore[dict-item]


@pytest.mark.parametrize("text", ["{", "[[1]]", '{"a": 1}', "null"])
def test_what_cannot_be_read_denies_everything(tmp_path: Path, text: str) -> None:
    """A spoiled file is an error for every question, and never an empty list of changes."""
    (tmp_path / "tools").write_text(text)
    with pytest.raises(UnavailableError):
        SharedTools(tmp_path / "tools").read()
