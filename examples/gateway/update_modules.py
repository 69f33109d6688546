"""Copy the interceptors of the bundle from build/interceptors, where `make modules` builds them.

    python examples/gateway/update_modules.py

The digests in `bundle.toml` are written anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_BUNDLE = Path(__file__).resolve().with_name("bundle")
_BUILT = _BUNDLE.parents[2] / "build" / "interceptors"


def main() -> None:
    """Copy all of them; those that were not built are an OSError."""
    manifest = _BUNDLE / "bundle.toml"
    text = manifest.read_text("utf-8")
    for module in sorted((_BUNDLE / "interceptors").glob("*.wasm")):
        old, new = module.read_bytes(), (_BUILT / module.name).read_bytes()
        text = text.replace(hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest())
        module.write_bytes(new)
    manifest.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
