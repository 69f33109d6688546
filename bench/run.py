"""`python -m bench.run`: run the benchmarks, print their tables, keep their figures."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.batch_rows import batch_rows
from bench.core_rows import entity_rows, policy_rows, value_rows
from bench.decide_rows import decide_rows
from bench.decision_log import decision_log_rows
from bench.interceptors.rows import interceptor_rows
from bench.processes import ROOT, BenchError, find_cores
from bench.reload_rows import reload_rows
from bench.report import Section, as_json, as_markdown, describe_machine
from bench.run_options import Run
from bench.unary_rows import unary_rows
from bench.worker_rows import worker_rows

_ROWS: Mapping[str, Callable[[Run], list[Section]]] = {
    "policies": policy_rows,
    "entities": entity_rows,
    "values": value_rows,
    "unary": unary_rows,
    "batch": batch_rows,
    "reload": reload_rows,
    "decide": decide_rows,
    "workers": worker_rows,
    "decision-log": decision_log_rows,
    "interceptors": interceptor_rows,
}


def main() -> int:
    """Run what the command line asks for; 0 unless something could not be measured."""
    options = _options()
    # A signal ends the run as an exception does, so that everything it started is stopped.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    cores = find_cores()
    about = _about(options)
    if cores.load is not None:
        os.sched_setaffinity(0, {cores.load})
    sections: list[Section] = []
    with tempfile.TemporaryDirectory(prefix="pdp-bench-") as work:
        run = Run(cores, Path(work), options.quick, not options.no_peers, time.monotonic())
        try:
            for name in options.only or _ROWS:
                sections += _ROWS[name](run)
        except BenchError as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        about["seconds"] = round(time.monotonic() - run.started)
        about["load_average_after"] = os.getloadavg()[0]
    text = as_markdown(sections, about)
    sys.stdout.write(text)
    _keep(text, as_json(sections, about), about["time"], record=options.record)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the service and its peers side by side.")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, for trying")
    parser.add_argument("--only", action="append", choices=list(_ROWS), metavar="ROW", help=", ".join(_ROWS))
    parser.add_argument("--no-peers", action="store_true", help="leave out what is not this project")
    parser.add_argument("--record", action="store_true", help="write bench/RESULTS.md too")
    return parser.parse_args()


def _about(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": options.quick,
        **describe_machine(),
        "load_average_before": os.getloadavg()[0],
    }


def _keep(text: str, document: str, moment: str, *, record: bool) -> None:
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    path = results / f"{moment.replace(':', '').removesuffix('+0000')}.json"
    path.write_text(document)
    sys.stderr.write(f"kept in {path.relative_to(ROOT)}\n")
    if record:
        (ROOT / "bench" / "RESULTS.md").write_text(text)


if __name__ == "__main__":
    sys.exit(main())
