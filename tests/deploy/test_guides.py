"""What the pages for operators promise of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "docs" / "guides"
THREATS = (GUIDES / "threat-model.md").read_text("utf-8")
OPERATING = (GUIDES / "operating.md").read_text("utf-8")
TESTS = {
    name
    for folder in (ROOT / "tests", ROOT / "clients" / "python")
    for path in folder.rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
}
CODE = "\n".join(path.read_text("utf-8") for path in (ROOT / "pdp").rglob("*.py") if "_gen" not in path.parts)
DEGRADED = OPERATING.partition("## When it is degraded")[2].partition("| at the start |")[0]


def test_every_threat_names_tests() -> None:
    """Every row of a threat names at least one test, and every test that the page names exists."""
    rows = [line for line in THREATS.splitlines() if line.count("|") == 4 and "`test_" in line]
    assert len(rows) > 25
    named = set(re.findall(r"`(test_\w+)`", THREATS))
    assert named - TESTS == set()
    for section in THREATS.split("\n## ")[1:-1]:
        body = [line for line in section.splitlines() if line.startswith("| ")][1:]
        assert body
        assert all("`test_" in line for line in body if not line.startswith("|---")), section


@pytest.mark.parametrize("text", re.findall(r"^\| `([^`]+)` \|", DEGRADED, re.MULTILINE))
def test_every_text_is_one_of_the_service(text: str) -> None:
    """Every complaint that the page explains is one that the code can make."""
    parts = [part.strip(" :") for part in text.split("…")]
    assert any(parts)
    assert all(part in CODE for part in parts)


@pytest.mark.parametrize("page", ["operating.md", "threat-model.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Everything that the page links to is there."""
    targets = re.findall(r"\]\(([^)#:]+)\)", (GUIDES / page).read_text("utf-8"))
    assert targets
    assert [target for target in targets if not (GUIDES / target).exists()] == []


def figures(line: str) -> list[str]:
    return re.findall(r"\d[\d,.]*\d", line)


def test_figures_are_measured() -> None:
    """The throughput and the memory that the page tells are those of the recorded benchmarks."""
    results = (ROOT / "bench" / "RESULTS.md").read_text("utf-8").replace(",", "")
    sizing = OPERATING.partition("## Sizing")[2].partition("\n## ")[0]
    rows = [line for line in sizing.splitlines() if line.startswith(("| `Authorize`", "| memory"))]
    told = [figure.replace(",", "") for row in rows for figure in figures(row.split("|")[2])]
    assert len(told) == 8
    assert [figure for figure in told if not re.search(rf"\b{figure}\b", results)] == []
