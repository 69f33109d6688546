"""The interceptors in the corpus' bundles: each `.wasm` file is the `.wat` file of its name in `guests/`.

`python -m tests.corpus.assemble`, from the root of the repository, writes them anew; `test_corpus.py` compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wasmtime import wat2wasm

_HERE = Path(__file__).resolve().parent
GUESTS = _HERE / "guests"


def modules() -> Iterator[tuple[Path, bytes]]:
    """Every module of a bundle: where it is, and what should be there."""
    for path in sorted((_HERE / "bundles").glob("*/interceptors/*.wasm")):
        yield path, bytes(wat2wasm((GUESTS / f"{path.stem}.wat").read_text("utf-8")))


if __name__ == "__main__":
    for module, content in modules():
        module.write_bytes(content)
