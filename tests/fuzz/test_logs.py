"""Decision logs and spools with damage, or that somebody made up: read, told, and nothing else.

`PDP_FUZZ_SECONDS` and `PDP_FUZZ_SEED` as in `test_requests`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdp.cli.entry import main
from pdp.decision_log import draining
from pdp.decision_log.backlog import Batch
from pdp.decision_log.draining import Checkpoints
from pdp.decision_log.exporting import ExportError
from pdp.decision_log.otlp_exporter import OtlpExporter
from pdp.decision_log.otlp_messages import ExportRequest, ExportResponse
from pdp.decision_log.segment import segment_path
from pdp.decision_log.slot import Slot, State, claim
from pdp.decision_log.spool_sink import SpoolSink
from tests.fuzz.hostile_json import JsonMaker
from tests.fuzz.hostile_logs import LogMaker, good_lines
from tests.fuzz.test_documents import chances
from tests.waiting import wait_until

_QUERIES = ((), ("--json",), ("--policy", "p"), ("--subject", "x"), ("--tool", "srv/*"), ("--since", "2026-01-01"))


def test_no_log_is_a_bug_and_none_with_damage_is_a_good_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in a log's files, `pdp log` reads it or says why not, and only what was written is nothing wrong."""
    lines = good_lines(8)
    whole = b"".join(lines)
    for chance in chances(150, "log"):
        data = LogMaker(chance).log(lines)
        packed = chance.randrange(4) == 0
        file = tmp_path / ("log.jsonl.gz" if packed else "log.jsonl")
        kept = gzip.compress(data, mtime=0)
        file.write_bytes((JsonMaker(chance).damaged(kept) if chance.randrange(2) else kept) if packed else data)
        status = main(["log", "verify", str(file), *(("--json",) if chance.randrange(2) else ())])
        if status == 0:
            assert whole.startswith(data), data
            assert data.endswith(b"\n")
        assert main(["log", "query", str(file), *chance.choice(_QUERIES)]) in (0, 1, 2)
        told = capsys.readouterr()
        assert "Traceback" not in told.err, (data, told.err)
        assert all(line.isprintable() for line in told.out.split("\n") if "\r" not in line)
    assert main(["log", "verify", str(_written(tmp_path / "good.jsonl", whole))]) == 0


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- the spool -------------------------------------------------------------------------------------------------------


class _Collector:
    """A collector of OTLP as `grpc.Channel` shows it; dead until it is told to live."""

    def __init__(self) -> None:
        self.alive = False
        self.bodies: list[bytes] = []

    def unary_unary(self, method: str, write: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> Any:
        """As in grpc: the request goes through its bytes."""

        def export(request: Any, timeout: float, metadata: object) -> Any:
            sent = ExportRequest.FromString(write(request))
            for record in sent.resource_logs[0].scope_logs[0].log_records:
                self.bodies.append(record.body.string_value.encode())
            return read(ExportResponse().SerializeToString())

        return export

    def close(self) -> None:
        """Nothing is held."""


class _Medium(OtlpExporter):
    """The real exporter; fails as a dead one does until the collector lives."""

    def __init__(self, collector: Any) -> None:
        super().__init__(collector, {})
        self._collector = collector

    def export(self, batch: Batch) -> None:
        """As in `Exporter`."""
        if not self._collector.alive:
            raise ExportError("dead")
        super().export(batch)


def _left(slot: Slot, data: bytes) -> None:
    """What a process left in its slot."""
    segment_path(slot.directory, 0).write_bytes(data)


def test_no_spool_stops_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of a spool: its state can be told, whole records in it are delivered, and so is what comes."""
    monkeypatch.setattr(draining, "_STEP_SECONDS", 0.002)
    monkeypatch.setattr(draining, "_RETRY_SECONDS", 0.002)
    lines = good_lines(20)
    for number, chance in enumerate(chances(60, "spool")):
        root = tmp_path / str(number)
        slot = claim(root)
        data = LogMaker(chance).log(lines)
        _left(slot, data + bytes(chance.choice((0, 0, 1, 4_096))))
        kept = chance.randrange(4)
        if kept == 0:
            slot.keep(State(0, chance.choice((0, 1, 2**64 - 1)), chance.choice((0, 2**63, 2**64 - 1))))
        elif kept == 1:
            (slot.directory / "state").write_bytes(chance.randbytes(chance.randrange(40)))
        slot.close()
        _deliver(root, data, lines)


def _deliver(root: Path, data: bytes, lines: list[bytes]) -> None:
    collector, problems = _Collector(), list[str]()
    medium = lambda _: _Medium(collector)  # noqa: E731
    sink = SpoolSink(root, 1 << 20, "deny", medium, Checkpoints(3_600, None), problems.append)
    try:
        sink.write('{"kind":"authorize","time":"2026-01-02T03:04:05.000000Z","n":"new"}')
        wait_until(lambda: sink.status().failing, "it is tried")
        sink.status()
        collector.alive = True
        wait_until(lambda: any(b'"n":"new"' in body for body in collector.bodies), f"the new one arrives: {data!r}")
        whole = [line[:-1] for line in lines if line[:-1] in data.split(b"\n")[:-1]]
        assert set(whole) <= set(collector.bodies), (data, problems)
    finally:
        sink.close()
