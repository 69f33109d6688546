"""`pdp health`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.grpc.service import serving

Run = Callable[..., Any]


def test_a_service_that_serves(pdp: Run, tmp_path: Path) -> None:
    """A service that answers calls ends with 0, as a whole and by the name of one of its services; in JSON too."""
    with serving(tmp_path) as service:
        outcome = pdp("health", "--address", service.address)
        assert (outcome.status, outcome.out, outcome.err) == (0, "serving\n", "")
        named = pdp("health", "--address", service.address, "--service", "pdp.v1.DecisionService", "--json")
        assert (named.status, named.document) == (0, {"status": "SERVING"})


def test_no_rights_are_needed(pdp: Run, tmp_path: Path) -> None:
    """A service whose callers need keys tells its health to everybody."""
    callers = {"caller": [{"name": "gateway", "keys_sha256": ["0" * 64]}]}
    with serving(tmp_path, callers=callers) as service:
        assert pdp("health", "--address", service.address).status == 0
        assert pdp("status", "--address", service.address).status == 2


def test_a_service_that_drains(pdp: Run, tmp_path: Path) -> None:
    """A service that does not take calls ends with 1."""
    with serving(tmp_path) as service:
        for server in service.app._servers:
            server.set_serving(False)
        outcome = pdp("health", "--address", service.address)
        assert (outcome.status, outcome.out) == (1, "not serving\n")


@pytest.mark.parametrize("arguments", [("--service", "pdp.v1.NoService"), ("--address", "127.0.0.1:1")])
def test_no_answer_is_not_health(pdp: Run, tmp_path: Path, arguments: tuple[str, str]) -> None:
    """A name that nobody serves and an address where nobody listens end with 2 and a reason."""
    with serving(tmp_path) as service:
        outcome = pdp("health", "--address", service.address, *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert outcome.err
