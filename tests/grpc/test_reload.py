"""The bundle changes, breaks, vanishes and comes back while the service answers."""

from __future__ import annotations

import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import pytest

from pdp import server
from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2
from pdp.errors import BundleError
from tests.bundles import PERMIT_ALL, Files, manifest, memory_source, write_bundle
from tests.grpc.service import BUNDLE, READ, TIMEOUT_SECONDS, Client, Service, connect, serving, tool_call
from tests.waiting import wait_until

ALLOW = decision_pb2.DECISION_ALLOW
BAD: list[str | bytes] = ["nonsense;", "permit(principal", "\xff".encode("latin-1"), "@enforcement('x') " + PERMIT_ALL]


def _status(service: Service) -> admin_service_pb2.GetStatusResponse:
    return service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS)


def _serves(service: Service, files: Files) -> bool:
    return _status(service).revision == memory_source(files).revision


def _version(number: int) -> dict[str, str]:
    """A bundle that permits one number alone, and says which version it is."""
    policy = f'@id("v{number}") permit(principal, action, resource) when {{ context.input.n == {number} }};'
    return {"policies/a.cedar": policy, "tools/srv.json": manifest(READ)}


def _replace(path: Path, content: str | bytes) -> None:
    """Change a file in one step."""
    beside = path.with_suffix(".tmp")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.rename(path)


# --- under load ------------------------------------------------------------------------------------------------------


class Load:
    """Threads that ask without a pause, each over a connection of its own, and note what they are told."""

    def __init__(self, address: str, threads: int, highest: int) -> None:
        self._address = address
        self._highest = highest
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(threads)]
        self.answers: list[tuple[int, str, bool, list[str]]] = []
        self.errors: list[Exception] = []

    def has_more_than(self, count: int) -> bool:
        """Whether there are more answers than that, or none will come."""
        return len(self.answers) > count or bool(self.errors)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS)

    def _run(self, seed: int) -> None:
        rng = random.Random(seed)
        with connect(self._address) as channel:
            client = Client(channel)
            while not self._stop.is_set():
                numbers = [rng.randrange(self._highest) for _ in range(rng.choice([1, 1, 5]))]
                requests = [tool_call(f'{{"n":{number}}}'.encode()) for number in numbers]
                try:
                    if len(requests) == 1:
                        responses = [client.authorize(requests[0])]
                    else:
                        responses = [result.response for result in client.batch(*requests).results]
                except grpc.RpcError as error:
                    self.errors.append(error)
                    return
                assert len({response.revision for response in responses}) == 1
                for number, response in zip(numbers, responses, strict=True):
                    policies = [policy.policy_id for policy in response.determining_policies]
                    self.answers.append((number, response.revision, response.decision == ALLOW, policies))


def test_no_call_fails_and_no_answer_mixes_revisions(tmp_path: Path) -> None:
    """While a bundle is edited many times, well and badly, every answer is right for the revision that it names."""
    edits = 60
    with serving(tmp_path, _version(0)) as service, Load(service.address, 4, edits) as load:
        version_of = {memory_source(_version(0)).revision: 0}
        policies = service.bundle / "policies/a.cedar"
        for number in range(1, edits):
            if number % 3 == 0:
                _replace(policies, BAD[number % len(BAD)])
                assert not service.app.reload().changed
                continue
            version = _version(number)
            version_of[memory_source(version).revision] = number
            _replace(policies, version["policies/a.cedar"])
            result = service.app.reload()
            assert (result.changed, version_of[result.revision]) == (True, number)
            wait_until(partial(load.has_more_than, len(load.answers)), "somebody is answered")
    assert load.errors == []
    assert len({revision for _, revision, _, _ in load.answers}) > edits // 3
    for number, revision, allowed, named in load.answers:
        version_number = version_of[revision]
        assert allowed == (number == version_number)
        assert named == ([f"v{version_number}"] if allowed else [])
    assert len(service.records(len(load.answers))) == len(load.answers)


def test_edits_are_noticed(tmp_path: Path) -> None:
    """A watched bundle is loaded again by itself, good versions are served, and bad ones are told."""
    with serving(tmp_path, _version(0), bundle={"watch": True, "debounce_ms": 0}) as service:
        policies = service.bundle / "policies/a.cedar"
        for number in (1, 2, 3):
            _replace(policies, _version(number)["policies/a.cedar"])
            wait_until(partial(_serves, service, _version(number)), "the edit is served")
            _replace(policies, "nonsense;")
            wait_until(lambda: _status(service).degraded_reasons, "the mistake is told")
            assert service.authorize(tool_call(f'{{"n":{number}}}'.encode())).decision == ALLOW
        shutil.rmtree(service.bundle)
        wait_until(lambda: "cannot be read" in str(_status(service).degraded_reasons), "the removal is told")
        write_bundle(service.bundle, _version(4))
        # A bundle that is only half written loads too, if that half is a bundle.
        wait_until(partial(_serves, service, _version(4)), "the new bundle is served")
        wait_until(lambda: not _status(service).degraded_reasons, "all is well again")
        assert service.authorize(tool_call(b'{"n":4}')).decision == ALLOW


def test_revisions_are_told(tmp_path: Path) -> None:
    """A watcher hears of the revision at once, of each new one, and of a bundle that breaks and mends; then it ends."""
    with serving(tmp_path, _version(0)) as service:
        news = service.admin.WatchRevisions(admin_service_pb2.WatchRevisionsRequest(), timeout=TIMEOUT_SECONDS)
        first = next(news)
        assert (first.revision, first.previous_revision) == (memory_source(_version(0)).revision, "")
        assert first.state == admin_service_pb2.SERVICE_STATE_SERVING
        policies = service.bundle / "policies/a.cedar"
        _replace(policies, _version(1)["policies/a.cedar"])
        service.app.reload()
        second = next(news)
        assert (second.revision, second.previous_revision) == (memory_source(_version(1)).revision, first.revision)
        _replace(policies, "nonsense;")
        service.app.reload()
        third = next(news)
        assert (third.revision, third.state) == (second.revision, admin_service_pb2.SERVICE_STATE_DEGRADED)
        assert "does not load" in third.degraded_reasons[0]
        _replace(policies, _version(1)["policies/a.cedar"])
        service.app.reload()
        assert next(news).state == admin_service_pb2.SERVICE_STATE_SERVING
    with pytest.raises(grpc.RpcError):
        next(news)


def test_many_watchers_stop_nobody(tmp_path: Path) -> None:
    """As many watchers as there are threads for them, and more, leave calls and reloads alone."""
    with serving(tmp_path, _version(0)) as service, ThreadPoolExecutor(20) as threads:
        request = admin_service_pb2.WatchRevisionsRequest()
        watchers = [service.admin.WatchRevisions(request, timeout=TIMEOUT_SECONDS) for _ in range(20)]
        # Which of them wait is open: they need not come in the order in which they were sent.
        told = [threads.submit(next, watcher) for watcher in watchers]
        wait_until(lambda: sum(one.done() for one in told) == server._WATCH_THREADS, "as many as can be are told")
        assert service.authorize(tool_call(b'{"n":0}')).decision == ALLOW
        assert _status(service).revision == memory_source(_version(0)).revision
        for watcher in watchers:
            watcher.cancel()


# --- what becomes of the bundle --------------------------------------------------------------------------------------


def _break(bundle: Path, how: str) -> None:
    if how == "removed":
        shutil.rmtree(bundle)
    elif how == "emptied":
        shutil.rmtree(bundle / "policies")
        shutil.rmtree(bundle / "tools")
    elif how == "a policy is a directory":
        (bundle / "policies/a.cedar").unlink()
        (bundle / "bundle.toml").mkdir()
    elif how == "broken":
        (bundle / "policies/a.cedar").write_text("nonsense;")


@pytest.mark.parametrize("how", ["removed", "emptied", "a policy is a directory", "broken"])
def test_a_broken_source_degrades_and_a_restart_still_serves(tmp_path: Path, how: str) -> None:
    """The service goes on with what it has and says why; started anew, it serves the last good copy and says so."""
    with serving(tmp_path) as service:
        revision = service.authorize(tool_call()).revision
        _break(service.bundle, how)
        answer = service.admin.Reload(admin_service_pb2.ReloadRequest(), timeout=TIMEOUT_SECONDS)
        assert (answer.changed, answer.revision) == (False, revision)
        assert len(answer.problems) >= 1
        status = _status(service)
        assert (status.state, status.revision) == (admin_service_pb2.SERVICE_STATE_DEGRADED, revision)
        assert len(status.degraded_reasons) == 1
        response = service.authorize(tool_call())
        assert (response.decision, response.revision) == (ALLOW, revision)
    with serving(tmp_path, {}) as service:
        response = service.authorize(tool_call())
        assert (response.decision, response.revision) == (ALLOW, revision)
        status = _status(service)
        assert status.state == admin_service_pb2.SERVICE_STATE_DEGRADED
        assert status.degraded_reasons[1] == f"serving the last good copy, revision {revision}"
        assert list(status.problems)
        shutil.rmtree(service.bundle, ignore_errors=True)
        write_bundle(service.bundle, BUNDLE)
        service.app.reload()
        assert _status(service).state == admin_service_pb2.SERVICE_STATE_SERVING


def test_a_start_with_nothing_to_serve_fails_with_everything(tmp_path: Path) -> None:
    """Without a bundle that loads and without a copy the service does not start, and says all that is wrong."""
    files: Files = {"policies/a.cedar": "a;\nb;", "entities/a.json": "{}", "bundle.toml": "="}
    with pytest.raises(BundleError) as caught, serving(tmp_path, files):
        pytest.fail("it started")
    places = [(problem.path, problem.line) for problem in caught.value.problems]
    assert places == [("bundle.toml", 1), ("entities/a.json", 1), ("policies/a.cedar", 1), ("policies/a.cedar", 2)]


def test_a_copy_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """Where the last good copy cannot be written the service serves the newest bundle, and says what is missing."""
    (tmp_path / "file").write_text("")
    with serving(tmp_path, bundle={"last_good_dir": str(tmp_path / "file/state")}) as service:
        status = _status(service)
        assert status.state == admin_service_pb2.SERVICE_STATE_DEGRADED
        [reason] = status.degraded_reasons
        assert reason.startswith("the last good copy is not written: ")
        write_bundle(service.bundle, {"policies/b.cedar": f'@id("b") {PERMIT_ALL}'})
        assert service.app.reload().changed
        assert len(service.authorize(tool_call()).determining_policies) == 2


def test_one_edit_of_many_files_parses_one(tmp_path: Path) -> None:
    """Of a bundle with 200 policy files on disk, only the one that was edited is parsed again."""
    files = {f"policies/p{number:03}.cedar": f"{PERMIT_ALL} // {number}" for number in range(200)}
    with serving(tmp_path, {**BUNDLE, **files}) as service:
        assert len(service.app.store.current().parsed) == 202
        _replace(service.bundle / "policies/p123.cedar", f"{PERMIT_ALL} // edited")
        assert service.app.reload().changed
        assert service.app.store.current().parsed == ("policies/p123.cedar",)
