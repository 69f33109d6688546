"""The row family `interceptors`."""

from __future__ import annotations

from bench.interceptors.call_rows import call_rows, chain_rows
from bench.interceptors.life_rows import compile_rows, memory_rows
from bench.interceptors.limit_rows import limit_rows
from bench.interceptors.modules import find_modules, loadable
from bench.interceptors.wire_rows import wire_rows
from bench.report import Section
from bench.run_options import Run


def interceptor_rows(run: Run) -> list[Section]:
    """What interceptors cost: calls, chains, the wire, limits, loading, memory."""
    modules = loadable(run, find_modules(run.work))
    return [
        *call_rows(run, modules),
        *chain_rows(run, modules),
        *wire_rows(run, modules),
        *limit_rows(run),
        *compile_rows(run, modules),
        *memory_rows(run, modules),
    ]
