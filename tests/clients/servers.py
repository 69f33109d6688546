"""The servers of a case: the real service, a scripted one, or nobody; each stays on its address."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc
from wasmtime import wat2wasm

from pdp.app import running
from tests.clients.credentials import CLIENT_NAME, Credentials
from tests.clients.scripted import Script, scripted_server
from tests.grpc.service import configuration

Json = Mapping[str, Any]

BUNDLE = Path(__file__).resolve().parents[2] / "clients" / "conformance" / "bundle"
_ANYWHERE = "127.0.0.1:0"
# A scripted answer that never comes is over at once when its server stops.
_GRACE_SECONDS = None


class Server(Protocol):
    """A server that can be started again on the same address."""

    address: str

    def start(self) -> None:
        """Begin to listen."""

    def stop(self) -> None:
        """Stop listening."""


class Nobody:
    """A port that is taken, and where nothing listens."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self.address = ""

    def start(self) -> None:
        """Take the port."""
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def stop(self) -> None:
        """Give the port back."""
        self._socket.close()


class RealService:
    """The service in this process, with the bundle of the cases."""

    def __init__(self, directory: Path, listen: str, fields: Json, credentials: Credentials) -> None:
        self.address = listen
        self._directory = directory
        self._sections = sections(fields, credentials)
        self._stack = ExitStack()

    def start(self) -> None:
        """Begin to listen, where it listened before."""
        listening = {**self._sections.get("server", {}), "listen": [self.address]}
        config = configuration(self._directory, {**self._sections, "server": listening})
        app = self._stack.enter_context(running(config, {}))
        self.address = app.addresses[0]

    def stop(self) -> None:
        """Drain."""
        self._stack.close()


class ScriptedServer:
    """A scripted server in this process."""

    def __init__(self, listen: str, fields: Json, credentials: Credentials) -> None:
        self.address = listen
        self.script = Script(fields.get("answers", {}), credentials.keys["good"] if fields.get("keys") else None)
        self._tls = _server_credentials(fields.get("tls"), credentials)
        self._grpc: grpc.Server | None = None

    def start(self) -> None:
        """Begin to listen, where it listened before."""
        server = scripted_server(self.script)
        if self._tls is None:
            port = server.add_insecure_port(self.address)
        else:
            port = server.add_secure_port(self.address, self._tls)
        if not self.address.startswith("unix:"):
            self.address = f"127.0.0.1:{port}"
        server.start()
        self._grpc = server

    def stop(self) -> None:
        """End what is being answered."""
        if self._grpc is not None:
            self._grpc.stop(_GRACE_SECONDS).wait()


@contextmanager
def serving(fields: Json, credentials: Credentials) -> Iterator[Server]:
    """A server as a case describes it, started."""
    # A unix socket's path has a hundred bytes or so, and those of pytest's directories are long.
    with tempfile.TemporaryDirectory() as scratch:
        listen = f"unix:{scratch}/socket" if fields.get("listen") == "unix" else _ANYWHERE
        server = _server(Path(scratch), listen, fields, credentials)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _server(directory: Path, listen: str, fields: Json, credentials: Credentials) -> Server:
    if fields["kind"] == "nobody":
        return Nobody()
    if fields["kind"] == "scripted":
        return ScriptedServer(listen, fields, credentials)
    copy_bundle(directory / "bundle")
    return RealService(directory, listen, fields, credentials)


def copy_bundle(target: Path) -> None:
    """The bundle of the cases, with its modules compiled."""
    shutil.copytree(BUNDLE, target)
    for wat in sorted(target.glob("interceptors/*.wat")):
        wat.with_suffix(".wasm").write_bytes(bytes(wat2wasm(wat.read_text())))
        wat.unlink()


def sections(fields: Json, credentials: Credentials) -> dict[str, Any]:
    """What the configuration of a real service needs for this: TLS, and who may call."""
    found: dict[str, Any] = {}
    if "tls" in fields:
        found["server"] = {
            "tls_certificate": str(credentials.file("server")),
            "tls_key": str(credentials.file("server.key")),
        }
    if fields.get("tls") == "mutual":
        found["server"]["tls_client_ca"] = str(credentials.file("ca"))
    if fields.get("keys"):
        caller = {"name": "edge", "rights": ["decide"], "keys_sha256": [credentials.key_digest]}
        if fields.get("tls") == "mutual":
            caller["certificates"] = [CLIENT_NAME]
        found["callers"] = {"caller": [caller]}
    return found


def _server_credentials(tls: str | None, credentials: Credentials) -> grpc.ServerCredentials | None:
    if tls is None:
        return None
    pair = (credentials.file("server.key").read_bytes(), credentials.file("server").read_bytes())
    if tls == "server":
        return grpc.ssl_server_credentials([pair])
    authority = credentials.file("ca").read_bytes()
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=True)
