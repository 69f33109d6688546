"""`pdp caller-key`: a new key for a caller, and its digest for the configuration."""

from __future__ import annotations

import hashlib
import secrets
from argparse import Namespace

from pdp.cli.terminal import answer, answer_json

#: More than anybody can guess, so a plain digest protects it at rest.
_KEY_BYTES = 32


def run(arguments: Namespace) -> int:
    """Print both; neither is kept anywhere."""
    key = secrets.token_urlsafe(_KEY_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    if arguments.json:
        answer_json({"key": key, "sha256": digest})
    else:
        answer(f"key     {key}\nsha256  {digest}")
    return 0
