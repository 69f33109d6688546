"""The command line as a caller: TLS, keys, and what is not sent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pdp.cli import main
from tests.certificates import Authority
from tests.grpc.service import serving


def test_a_new_key_opens_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key that `pdp caller-key` prints gets an answer over TLS once its digest is configured; nobody else does."""
    assert main(["caller-key", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["sha256"] == hashlib.sha256(made["key"].encode()).hexdigest()
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "server")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "caller.key").write_text(made["key"] + "\n")
    server = {"listen": ["127.0.0.1:0"], "tls_certificate": certificate, "tls_key": key}
    callers = {"caller": [{"name": "operator", "rights": ["admin"], "keys_sha256": [made["sha256"]]}]}
    with serving(tmp_path, server=server, callers=callers) as service:
        status = ["status", "--address", service.address, "--tls-ca", str(tmp_path / "ca.pem")]
        assert main([*status, "--caller-key-file", str(tmp_path / "caller.key")]) == 0
        assert main(status) == 2
        assert "UNAUTHENTICATED" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--tls-certificate", "x"], "`--tls-certificate` and `--tls-key` go together"),
        (["--tls-certificate", "x", "--tls-key", "y"], "`--tls-certificate` needs `--tls` or `--tls-ca`"),
        (["--tls-ca", "nowhere"], "`nowhere` cannot be read"),
        (["--caller-key-file", "nowhere"], "`nowhere` cannot be read"),
    ],
)
def test_what_is_wrong_is_told(options: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that do not go together, and files that are not there, end before anything is sent."""
    assert main(["status", "--address", "127.0.0.1:1", *options]) == 2
    assert text in capsys.readouterr().err


def test_a_key_is_not_sent_in_clear(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """To another machine a key goes only over TLS, and no message holds it."""
    monkeypatch.setenv("PDP_CALLER_KEY", "hunter2")
    assert main(["status", "--address", "192.0.2.1:7437"]) == 2
    said = capsys.readouterr().err
    assert "is not sent to `192.0.2.1:7437` without TLS" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--on-behalf-of", 'User::"alice"'], "a token names itself whom it acts for"),
        (["--bundle", "examples/quickstart"], "tokens are verified by a service"),
    ],
)
def test_a_token_says_who_asks(
    tmp_path: Path, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token goes without a user beside it, and to a service; one that nobody signed is denied."""
    (tmp_path / "token").write_text("a.b.c\n")
    ask = ["authorize", "--token-file", str(tmp_path / "token"), "--tool", "srv/read"]
    assert main([*ask, *options]) == 2
    assert text in capsys.readouterr().err
    with serving(tmp_path) as service:
        assert main([*ask, "--address", service.address]) == 1
    assert "INVALID_TOKEN" in capsys.readouterr().out
