"""`python printing.py SPOOL DESCRIPTOR COUNT`: writes records for ever to standard output, or `COUNT` if that is not 0.

Each number goes to the descriptor once its `write` has returned, as an answer would. The test kills it.
"""

from __future__ import annotations

import os
import sys
from itertools import count

from pdp.decision_log.opening import open_sink
from pdp.decision_log_config import DecisionLogConfig

_RECORD = '{"kind":"authorize","time":"2026-01-02T03:04:05.678901Z","decision_id":"%s"}'


def main() -> None:
    """Write until killed."""
    answers, most = int(sys.argv[2]), int(sys.argv[3])
    sink = open_sink(DecisionLogConfig(sink="stdout", spool_dir=sys.argv[1]), {}, lambda problem: None)
    for number in range(most) if most else count():
        record_id = f"{os.getpid()}-{number}"
        sink.write(_RECORD % record_id)
        os.write(answers, f"{record_id}\n".encode())
    sink.close()


if __name__ == "__main__":
    main()
