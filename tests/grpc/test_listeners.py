"""Where the service listens, and where it refuses to."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2
from pdp.errors import ConfigError
from tests.grpc.service import TIMEOUT_SECONDS, Client, connect, serving, tool_call


def _refused(directory: Path, *listen: str, **server: Any) -> str:
    """Why the service does not start."""
    with pytest.raises(ConfigError) as caught, serving(directory, server={"listen": listen, **server}):
        pytest.fail("it started")
    [problem] = caught.value.problems
    return problem


def _answers(client: Client) -> bool:
    return client.authorize(tool_call()).decision == decision_pb2.DECISION_ALLOW


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a socket can be; `tmp_path` may be longer than a socket's path can be."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield Path("pdp.sock")
    os.chdir(before)


# --- unix sockets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "expected"), [("660", 0o660), ("0600", 0o600), ("777", 0o777)])
def test_a_unix_socket_has_its_mode(tmp_path: Path, path: Path, mode: str, expected: int) -> None:
    """A unix socket answers, has the mode that was configured whatever the umask, and is gone afterwards."""
    before = os.umask(0o027)
    try:
        with serving(tmp_path, server={"listen": [f"unix:{path}"], "socket_mode": mode}) as service:
            assert service.address == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == expected
            assert _answers(service)
            assert service.admin.GetStatus(admin_service_pb2.GetStatusRequest(), timeout=TIMEOUT_SECONDS).revision
        assert not path.exists()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_several_listeners_answer(tmp_path: Path, path: Path) -> None:
    """Every address answers, of either kind."""
    listen = ["127.0.0.1:0", f"unix:{path}", "127.0.0.1:0"]
    with serving(tmp_path, server={"listen": listen}) as service:
        assert len(set(service.app.addresses)) == 3
        for address in service.app.addresses:
            with connect(address) as channel:
                assert _answers(Client(channel))


def test_a_stale_socket_is_replaced(tmp_path: Path, path: Path) -> None:
    """A socket that a dead process left behind does not keep the service from starting."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with serving(tmp_path, server={"listen": [f"unix:{path}"]}) as service:
        assert _answers(service)


def test_a_live_socket_is_left_alone(tmp_path: Path, path: Path) -> None:
    """A socket that somebody listens on is refused, and whoever listens there goes on."""
    with serving(tmp_path / "first", server={"listen": [f"unix:{path}"]}) as service:
        inode = path.stat().st_ino
        message = f"cannot listen on `unix:{path}`: another process listens there"
        assert _refused(tmp_path / "second", f"unix:{path}") == message
        assert path.stat().st_ino == inode
        assert _answers(service)


def test_a_busy_socket_is_alive(tmp_path: Path, path: Path) -> None:
    """A listener that accepts nothing at the moment is still one: it is neither waited for nor replaced."""
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        clients = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            clients.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        message = _refused(tmp_path, f"unix:{path}")
        for client in clients:
            client.close()
    assert message.startswith(f"cannot listen on `unix:{path}`: ")
    assert path.is_socket()


def _make(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a file":
        (path.parent / "precious").write_text("precious")
        path.symlink_to("precious")
    elif kind == "link to nothing":
        path.symlink_to("nothing")
    elif kind == "datagram socket":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(str(path))


@pytest.mark.parametrize("kind", ["file", "directory", "pipe", "link to a file", "link to nothing"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, path: Path, kind: str) -> None:
    """Whatever else lies at the path is refused and stays as it was."""
    _make(path, kind)
    before = path.lstat()
    assert _refused(tmp_path, f"unix:{path}").startswith(f"cannot listen on `unix:{path}`: ")
    after = path.lstat()
    assert (after.st_mode, after.st_ino, after.st_size) == (before.st_mode, before.st_ino, before.st_size)


def test_a_live_datagram_socket_is_left_alone(tmp_path: Path, path: Path) -> None:
    """A socket of another kind that somebody uses is refused with a clear text."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        assert _refused(tmp_path, f"unix:{path}").startswith(f"cannot listen on `unix:{path}`: ")
        assert path.is_socket()


@pytest.mark.parametrize("name", ["no/such/directory/pdp.sock", "x" * 200 + ".sock"])
def test_a_place_without_room_for_a_socket_is_refused(tmp_path: Path, path: Path, name: str) -> None:
    """A missing directory or a path beyond what sockets can have is a clear error."""
    assert _refused(tmp_path, f"unix:{path.parent / name}").startswith(f"cannot listen on `unix:{name}`: ")


# --- ports -----------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """Two services never share a port, and the second says which address it cannot have."""
    with serving(tmp_path / "first") as service:
        message = f"cannot listen on `{service.address}`: the address is in use or not this machine's"
        assert _refused(tmp_path / "second", service.address) == message
        assert _refused(tmp_path / "third", "127.0.0.1:0", admin_listen=[service.address]) == message
        assert _answers(service)


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    """An address that this machine does not have cannot be listened on."""
    message = _refused(tmp_path, "192.0.2.1:0", allow_insecure_network=True)
    assert message == "cannot listen on `192.0.2.1:0`: the address is in use or not this machine's"


def test_other_machines_are_kept_out_unless_allowed(tmp_path: Path) -> None:
    """An address that other machines reach is refused before anything listens."""
    assert "can be reached from other machines and TLS is not configured" in _refused(tmp_path, "0.0.0.0:0")
    assert "can be reached from other machines" in _refused(tmp_path, "127.0.0.1:0", admin_listen=["[::]:0"])
