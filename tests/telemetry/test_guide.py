"""The guide's example, run as it stands: one decision is found by its ids in everything that tells of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from tests.grpc.service import configuration
from tests.telemetry.collector import attributes, collecting
from tests.telemetry.world import get, observed, value

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "observing.md"


def blocks(language: str) -> list[str]:
    """The guide's examples in one language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def test_the_example_joins(tmp_path: Path) -> None:
    """The answer, the span and the decision line of the example's call have the ids that the guide says."""
    [example] = blocks("python")
    with (
        collecting() as collector,
        observed(tmp_path, telemetry={"otlp_endpoint": collector.address, "trace_share": 0.0}) as service,
    ):
        names: dict[str, Any] = {"address": service.address}
        exec(compile(example, str(GUIDE), "exec"), names)  # noqa: S102 - the example of our own guide
        answer = names["answer"]
        span = collector.named("DecisionService.Decide")
        record = service.record_of(answer.decision_id)
        assert span.trace_id.hex() == record["trace_id"] == names["trace_id"]
        assert span.parent_span_id.hex() == names["parent_id"]
        assert span.span_id.hex() == record["span_id"]
        assert attributes(span)["pdp.decision_id"] == record["decision_id"] == answer.decision_id
        assert attributes(span)["pdp.request_id"] == record["request_id"] == "r-7"
        assert value(service.app.telemetry_address, "pdp_decisions_total", kind="decide", decision="ALLOW") == 1


def test_the_pages_are_there(tmp_path: Path) -> None:
    """Every path of the guide's table is answered."""
    paths = re.findall(r"^\| `(/\w+)` \|", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert len(paths) == 3
    with observed(tmp_path) as service:
        assert {get(service.app.telemetry_address, path).status for path in paths} == {200}


def test_the_settings_exist(tmp_path: Path) -> None:
    """The guide's configuration is one."""
    for block in blocks("toml"):
        sections = tomllib.loads(block)
        if "server" in sections:
            sections["bundle"] = {"watch": True}
        configuration(tmp_path, sections)
