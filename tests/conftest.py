"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from hypothesis import settings
from structlog.testing import capture_logs

# The same examples every time; how long one takes depends on what else the machine does.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the service logs during the test, as events."""
    with capture_logs() as events:
        yield events
