"""What the decision log says of calls, held to what the oracle says.

The log must hold arguments in full. Of callers who only count their answers it is all there is to check.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.faults.worlds import SERVER, Rules, arguments

Record = dict[str, Any]

#: The kinds of records that are about a call.
_CALLS = ("authorize", "decide", "intercept")


def lines(log: Path) -> list[Record | None]:
    """All lines of a log, writer by writer in their order; None is one that is not whole."""
    # Every worker has a file of its own: `decisions.jsonl`, `decisions.1.jsonl`.
    files = sorted(log.parent.glob(f"{log.stem}*{log.suffix}"))
    return [_record(line) for file in files for line in file.read_bytes().splitlines()]


def _record(line: bytes) -> Record | None:
    try:
        found: Record = json.loads(line)
    except ValueError:
        return None
    return found


def calls(found: Iterable[Record | None]) -> list[Record]:
    """Those of them that are about a call. Fails if one is torn, or says that records were lost."""
    kept = []
    for record in found:
        assert record is not None, "a line that is torn"
        assert record["kind"] != "gap", record
        if record["kind"] in _CALLS:
            kept.append(record)
    return kept


def disagreement(record: Record, table: Mapping[str, Rules]) -> str:
    """What the oracle has against the record of a call, or nothing."""
    rules = table.get(record["revision"])
    if rules is None:
        return f"a revision that nobody wrote: {record}"
    name, number = record["action"]["id"].removeprefix(f"{SERVER}/"), json.loads(record["arguments"])["n"]
    kind = record["kind"]
    seen = number if kind == "authorize" else rules.seen(name, number)
    allowed = kind == "intercept" or rules.allows(name, seen)
    expected = ("ALLOW", "") if allowed else ("DENY", "NO_MATCHING_POLICY")
    payload = None if seen == number else hashlib.sha256(arguments(seen)).hexdigest()
    if (record["decision"], record["code"]) != expected or record.get("payload_sha256") != payload:
        return f"{kind} of {name} {number}, seen as {seen}, by {rules} is {record}"
    return ""


def swaps(found: Iterable[Record], table: Mapping[str, Rules]) -> int:
    """How often two calls on end that ran the same writer's module ran another module each."""
    ran = [record for record in found if record["kind"] != "authorize" and record["interceptors"]]
    modules = [(record["writer"], table[record["revision"]].shifted) for record in ran]
    return sum(before[0] == after[0] and before != after for before, after in pairwise(modules))
