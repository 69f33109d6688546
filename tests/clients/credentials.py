"""Certificates and keys that are made for one run and are worth nothing after it."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_NAME = "pdp.test"
CLIENT_NAME = "spiffe://pdp.test/edge"

# What is in the store is no secret; Java wants one that is made with a password.
_STORE_PASSWORD = "changeit"

_LIFETIME = dt.timedelta(hours=12)
_NAMES = (
    x509.DNSName(SERVER_NAME),
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
)


@dataclass(frozen=True)
class Credentials:
    """The files, all PEM, in `directory`, and the keys by the names that cases use."""

    directory: Path
    keys: dict[str, str]

    def file(self, name: str) -> Path:
        """`ca`, `wrong-ca`, or `server` or `client` with `.key` for the private key."""
        return self.directory / f"{name}.pem"

    @property
    def key_digest(self) -> str:
        """What the service is told of the key `good`."""
        return hashlib.sha256(self.keys["good"].encode()).hexdigest()


def system_roots(credentials: Credentials) -> dict[str, str]:
    """An environment in which the authority is one of the system's, in all the ways that the libraries know."""
    path = credentials.directory / "roots.p12"
    if not path.exists():
        [authority] = x509.load_pem_x509_certificates(credentials.file("ca").read_bytes())
        entry = pkcs12.PKCS12Certificate(authority, b"authority")
        encryption = serialization.BestAvailableEncryption(_STORE_PASSWORD.encode())
        path.write_bytes(pkcs12.serialize_java_truststore([entry], encryption))
    names = ("SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS")
    store = "-Djavax.net.ssl.trustStore"
    java = f"{store}={path} {store}Password={_STORE_PASSWORD} {store}Type=PKCS12"
    return {**dict.fromkeys(names, str(credentials.file("ca"))), "JAVA_TOOL_OPTIONS": java}


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_credentials(directory: Path) -> Credentials:
    """Write certificates into `directory`, and make keys."""
    found = Credentials(directory, {"good": secrets.token_urlsafe(24), "bad": secrets.token_urlsafe(24)})
    right, wrong = _authority("right"), _authority("wrong")
    found.file("ca").write_bytes(_pem(right.certificate))
    found.file("wrong-ca").write_bytes(_pem(wrong.certificate))
    _issue(found, right, "server", _NAMES, ExtendedKeyUsageOID.SERVER_AUTH)
    _issue(found, right, "client", (x509.UniformResourceIdentifier(CLIENT_NAME),), ExtendedKeyUsageOID.CLIENT_AUTH)
    return found


def _authority(name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"the {name} authority")])
    builder = _builder(subject, subject, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = builder.add_extension(usage, critical=True)
    return _Authority(builder.sign(key, hashes.SHA256()), key)


def _issue(
    found: Credentials,
    authority: _Authority,
    name: str,
    names: tuple[x509.GeneralName, ...],
    use: x509.ObjectIdentifier,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(subject, authority.certificate.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    found.file(name).write_bytes(_pem(certificate))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found.file(f"{name}.key").touch(0o600)
    found.file(f"{name}.key").write_bytes(key.private_bytes(*encoding))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
