"""SHA-256 of texts that are mostly short."""

from __future__ import annotations

import hashlib

#: OpenSSL looks up its implementation for each new object, which touches so much memory that the processor has to fetch
#: it anew for every record. A copy of one that is there already needs less.
_begun = hashlib.sha256()


def sha256(data: bytes) -> bytes:
    """The digest of `data`, 32 bytes."""
    found = _begun.copy()
    found.update(data)
    return found.digest()
