"""A service of several workers as processes, and connections to all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc

from pdp._gen.pdp.v1 import admin_service_pb2 as admin
from pdp._gen.pdp.v1 import admin_service_pb2_grpc, decision_pb2, decision_service_pb2_grpc
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from tests.bundles import PERMIT_ALL, Files, manifest, tool
from tests.waiting import wait_until

PDP = [sys.executable, "-c", "import sys; from pdp.cli import main; sys.exit(main())"]
PATIENCE_SECONDS = 60.0
#: So many connections that they are, as good as certainly, not all with one of two workers.
CONNECTIONS = 24
#: Reconnecting takes no longer than this, so that a test need not wait for it.
_RECONNECT_MS = 100

READ = tool("read", {"n": {"type": "integer"}})
BUNDLE: Files = {"policies/a.cedar": f'@id("all") {PERMIT_ALL}', "tools/srv.json": manifest(READ)}
REFUSING = '@id("all") forbid (principal, action, resource);\n'


class Connection:
    """One TCP connection, so one worker."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.decision = decision_service_pb2_grpc.DecisionServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(channel)

    def authorize(self) -> pb.AuthorizeResponse:
        """One question, which the bundle permits."""
        subject = decision_pb2.Subject(entity=decision_pb2.EntityUid(type="Agent", id="a"))
        call = decision_pb2.ToolCall(server="srv", tool="read", arguments_json=b'{"n": 1}')
        return self.decision.Authorize(
            pb.AuthorizeRequest(subject=subject, tool_call=call), timeout=PATIENCE_SECONDS, wait_for_ready=True
        )


class Fleet:
    """The running service: its supervisor, what it says, and how to reach it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        #: What the service is checked with, where it speaks TLS.
        self.credentials: grpc.ChannelCredentials | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._stack = ExitStack()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of the service's own log with that name."""
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def wait_for(self, name: str) -> dict[str, Any]:
        """The first event with that name, once it is there."""
        wait_until(lambda: self.events(name) or self.process.poll() is not None, f"the event `{name}`")
        assert self.events(name), "".join(self.lines)
        return self.events(name)[0]

    @property
    def address(self) -> str:
        """Where all workers listen."""
        address: str = self.wait_for("serving")["addresses"][0]
        return address

    def connections(self) -> list[Connection]:
        """New ones, enough for all workers."""
        return [self.connection() for _ in range(CONNECTIONS)]

    def connection(self) -> Connection:
        """A new one."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS)]
        if self.credentials is None:
            return Connection(self._stack.enter_context(grpc.insecure_channel(self.address, options)))
        return Connection(self._stack.enter_context(grpc.secure_channel(self.address, self.credentials, options)))

    def status(self) -> admin.GetStatusResponse:
        """How all of them are."""
        return self.connection().admin.GetStatus(
            admin.GetStatusRequest(), timeout=PATIENCE_SECONDS, wait_for_ready=True
        )

    def whole(self, count: int = 2) -> list[int]:
        """The process ids of the workers, once all of them serve."""

        seen: list[int] = []

        def serving() -> bool:
            # What one of them knows of the others is half a second old, so another look may show less again.
            seen[:] = [w.pid for w in self.status().workers if w.state == admin.SERVICE_STATE_SERVING]
            return len(seen) == count

        wait_until(serving, f"{count} workers that serve")
        return seen

    def end(self) -> tuple[int, str]:
        """What it ended with, and its standard output."""
        out, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out

    def close(self) -> None:
        """Stop what is left."""
        self._stack.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._reader.join(PATIENCE_SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)


@contextmanager
def fleet(bundle: Path, scratch: Path, **settings: str) -> Iterator[Fleet]:
    """`pdp serve` with two workers on a free port; `settings` are environment variables without their prefix."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PDP_")}
    given: Mapping[str, str] = {"SERVER__WORKERS": "2", "SERVER__LISTEN": '["127.0.0.1:0"]', **settings}
    environ |= {f"PDP_{name}": value for name, value in given.items()}
    environ |= {"PDP_STATE_DIR": str(scratch / "state"), "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        [*PDP, "serve", "--bundle", bundle], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running = Fleet(process)
    try:
        yield running
    finally:
        running.close()


def alive(pid: int) -> bool:
    """Whether there is a process with that number that still does something."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
