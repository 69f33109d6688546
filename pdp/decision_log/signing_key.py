"""Keys that sign and check the log's checkpoints: Ed25519, PEM."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pdp.errors import ConfigError
from pdp.secret_files import read_secret

_MAX_FILE_BYTES = 64 * 1024


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file that nobody else can read. Raises ConfigError."""
    data = _read(path, read_secret)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError([f"`{path}` is not a private key in PEM without a password"]) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError([f"`{path}` is not an Ed25519 key; `pdp log keygen` makes one"])
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The public key in a file. Raises ConfigError."""
    try:
        key = load_pem_public_key(_read(path, _read_any))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError([f"`{path}` is not a public key in PEM"]) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError([f"`{path}` is not an Ed25519 key"])
    return key


def write_new_key(path: Path) -> str:
    """Make a private key in a new file of mode 0600; its public key in PEM. Raises OSError."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _read_any(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most_bytes)


def _read(path: Path, read: Callable[[Path, int], bytes]) -> bytes:
    try:
        return read(path, _MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError([f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}"]) from error
