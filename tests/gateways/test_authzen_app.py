"""AuthZEN as a part of the service: its section of the configuration, its listener, its example."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pdp.config import load_config
from pdp.errors import ConfigError
from tests.bundles import write_bundle
from tests.certificates import Authority
from tests.gateways.authzen_service import (
    BODY,
    BUNDLE,
    EVALUATION,
    HEAD,
    LENGTH,
    TIMEOUT_SECONDS,
    AuthZenClient,
    asked,
    called,
    read_all,
)
from tests.grpc.service import serving
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "gateways" / "authzen"
PDP = str(Path(sys.executable).with_name("pdp"))
ANYWHERE = {"listen": "127.0.0.1:0"}


def test_served_beside_grpc(tmp_path: Path) -> None:
    """With an address, AuthZEN is served, by its configured names, into the same decision log."""
    section = {"listen": "127.0.0.1:0", "server": "srv", "entity_types": {"agent": "Agent"}}
    with serving(tmp_path, authzen=section) as service:
        document = called("read", arguments={"n": 1})
        document["subject"]["type"] = "agent"
        answer = AuthZenClient(service.app.authzen_address).ask(EVALUATION, document, X_Request_ID="r-7")
        assert answer.decision is True
        record = service.record_of(answer.document["context"]["decision_id"])
        assert record["request_id"] == "r-7"
        assert record["subject"] == {"type": "Agent", "id": "a"}


def test_not_served_unless_configured(tmp_path: Path) -> None:
    """Without an address nothing listens."""
    with serving(tmp_path) as service:
        assert service.app.authzen_address == ""


def test_keys_over_tls(tmp_path: Path) -> None:
    """The certificate and the callers of the service hold for AuthZEN: a key opens, and its caller is recorded."""
    authority, key = Authority(), secrets.token_urlsafe(16)
    callers = {"caller": [{"name": "edge", "keys_sha256": [hashlib.sha256(key.encode()).hexdigest()]}]}
    with serving(tmp_path, server=_tls(authority, tmp_path), callers=callers, authzen=ANYWHERE) as service:
        client = AuthZenClient(service.app.authzen_address, ssl.create_default_context(cadata=authority.pem.decode()))
        metadata = client.request("GET", "/.well-known/authzen-configuration").document
        assert metadata["policy_decision_point"] == f"https://{service.app.authzen_address}"
        assert client.ask(EVALUATION, asked()).error["status"] == 401
        answer = client.ask(EVALUATION, asked(), Authorization=f"Bearer {key}")
        assert answer.decision is True
        assert service.record_of(answer.document["context"]["decision_id"])["caller"] == "edge"


def test_client_certificates(tmp_path: Path) -> None:
    """With a client authority the certificate says who calls, and without one there is no connection."""
    authority, clients = Authority(), Authority("clients")
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    callers = {"caller": [{"name": "edge", "certificates": ["spiffe://example.org/edge"]}]}
    server = {**_tls(authority, tmp_path), "tls_client_ca": str(tmp_path / "clients.pem")}
    with serving(tmp_path, server=server, callers=callers, authzen=ANYWHERE) as service:
        tls = ssl.create_default_context(cadata=authority.pem.decode())
        client = AuthZenClient(service.app.authzen_address, tls)
        with pytest.raises(OSError, match=r"(?i)certificate|reset|eof|closed|pipe"):
            client.ask(EVALUATION, asked())
        tls.load_cert_chain(*clients.issue("spiffe://example.org/edge").write(tmp_path, "edge"))
        answer = client.ask(EVALUATION, asked())
        assert answer.decision is True
        assert service.record_of(answer.document["context"]["decision_id"])["caller"] == "edge"


def _tls(authority: Authority, directory: Path) -> dict[str, Any]:
    certificate, key = authority.issue("127.0.0.1").write(directory, "server")
    return {"tls_certificate": certificate, "tls_key": key}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no address": ({"listen": "here"}, "is not an address"),
    "unix socket": ({"listen": "unix:/run/pdp.sock"}, "unix sockets"),
    "other machines without TLS": ({"listen": "0.0.0.0:7438"}, "TLS is not configured"),
    "URL with a slash at its end": ({"public_url": "https://pdp.example.com/"}, "public_url"),
    "URL with a query": ({"public_url": "https://pdp.example.com?x"}, "public_url"),
    "no entity type": ({"entity_types": {"user": "a b"}}, "is not a Cedar entity type"),
    "unknown key": ({"listen_on": "x"}, "is not a configuration key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_in_the_section(case: str) -> None:
    """A mistake in `[authzen]` is told before anything is served."""
    section, message = WRONG[case]
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(None, {}, {"authzen": section})


def test_other_machines_need_callers(tmp_path: Path) -> None:
    """With TLS, an address for other machines also needs to be told who calls."""
    tls = {"tls_certificate": str(tmp_path / "a"), "tls_key": str(tmp_path / "b")}
    with pytest.raises(ConfigError, match="nobody has to say who they are"):
        load_config(None, {}, {"server": tls, "authzen": {"listen": "0.0.0.0:7438"}})


@pytest.mark.process
@pytest.mark.slow
def test_sigterm(tmp_path: Path) -> None:
    """After SIGTERM a request that has begun is answered, no further one is taken, and the process ends with 0."""
    bundle = write_bundle(tmp_path / "bundle", BUNDLE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    environment = {**os.environ, "PDP_STATE_DIR": str(tmp_path / "state"), "PDP_AUTHZEN__LISTEN": address}
    command = [PDP, "serve", "--bundle", str(bundle), "--listen", "127.0.0.1:0"]
    client = AuthZenClient(address)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            # It answers a little before it has begun to mind signals.
            assert process.stderr is not None
            assert any(b'"event": "serving"' in line for line in process.stderr)
            with client.socket() as peer:
                peer.sendall(f"{HEAD}Expect: 100-continue\r\n{LENGTH}\r\n".encode())
                assert peer.recv(1_000).startswith(b"HTTP/1.1 100 ")
                process.send_signal(signal.SIGTERM)
                wait_until(lambda: not _is_there(client), "the service to refuse connections")
                peer.sendall(BODY.encode())
                received = read_all(peer)
            out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
    assert b"connection: close" in received.lower()
    assert b'"decision":true' in received
    assert [json.loads(line)["decision"] for line in out.splitlines()] == ["ALLOW"]
    assert process.returncode == 0


def _is_there(client: AuthZenClient) -> bool:
    try:
        return client.request("GET", "/.well-known/authzen-configuration").status == 200
    except OSError:
        return False


@pytest.mark.process
@pytest.mark.slow
def test_the_example() -> None:
    """The example's one command prints what its page says."""
    page = (EXAMPLE / "README.md").read_text("utf-8")
    [expected] = re.findall(r"^```\n\$ \.venv/bin/python \S+\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    ran = subprocess.run([sys.executable, EXAMPLE / "ask.py"], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, expected), ran.stderr
