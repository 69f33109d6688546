"""Digests of short and of long texts."""

from __future__ import annotations

import hashlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log import digests

_SHORT = digests.SHORT_BYTES


@given(st.integers(0, 2 * _SHORT) | st.sampled_from([_SHORT, _SHORT + 1]), st.binary(min_size=1, max_size=8))
def test_a_digest_is_that_of_the_standard(length: int, pattern: bytes) -> None:
    """Whoever computes it, the digest of a text of any length is its SHA-256."""
    text = (pattern * length)[:length]
    assert digests.sha256(text) == hashlib.sha256(text).digest()


def test_a_known_digest() -> None:
    """The digest of `abc` is the one in FIPS 180."""
    assert digests.sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_without_an_implementation_of_its_own_openssl_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that was built without its own SHA-256 writes the log all the same."""
    for name in ("_sha2", "_sha256"):
        monkeypatch.setitem(sys.modules, name, None)
    assert digests._for_short_texts() is hashlib.sha256


def test_in_a_row_the_digest_is_the_same() -> None:
    """A text has one digest, alone and after others."""
    assert digests.sha256_in_row(b"abc") == digests.sha256(b"abc")
