"""What the tests with Envoy need to be installed."""

from __future__ import annotations

import pytest

from tests.gateways.envoy import binary, require_messages


@pytest.fixture(scope="session")
def envoy_messages() -> None:
    """Envoy's messages, without which the service does not speak its protocols."""
    require_messages()


@pytest.fixture(scope="session")
def real_envoy(envoy_messages: None) -> None:
    """Envoy itself."""
    binary()
