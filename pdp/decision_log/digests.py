"""SHA-256 of texts that are mostly short.

OpenSSL, which stands behind `hashlib`, computes faster and costs more to call: on its way it touches so much memory
that the processor has to fetch it anew for every record. For a short text Python's own implementation costs less in
all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

#: Longer texts are for OpenSSL.
SHORT_BYTES: Final = 1_024
#: Python's own implementation: since 3.12, and until then. A build may have neither.
_OWN: Final = ("_sha2", "_sha256")


def _for_short_texts() -> Callable[[bytes], Any]:
    try:
        if import_module("_hashlib").get_fips_mode():
            return hashlib.sha256  # who asks for that OpenSSL is to have no other
    except (ImportError, AttributeError, ValueError):
        pass
    for name in _OWN:
        try:
            found: Callable[[bytes], Any] = import_module(name).sha256
        except (ImportError, AttributeError):
            continue
        return found
    return hashlib.sha256


_of_short = _for_short_texts()


def sha256(data: bytes) -> bytes:
    """The digest of `data`, 32 bytes."""
    digest: bytes = (_of_short if len(data) <= SHORT_BYTES else hashlib.sha256)(data).digest()
    return digest


def sha256_in_row(data: bytes) -> bytes:
    """The same for texts one right after another: what OpenSSL touches is at hand then."""
    return hashlib.sha256(data).digest()
