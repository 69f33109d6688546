"""Who may ask over AuthZEN: keys, rights, servers, TLS and client certificates."""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdp.servicers.gateways.authzen_server import TlsContexts
from pdp.tls import ServerCertificate, TlsFiles
from tests.bundles import PERMIT_ALL
from tests.certificates import Authority
from tests.gateways.authzen_service import (
    EVALUATION,
    EVALUATIONS,
    POLICIES,
    SEARCH_RESOURCE,
    AuthZenService,
    asked,
    called,
    serving,
)


class Keys:
    """Keys made for this run."""

    gateway = secrets.token_urlsafe(16)
    narrow = secrets.token_urlsafe(16)
    admin = secrets.token_urlsafe(16)


def _callers() -> dict[str, Any]:
    def entry(name: str, key: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "keys_sha256": [hashlib.sha256(key.encode()).hexdigest()], **more}

    return {
        "caller": [
            entry("gateway", Keys.gateway),
            entry("narrow", Keys.narrow, servers=["srv"]),
            entry("admin", Keys.admin, rights=["admin"]),
        ]
    }


@pytest.fixture(scope="module")
def guarded() -> Iterator[AuthZenService]:
    with serving({**POLICIES, "policies/a.cedar": PERMIT_ALL}, callers=_callers()) as found:
        yield found


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Basic abc", "Basic {key}", "Bearer {key}x", "Bearer  {key}", "{key}", "\xff"],
)
def test_wrong_credentials(guarded: AuthZenService, authorization: str) -> None:
    """Missing and wrong credentials are a 401 with one text, whatever is asked."""
    for path, document in ((EVALUATION, asked()), (EVALUATIONS, b"{"), (SEARCH_RESOURCE, b"")):
        headers = {"Authorization": authorization.replace("{key}", Keys.gateway)} if authorization else {}
        answer = guarded.ask(path, document, **headers)
        assert answer.error["status"] == 401
        assert answer.error["message"] == "the caller's credentials are missing or not valid"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_credentials_given_twice(guarded: AuthZenService) -> None:
    """Two credentials are none: nobody knows which of them was meant."""
    body = json.dumps(asked()).encode()
    head = (
        f"POST {EVALUATION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Authorization: Bearer {Keys.gateway}\r\nAuthorization: Bearer {Keys.gateway}\r\n\r\n"
    )
    assert guarded.raw(head.encode() + body).startswith(b"HTTP/1.1 401 ")


def test_keys(guarded: AuthZenService) -> None:
    """A key opens, and the decision log names whose it was."""
    assert guarded.ask(EVALUATION, asked(), Authorization=f"Bearer {Keys.gateway}").decision is True
    assert guarded.log.records[-1]["caller"] == "gateway"


def test_rights(guarded: AuthZenService) -> None:
    """A caller without the right to ask is a 403."""
    assert guarded.ask(EVALUATION, asked(), Authorization=f"Bearer {Keys.admin}").error["status"] == 403


def test_callers_of_some_servers(guarded: AuthZenService) -> None:
    """A caller asks and searches only about its servers; a list with anything else decides nothing."""
    headers = {"Authorization": f"Bearer {Keys.narrow}"}
    assert guarded.ask(EVALUATION, called("srv/read"), **headers).decision is True
    before = len(guarded.log.records)
    assert guarded.ask(EVALUATION, called("other/read"), **headers).error["status"] == 403
    assert guarded.ask(EVALUATION, asked(), **headers).error["status"] == 403
    items = [{"resource": called("srv/read")["resource"]}, {"resource": called("other/read")["resource"]}]
    assert guarded.ask(EVALUATIONS, {**called(), "evaluations": items}, **headers).error["status"] == 403
    assert len(guarded.log.records) == before
    ids = [result["id"] for result in guarded.ask(SEARCH_RESOURCE, called(), **headers).document["results"]]
    assert ids == ["srv/read", "srv/write"]
    elsewhere = {**called(), "resource": {"type": "tool", "properties": {"server": "other"}}}
    assert guarded.ask(SEARCH_RESOURCE, elsewhere, **headers).error["status"] == 403


def test_metadata_is_public(guarded: AuthZenService) -> None:
    """The metadata needs no credentials, and says how long it holds."""
    answer = guarded.request("GET", "/.well-known/authzen-configuration")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "max-age=3600"


@pytest.mark.parametrize("path", ["", "/t"])
def test_metadata_of_a_service_below_a_path(path: str) -> None:
    """The metadata names the configured address, and is where AuthZEN looks for it: the path comes last."""
    with serving(public_url=f"https://pdp.example.com{path}") as service:
        for place in ("/.well-known/authzen-configuration", f"/.well-known/authzen-configuration{path}"):
            document = service.request("GET", place).document
            assert document["policy_decision_point"] == f"https://pdp.example.com{path}"
            assert document["access_evaluation_endpoint"] == f"https://pdp.example.com{path}/access/v1/evaluation"
        assert service.request("GET", "/.well-known/authzen-configuration/other").status == 404


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Authority, TlsFiles]:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "server")
    return authority, TlsFiles(Path(certificate), Path(key), None)


def client_tls(authority: Authority, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


def test_https(files: tuple[Authority, TlsFiles]) -> None:
    """Over TLS the same is answered, and the metadata says `https`; clear text gets nothing."""
    authority, paths = files
    with serving(tls=TlsContexts(ServerCertificate(paths))) as service:
        service.client_tls = client_tls(authority)
        assert service.ask(EVALUATION, asked()).decision is True
        metadata = service.request("GET", "/.well-known/authzen-configuration").document
        assert metadata["policy_decision_point"] == f"https://{service.address}"
        with service.socket() as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in peer.recv(1_000)


def test_client_certificates(files: tuple[Authority, TlsFiles], tmp_path: Path) -> None:
    """With a client authority, a connection needs a certificate, and its names say who calls."""
    authority, paths = files
    clients = Authority("clients")
    (tmp_path / "clients.pem").write_bytes(clients.pem)
    known = clients.issue("spiffe://example.org/gateway").write(tmp_path, "known")
    unknown = clients.issue("spiffe://example.org/other").write(tmp_path, "unknown")
    foreign = authority.issue("spiffe://example.org/gateway").write(tmp_path, "foreign")
    callers = {"caller": [{"name": "gateway", "certificates": ["spiffe://example.org/gateway"]}]}
    certificate = ServerCertificate(TlsFiles(paths.certificate, paths.key, tmp_path / "clients.pem"))
    with serving(tls=TlsContexts(certificate), callers=callers) as service:
        service.client_tls = client_tls(authority, known)
        assert service.ask(EVALUATION, asked()).decision is True
        assert service.log.records[-1]["caller"] == "gateway"
        service.client_tls = client_tls(authority, unknown)
        assert service.ask(EVALUATION, asked()).error["status"] == 401
        for pair in (None, foreign):
            service.client_tls = client_tls(authority, pair)
            with pytest.raises(OSError, match=r"(?i)certificate|unknown ca|reset|eof|closed|pipe"):
                service.ask(EVALUATION, asked())


def test_certificates_that_change(files: tuple[Authority, TlsFiles], tmp_path: Path) -> None:
    """A new certificate on disk serves new connections; a broken one leaves the one before in use."""
    authority, paths = files
    certificate = ServerCertificate(paths)
    with serving(tls=TlsContexts(certificate)) as service:
        paths.key.write_bytes(b"broken")
        service.client_tls = client_tls(authority)
        assert service.ask(EVALUATION, asked()).decision is True
        assert certificate.problems
        successor = Authority("successor")
        successor.issue("127.0.0.1").write(tmp_path, "server")
        service.client_tls = client_tls(successor)
        assert service.ask(EVALUATION, asked()).decision is True
        assert not certificate.problems
