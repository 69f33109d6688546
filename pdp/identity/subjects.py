"""Verified tokens as the decision core takes subjects."""

from __future__ import annotations

import time
from collections.abc import Callable

from pdp.cedar.cache import BoundedCache
from pdp.cedar.json_text import canonical_text
from pdp.cedar.model import Subject
from pdp.identity.model import TokenSubject
from pdp.identity.tokens import TokenVerifier

_KEPT = 4_096


def subject_verifier(verifier: TokenVerifier, now: Callable[[], float] = time.time) -> Callable[[str], Subject]:
    """A function from a token to its subject, which raises InvalidTokenError. `now` is Unix time."""
    # By the identity of what was verified, which is one object for as long as its token is remembered.
    kept: BoundedCache[int, tuple[TokenSubject, Subject]] = BoundedCache(_KEPT)

    def verify(token: str) -> Subject:
        verified = verifier.verify(token, now())
        known = kept.get(id(verified))
        if known is None or known[0] is not verified:
            facts = canonical_text([dict(entity) for entity in verified.entities])
            known = (verified, Subject(verified.principal, verified.on_behalf_of, facts))
            kept.put(id(verified), known)
        return known[1]

    return verify
