"""Reading key sets from files and servers that may be away, slow, huge, broken or hostile."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pdp.identity.jwks import MAX_JWKS_BYTES
from pdp.identity.key_sources import FileKeySource, KeySource, KeySourceError, UrlKeySource
from tests.component.identity.serving import Answer, answering, response, server_context, serving

KEYS = b'{"keys": []}'
#: Longer than any of these servers takes; only the ones that never answer have less.
PATIENCE = 30.0


def _refusal(source: KeySource) -> str:
    with pytest.raises(KeySourceError) as caught:
        source.read()
    return str(caught.value)


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """The content is what is there now: written over, replaced by renaming, or behind a link that moved."""
    path = tmp_path / "keys.json"
    source = FileKeySource(path)
    path.write_bytes(KEYS)
    assert source.read() == KEYS
    path.write_bytes(b"2")
    assert source.read() == b"2"
    (tmp_path / "new").write_bytes(b"3")
    (tmp_path / "new").rename(path)
    assert source.read() == b"3"
    path.unlink()
    (tmp_path / "other").write_bytes(b"4")
    path.symlink_to("other")
    assert source.read() == b"4"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A file that is missing, a directory, a pipe without a writer and a device are refused, and none blocks."""
    assert _refusal(FileKeySource(tmp_path / "no")) == f"`{tmp_path}/no` cannot be read: no such file or directory"
    assert "`" in _refusal(FileKeySource(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert _refusal(FileKeySource(tmp_path / "pipe")) == f"`{tmp_path}/pipe` is not a file"
    assert _refusal(FileKeySource(Path("/dev/zero"))) == "`/dev/zero` is not a file"


def test_files_are_bounded(tmp_path: Path) -> None:
    """A file of the greatest size is read, a longer one refused."""
    path = tmp_path / "keys.json"
    path.write_bytes(b" " * MAX_JWKS_BYTES)
    assert len(FileKeySource(path).read()) == MAX_JWKS_BYTES
    path.write_bytes(b" " * (MAX_JWKS_BYTES + 1))
    assert "is longer than" in _refusal(FileKeySource(path))


# --- servers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        response(KEYS),
        response(KEYS, "200 OK", "Content-Type: text/plain"),
        b"HTTP/1.0 200 OK\r\n\r\n" + KEYS,
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"key\r\n7\r\ns": []}\r\n0\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\n\r\n" + response(KEYS),
    ],
)
def test_a_good_answer(content: bytes) -> None:
    """A server's answer is its body, in whatever form HTTP gives it."""
    with serving(answering(content)) as server:
        assert UrlKeySource(server.url(), PATIENCE).read() == KEYS


def test_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is for exactly the configured address, goes straight there, and carries nothing else."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    with serving(answering(response(KEYS))) as server:
        UrlKeySource(server.url("/a/keys?tenant=1"), PATIENCE).read()
        UrlKeySource(server.url(""), PATIENCE).read()
        host = f"127.0.0.1:{server.port}"
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /a/keys?tenant=1 HTTP/1.1"
    assert sorted(lines[1:-2]) == ["Accept-Encoding: identity", "Accept: application/json", f"Host: {host}"]
    assert server.requests[1].startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (response(KEYS, "301 Moved", "Location: http://127.0.0.1:1/"), "redirects elsewhere"),
        (response(KEYS, "302 Found", "Location: /keys"), "redirects elsewhere"),
        (response(KEYS, "308 Permanent Redirect", "Location: file:///etc/passwd"), "redirects elsewhere"),
        (response(KEYS, "404 Not Found"), "the status 404"),
        (response(KEYS, "500 Oops"), "the status 500"),
        (response(KEYS, "204 No Content"), "the status 204"),
        (response(KEYS, "206 Partial"), "the status 206"),
        (response(KEYS, "200 OK", "Content-Encoding: gzip"), "encoding that was not asked for"),
        (response(b" " * (MAX_JWKS_BYTES + 1)), "answers with more than"),
        (b"", "cannot be read: "),
        (b"\0" * 100, "cannot be read: "),
        (b"HTTP/9.9 200 OK\r\n\r\n", "cannot be read: "),
        (b"HTTP/1.1 -1 OK\r\n\r\n", "cannot be read: "),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1_000 + b"\r\n", "cannot be read: "),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n", "cannot be read: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "cannot be read: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "cannot be read: "),
        (b"HTTP/1.1 " + b"\x1b[31m" * 100, "cannot be read: "),
    ],
)
def test_bad_answers(content: bytes, message: str) -> None:
    """Redirects, other statuses, too much and garbage are refused; what is said about them can be printed."""
    with serving(answering(content)) as server:
        found = _refusal(UrlKeySource(server.url(), PATIENCE))
        assert len(server.requests) == 1
    assert message in found
    assert found.isprintable()
    assert len(found) < 400


def test_a_server_that_is_away() -> None:
    """A server that takes no connections is told by its address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/keys"
        assert _refusal(UrlKeySource(url, PATIENCE)).startswith(f"`{url}` cannot be read: ")


def _wait_for_the_end(connection: socket.socket, request: bytes) -> None:
    connection.recv(1)


def test_a_server_that_never_answers() -> None:
    """A server that says nothing is given up."""
    with serving(_wait_for_the_end) as server:
        assert "did not answer within 0.05 s" in _refusal(UrlKeySource(server.url(), 0.05))


def _dripping(beginning: bytes, again: bytes) -> Answer:
    """The answer that begins well and goes on and on, a little at a time."""

    def answer(connection: socket.socket, request: bytes) -> None:
        with suppress(OSError):
            connection.sendall(beginning)
            while True:
                connection.sendall(again)

    return answer


def _hurrying() -> Callable[[], float]:
    """A clock on which a second passes each time that somebody looks."""
    seconds = itertools.count()
    return lambda: float(next(seconds))


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
)
def test_a_server_that_never_ends(beginning: bytes, again: bytes) -> None:
    """A server that always has a little more is given up when its time is over, or its answer too long."""
    with serving(_dripping(beginning, again)) as server:
        found = _refusal(UrlKeySource(server.url(), 20.0, clock=_hurrying()))
    assert "did not answer within" in found or "answers with more than" in found


def test_time_passes_with_every_byte() -> None:
    """The time is for the whole answer: a server that sends single bytes is given up like one that sends none."""
    sent = []

    def answer(connection: socket.socket, request: bytes) -> None:
        with suppress(OSError):
            for byte in response(KEYS):
                connection.sendall(bytes([byte]))
                sent.append(byte)
            connection.recv(1)

    def frozen_then_late() -> float:
        return 0.0 if len(sent) < 20 else 100.0

    with serving(answer) as server:
        assert "did not answer within 20.0 s" in _refusal(UrlKeySource(server.url(), 20.0, clock=frozen_then_late))


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_a_server_that_proves_itself(tmp_path: Path) -> None:
    """Keys come over TLS from a server whose certificate leads to a configured one."""
    context, certificate = server_context(tmp_path)
    with serving(answering(response(KEYS)), context) as server:
        assert server.url().startswith("https://")
        assert UrlKeySource(server.url(), PATIENCE, certificate).read() == KEYS


def test_servers_that_do_not(tmp_path: Path) -> None:
    """A server that nobody vouches for, or whose certificate is for another name, is not even asked."""
    context, _ = server_context(tmp_path)
    other_context, other = server_context(tmp_path, "elsewhere.example.com")
    with serving(answering(response(KEYS)), context) as server:
        assert "certificate verify failed" in _refusal(UrlKeySource(server.url(), PATIENCE))
        assert "certificate verify failed" in _refusal(UrlKeySource(server.url(), PATIENCE, other))
        assert server.requests == []
    with serving(answering(response(KEYS)), other_context) as server:
        assert "certificate verify failed" in _refusal(UrlKeySource(server.url(), PATIENCE, other))
        assert server.requests == []


def test_plain_answers_are_no_tls(tmp_path: Path) -> None:
    """A server that answers a TLS client in plain text is refused."""
    _, certificate = server_context(tmp_path)
    with serving(answering(response(KEYS)), speaks_first=True) as server:
        url = server.url().replace("http:", "https:")
        assert "cannot be read: " in _refusal(UrlKeySource(url, PATIENCE, certificate))


def test_missing_certificates_are_told(tmp_path: Path) -> None:
    """A file of certificates that is not there, or holds none, is told like other failures."""
    (tmp_path / "empty.pem").write_bytes(b"")
    with serving(answering(response(KEYS)), server_context(tmp_path)[0]) as server:
        for name in ("no.pem", "empty.pem"):
            assert "cannot be read: " in _refusal(UrlKeySource(server.url(), PATIENCE, str(tmp_path / name)))
