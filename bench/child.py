"""What a process of a run does that answers commands: one line of JSON on stdin, one on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO


def answers_stream() -> TextIO:
    """Stdout for answers alone: whatever else prints goes to stderr."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def serve_commands(out: TextIO, ready: dict[str, Any], answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write `ready`, then one answer for each command, until stdin ends."""
    out.write(json.dumps(ready) + "\n")
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")


def rss_mib() -> float:
    """How much memory of this process is resident, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
