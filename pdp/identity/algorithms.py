"""The signature algorithms that an issuer may be allowed, and which keys go with them.

All are asymmetric: whoever can check a token must not be able to make one. `none` and the HMACs are not among them.
"""

from __future__ import annotations

from typing import Final, Literal

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

#: For each kind of key, (`kty`, `crv`), the algorithms that it can check. RSA keys have no curve.
ALGORITHMS_OF_KEYS: Final[dict[tuple[str, str], frozenset[Algorithm]]] = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
