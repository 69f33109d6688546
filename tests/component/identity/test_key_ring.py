"""Tokens, keys, threads and servers together."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pdp.errors import InvalidTokenError
from pdp.identity.config import IdentityConfig
from pdp.identity.keys import KeyRing, make_key_ring
from pdp.identity.tokens import TokenVerifier
from tests.component.identity.serving import answering, response, server_context, serving
from tests.unit.identity.making import ISSUER, NOW, claims, config, issuer, key_set, signer
from tests.waiting import wait_until

SECOND = "https://other.example.com/"


class Believing:
    """A verifier whose keys are read in the background while the context lasts."""

    def __init__(self, section: IdentityConfig) -> None:
        self.reports: list[tuple[str, list[str]]] = []
        self.ring: KeyRing = make_key_ring(section, self._report)
        self.verifier = TokenVerifier(section, self.ring)

    def _report(self, issuer: str, problems: Sequence[str]) -> None:
        self.reports.append((issuer, list(problems)))

    def __enter__(self) -> Believing:
        self.ring.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ring.stop()

    def takes(self, token: str) -> bool:
        """Whether the token establishes anybody."""
        try:
            self.verifier.verify(token, NOW)
        except InvalidTokenError:
            return False
        return True


def _at(url: str, **more: Any) -> dict[str, Any]:
    return issuer(jwks_file=None, jwks_url=url, allow_insecure_jwks_url=url.startswith("http:"), **more)


def test_keys_are_there_from_the_start(tmp_path: Path) -> None:
    """When the start is over, the keys of files and servers have been read, and each issuer's tokens are taken."""
    first, second = signer("k1"), signer("e1", "ES256")
    (tmp_path / "keys.json").write_bytes(key_set(first))
    context, certificate = server_context(tmp_path)
    with serving(answering(response(key_set(second))), context) as server:
        over_tls = _at(
            server.url(), jwks_ca_file=certificate, issuer=SECOND, algorithms=["ES256"], principal_type="Bot"
        )
        with Believing(config(issuer(jwks_file=str(tmp_path / "keys.json")), over_tls)) as at:
            assert at.takes(first.token(claims()))
            assert at.takes(second.token(claims(iss=SECOND)))
            assert at.ring.problems() == []
    assert at.reports == []


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    """When the file is replaced, its new keys are used and its old ones no longer, without a restart."""
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(signer("k1")))
    with Believing(config(issuer(jwks_file=str(path)))) as at:
        assert at.takes(signer("k1").token(claims()))
        assert not at.takes(signer("k2").token(claims()))
        (tmp_path / "new").write_bytes(key_set(signer("k2")))
        (tmp_path / "new").rename(path)
        wait_until(lambda: at.takes(signer("k2").token(claims())), "the new key")
        assert not at.takes(signer("k1").token(claims()))
        path.unlink()
        wait_until(at.ring.problems, "that the file is gone")
        assert at.takes(signer("k2").token(claims()))
    assert [name for name, _ in at.reports] == [ISSUER]


def test_rotation_at_a_server() -> None:
    """A token with a key that is not known yet has the keys read again, and is taken when they were."""
    with serving(answering(response(key_set(signer("k1"))))) as server:
        with Believing(config(_at(server.url()), jwks_retry_seconds=1)) as at:
            assert at.takes(signer("k1").token(claims()))
            server.answer = answering(response(key_set(signer("k2"))))
            assert at.takes(signer("k1").token(claims()))
            wait_until(lambda: at.takes(signer("k2").token(claims())), "the new key")
            assert not at.takes(signer("k1").token(claims()))
        assert len(server.requests) == 2


def test_a_server_that_is_away_at_the_start() -> None:
    """Without keys every token is refused, and that is told; when the server is back, tokens are taken."""
    token = signer("k1").token(claims())
    with serving(answering(b"garbage")) as server:
        with Believing(config(_at(server.url()), jwks_retry_seconds=1)) as at:
            assert not at.takes(token)
            assert at.ring.problems()[0].startswith(f"there are no keys of issuer `{ISSUER}`: `{server.url()}` cannot")
            server.answer = answering(response(key_set(signer("k1"))))
            wait_until(lambda: at.takes(token), "the server")
            wait_until(lambda: at.reports[-1] == (ISSUER, []), "the all-clear")
        assert len(at.reports) == 2


def test_a_slow_server_holds_nobody_up() -> None:
    """While a server takes its time, tokens are answered, those of other issuers with yes; stopping waits for it."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(connection: socket.socket, request: bytes) -> None:
        asked.set()
        go_on.wait()
        connection.sendall(response(key_set(signer("k1"))))

    with serving(slow) as slow_server, serving(answering(response(key_set(signer("k2"))))) as quick_server:
        quick = _at(quick_server.url(), issuer=SECOND, principal_type="Bot")
        section = config(_at(slow_server.url()), quick, jwks_timeout_seconds=60)
        at = Believing(section)
        starting = threading.Thread(target=at.ring.start)
        starting.start()
        asked.wait()
        wait_until(lambda: at.takes(signer("k2").token(claims(iss=SECOND))), "the quick server")
        assert not at.takes(signer("k1").token(claims()))
        go_on.set()
        wait_until(lambda: at.takes(signer("k1").token(claims())), "the slow server")
        starting.join()
        at.ring.stop()
    assert [thread.name for thread in threading.enumerate() if thread.name == "issuer-keys"] == []


@pytest.mark.parametrize("count", [0, 2])
def test_stopping_ends_every_thread(tmp_path: Path, count: int) -> None:
    """When stopped, nothing runs any more, with any number of issuers."""
    (tmp_path / "keys.json").write_bytes(key_set(signer("k1")))
    issuers = [
        issuer(issuer=f"issuer-{number}", jwks_file=str(tmp_path / "keys.json"), principal_type=f"User{number}")
        for number in range(count)
    ]
    with Believing(IdentityConfig.model_validate({"issuer": issuers})):
        assert len([thread for thread in threading.enumerate() if thread.name == "issuer-keys"]) == count
    assert [thread for thread in threading.enumerate() if thread.name == "issuer-keys"] == []
