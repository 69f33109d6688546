"""Digests of texts of any length."""

from __future__ import annotations

import hashlib
import threading

from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log import digests

#: From here on `hashlib` lets other threads run meanwhile.
_LONG = 2_048


@given(st.integers(0, 2 * _LONG) | st.sampled_from([_LONG - 1, _LONG]), st.binary(min_size=1, max_size=8))
def test_a_digest_is_that_of_the_standard(length: int, pattern: bytes) -> None:
    """The digest of a text of any length is its SHA-256."""
    text = (pattern * length)[:length]
    assert digests.sha256(text) == hashlib.sha256(text).digest()


def test_a_known_digest() -> None:
    """The digest of `abc` is the one in FIPS 180, however often it is asked for."""
    for _ in range(3):
        assert digests.sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_threads_do_not_mix_their_texts() -> None:
    """Several threads at once each get the digest of their own text, also of one that lets others run meanwhile."""
    wrong: list[bytes] = []

    def work(text: bytes) -> None:
        expected = hashlib.sha256(text).digest()
        wrong.extend(text[:1] for _ in range(500) if digests.sha256(text) != expected)

    threads = [threading.Thread(target=work, args=(bytes([65 + n]) * (n % 2 * 100_000 + 100),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
