"""The service's certificate, read again when its files change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from pdp.errors import ConfigError
from pdp.secret_files import read_secret

_MAX_KEY_BYTES = 1024 * 1024

_Stamp = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM texts that belong together: a certificate chain, its key, and what checks the clients' certificates."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where they are. With `client_ca`, every client needs a certificate."""

    certificate: Path
    key: Path
    client_ca: Path | None

    def read(self) -> Pem:
        """Their contents, checked: they parse, and the key is the certificate's. Raises ConfigError."""
        problems: list[str] = []
        certificate = _read(self.certificate, problems)
        key = _read_key(self.key, problems)
        client_ca = _read(self.client_ca, problems) if self.client_ca is not None else None
        if not problems:
            _check_pair(self, certificate, key, problems)
            if client_ca is not None and not _certificates(client_ca):
                problems.append(f"`{self.client_ca}` holds no certificate in PEM")
        if problems:
            raise ConfigError(problems)
        return Pem(certificate, key, client_ca)

    def stamp(self) -> _Stamp:
        """Changes whenever the files do. A file that is not there counts as one of its own kind."""
        paths = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        return tuple(map(_file_stamp, paths))


class ServerCertificate:
    """The certificate in use. New connections get a new one when the files have changed; others stay as they are.

    Files that do not fit together leave the one before in use, and `problems` says so.
    """

    def __init__(self, files: TlsFiles, report: Callable[[list[str]], None] = lambda problems: None) -> None:
        """Raises ConfigError if the files cannot be used."""
        #: Where it is.
        self.files = files
        self._report = report
        self._stamp = files.stamp()
        self._lock = threading.Lock()
        #: What is in use.
        self.pem = files.read()
        #: Why what is on disk is not what is in use; empty if it is.
        self.problems: list[str] = []

    def refresh(self) -> None:
        """Look at the files, and take what is in them if it can be used."""
        with self._lock:
            stamp = self.files.stamp()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                self.pem, self.problems = self.files.read(), []
            except ConfigError as error:
                self.problems = [f"the certificate on disk is not in use: {problem}" for problem in error.problems]
                self._report(self.problems)

    def credentials(self) -> grpc.ServerCredentials:
        """For a grpc server; each new connection has the files looked at."""

        given = self.pem

        def current() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            self.refresh()
            if self.pem == given:
                return None
            given = self.pem
            return _grpc_certificate(given)

        # That None means no change is documented; the types of grpc do not say so.
        look: Callable[[], Any] = current
        return grpc.dynamic_ssl_server_credentials(
            _grpc_certificate(given), look, require_client_authentication=given.client_ca is not None
        )


def _grpc_certificate(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)


def _read(path: Path, problems: list[str]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        problems.append(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}")
        return b""


def _read_key(path: Path, problems: list[str]) -> bytes:
    try:
        return read_secret(path, _MAX_KEY_BYTES)
    except ConfigError as error:
        problems += error.problems
    except OSError as error:
        problems.append(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}")
    return b""


def _check_pair(files: TlsFiles, certificate: bytes, key: bytes, problems: list[str]) -> None:
    chain = _certificates(certificate)
    if not chain:
        problems.append(f"`{files.certificate}` holds no certificate in PEM")
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError):  # TypeError: it has a password
        problems.append(f"`{files.key}` holds no private key in PEM without a password")
        return
    if chain and _public(private.public_key()) != _public(chain[0].public_key()):
        problems.append(f"`{files.key}` is not the key of `{files.certificate}`")


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _file_stamp(path: Path) -> tuple[int, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0, 0)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
