"""What the tests of the command line share: running it in this process, a bundle, a service as a process."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pdp.cli import main
from tests.bundles import PERMIT_ALL, manifest, tool, write_bundle
from tests.grpc import service
from tests.modules import answering, binding

PDP = str(Path(sys.executable).with_name("pdp"))
#: The time of an interceptor that is not to run out of it, however busy the machine is.
PATIENT_MS = 10_000
#: A process that does not do what it should is ended after this, so that a test fails instead of hanging.
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration from outside, and nothing kept outside."""
    for name in list(os.environ):
        if name.startswith("PDP_") or name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PDP_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def pdp(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command line in this process."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def bundle(tmp_path: Path, pdp: Callable[..., Outcome]) -> Path:
    """The starter bundle."""
    directory = tmp_path / "bundle"
    assert pdp("init", directory).status == 0
    return directory


@pytest.fixture(scope="session")
def _kept_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled modules, kept from test to test."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
def _compiled(_kept_modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command line compiles is kept where other tests find it."""
    monkeypatch.setenv("PDP_INTERCEPTORS__CACHE_DIR", str(_kept_modules))


@pytest.fixture
def wasm(tmp_path: Path, _compiled: None) -> Callable[..., Path]:
    """Writes a module to a file, by default one that lets every call pass."""

    def write(content: bytes | None = None, name: str = "guest.wasm") -> Path:
        path = tmp_path / name
        path.write_bytes(answering() if content is None else content)
        return path

    return write


@pytest.fixture
def guarded(tmp_path: Path, _compiled: None) -> Callable[..., Path]:
    """Writes a bundle that permits everything, with interceptors on its server `srv`: module and binding by name."""

    def write(**interceptors: tuple[bytes, Mapping[str, Any]]) -> Path:
        bindings = [
            binding(name, **{"tools": ["srv/*"], "timeout_ms": PATIENT_MS, **terms})
            for name, (_, terms) in interceptors.items()
        ]
        files: dict[str, str | bytes] = {
            "policies/all.cedar": PERMIT_ALL,
            "tools/srv.json": manifest(tool("read")),
            "bundle.toml": "".join(bindings),
        }
        modules = {f"interceptors/{name}.wasm": content for name, (content, _) in interceptors.items()}
        return write_bundle(tmp_path / "guarded" / "bundle", {**files, **modules})

    return write


@pytest.fixture
def running(_kept_modules: Path, logs: object) -> Iterator[Callable[..., service.Service]]:
    """Starts services of bundles called `bundle` in this process; what they log is kept off standard output."""
    with ExitStack() as stack:

        def start(bundle: Path, /, **sections: Mapping[str, Any]) -> service.Service:
            kept = {"interceptors": {"cache_dir": str(_kept_modules)}}
            return stack.enter_context(service.serving(bundle.parent, {}, **kept, **sections))

        yield start


class Service:
    """A `pdp serve` as a process of its own, started and announced."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.announced = self.wait_for("serving")

    @property
    def address(self) -> str:
        """The first address that it listens on."""
        return str(self.announced["addresses"][0])

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read the log until this event, and return it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == event:
                return self.events[-1]
        raise AssertionError(f"no event `{event}` before the end: {self.events}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit status and what was written to standard output."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.events += [json.loads(line) for line in self.process.stderr]
        out = self.process.stdout.read()
        return self.process.wait(), out


@contextmanager
def started(*arguments: str | Path, log_format: str = "json") -> Iterator[subprocess.Popen[str]]:
    """A `pdp serve` as a process, ended at the end."""
    command = [PDP, "serve", *map(str, arguments), "--log-format", log_format]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(PATIENCE_SECONDS, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `pdp serve` processes; whatever still runs at the end of the test is ended."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(started(*arguments, **options))


@pytest.fixture
def serve(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Service]:
    """Starts services and waits until they serve; on a free port unless told otherwise."""

    def serve(*arguments: str | Path) -> Service:
        where = () if "--listen" in arguments else ("--listen", "127.0.0.1:0")
        return Service(start(*arguments, *where))

    return serve


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the starter bundle with two mistakes in files of different kinds."""
    directory = tmp_path / "broken"
    shutil.copytree(bundle, directory)
    (directory / "policies" / "wrong.cedar").write_text(
        "permit (principal, action, resource)\nwhen { context.nope };\n"
    )
    (directory / "entities" / "wrong.json").write_text('[\n  {"uid": 7}\n]\n')
    return directory


def on_terminal(*command: str, **environment: str) -> bytes:
    """What a command writes when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(command, stdout=theirs, env={**os.environ, "TERM": "xterm", **environment}, check=False)
        return os.read(ours, 65_536)
    finally:
        os.close(ours)
        os.close(theirs)
