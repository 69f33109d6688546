"""The worlds that random requests are put to."""

from __future__ import annotations

import pytest

from tests.fuzz.asked_world import WORLDS
from tests.gateways.envoy import require_messages


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> str:
    """One in which something is allowed, and one in which nothing is."""
    require_messages()
    return str(request.param)
