"""`python writing.py ROOT LOG THREADS [FILLER_BYTES]`: writes records for ever, and tells each one that is answered.

It is what a service does, without the rest of it: once `write` has returned, the number goes to standard output, as an
answer would. The test kills it.
"""

from __future__ import annotations

import os
import sys
import threading
from itertools import count
from pathlib import Path

from pdp.decision_log.draining import Checkpoints
from pdp.decision_log.file_exporter import FileExporter, path_of_writer
from pdp.decision_log.spool_sink import SpoolSink

_TIME = "2026-01-02T03:04:05.678901Z"


def _tell(problem: str) -> None:
    sys.stderr.write(f"{problem}\n")


def main() -> None:
    """Write until killed."""
    root, log, threads, filler = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), "x" * int(sys.argv[4])
    sink = SpoolSink(
        root,
        8 << 20,
        "block",
        lambda slot: FileExporter(path_of_writer(log, slot), 1 << 20, 0),
        Checkpoints(0.1, None),
        _tell,
    )

    def work(name: int) -> None:
        for number in count():
            record_id = f"{os.getpid()}-{name}-{number}"
            sink.write(f'{{"kind":"authorize","time":"{_TIME}","decision_id":"{record_id}","filler":"{filler}"}}')
            os.write(1, f"{record_id}\n".encode())

    for name in range(threads):
        threading.Thread(target=work, args=(name,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
