"""Keys that sign and check the log's checkpoints: Ed25519, PEM."""

from __future__ import annotations

import os
import stat
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

_MAX_FILE_BYTES = 64 * 1024


def read_signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file that nobody else can read. Raises ConfigError.

    Somebody else's file may be readable for its group: an orchestrator hands over secrets as root's, and the group is
    how they can be read at all.
    """
    data, status = _read(path)
    if stat.S_IMODE(status.st_mode) & (0o077 if status.st_uid == os.geteuid() else 0o037):
        raise ConfigError([f"`{path}` is a private key that others can read; `chmod 600` it, or make a new one"])
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
        key = load_pem_public_key(_read(path)[0])
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


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES), os.fstat(file.fileno())
    except OSError as error:
        raise ConfigError([f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}"]) from error
