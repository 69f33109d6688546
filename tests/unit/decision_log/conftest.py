"""Spools that lose no time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pdp.decision_log import draining
from tests.unit.decision_log.spools import World


@pytest.fixture
def quick_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is delivered at once, and every failure is told."""
    monkeypatch.setattr(draining, "_STEP_SECONDS", 0.002)
    monkeypatch.setattr(draining, "_RETRY_SECONDS", 0.005)
    monkeypatch.setattr(draining, "_TELL_SECONDS", 0.0)


@pytest.fixture
def world(tmp_path: Path, quick_spool: None) -> Iterator[World]:
    """Nothing yet."""
    world = World(tmp_path)
    yield world
    world.medium.error = world.medium.gate = None
    world.close()
