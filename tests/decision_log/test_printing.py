"""A killed process whose log is its standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

PRINTING = Path(__file__).with_name("printing.py")


def printed(spool: Path, kill_after: int) -> tuple[bytes, list[str]]:
    """What a process printed that was killed after so many answers (0: it ended by itself), and what it answered."""
    reading, writing = os.pipe()
    command = [sys.executable, str(PRINTING), str(spool), str(writing), "0" if kill_after else "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(writing,))
    os.close(writing)
    assert process.stdout is not None
    out: list[bytes] = []
    reader = threading.Thread(target=lambda: out.append(process.stdout.read() if process.stdout else b""))
    reader.start()
    with os.fdopen(reading, "rb") as answers:
        found = [answers.readline() for _ in range(kill_after)]
        if kill_after:
            process.send_signal(signal.SIGKILL)
        found += answers.readlines()
    reader.join()
    process.stdout.close()
    process.wait()
    return out[0], [line.decode().strip() for line in found if line.endswith(b"\n")]


@pytest.mark.parametrize("count", [1, 100, 5_000, 20_000])
def test_what_was_answered_is_printed(tmp_path: Path, count: int) -> None:
    """What a killed process answered is in the pipe, or the next one prints it; at most one batch is there twice."""
    before, answered = printed(tmp_path, count)
    after, more = printed(tmp_path, 0)
    lines = before[: before.rfind(b"\n") + 1].splitlines() + after.splitlines()
    ids = [record["decision_id"] for line in lines if "decision_id" in (record := json.loads(line))]
    assert set(answered) | set(more) <= set(ids)
    # A batch of 256 KiB of such lines.
    assert len(ids) - len(set(ids)) <= 256 * 1024 // len(lines[0]) + 1
