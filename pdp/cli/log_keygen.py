"""`pdp log keygen`: a key that signs the decision log's checkpoints."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from pdp.cli.failure import CommandError
from pdp.cli.terminal import answer, answer_json
from pdp.decision_log.signing_key import write_new_key


def run(arguments: Namespace) -> int:
    """Write the private key, print the public one. Raises CommandError."""
    try:
        public = write_new_key(Path(arguments.path))
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise CommandError(f"`{arguments.path}` cannot be made: {cause}") from error
    if arguments.json:
        answer_json({"private_key": arguments.path, "public_key": public})
    else:
        answer(public.rstrip())
    return 0
