"""Certificates made for one test: an authority, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFE = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """Write both below `directory`; their paths."""
        paths = (directory / f"{name}.pem", directory / f"{name}.key")
        for path, content in zip(paths, (self.certificate, self.key), strict=True):
            # A file that is replaced keeps its mode.
            path.touch(0o600)
            path.write_bytes(content)
        return str(paths[0]), str(paths[1])


class Authority:
    """Signs certificates. `pem` is its own."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        built = _builder(self._name, self._name, self._key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        self.pem = built.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, *names: str, life: dt.timedelta = _LIFE) -> Pair:
        """A certificate for these: IP addresses, URIs, DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        built = _builder(subject, self._name, key, life).add_extension(alternatives, critical=False)
        certificate = built.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(certificate.public_bytes(Encoding.PEM), private)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta = _LIFE
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    start, end = sorted((now - dt.timedelta(minutes=5), now + life))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
