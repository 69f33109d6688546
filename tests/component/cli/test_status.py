"""`pdp status`."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

pytestmark = pytest.mark.process


def test_a_service_that_serves(pdp: Run, serve: Run, bundle: Path) -> None:
    """A serving service ends with 0 and tells bundle, revision, source and contents; in JSON too."""
    service = serve("--bundle", bundle)
    outcome = pdp("status", "--address", service.address)
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "serving"
    assert "  bundle    helpdesk" in lines
    assert f"  revision  {service.announced['revision']}" in lines
    assert f"  source    {bundle}" in lines
    assert any(line.startswith("  holds     5 policies, 1 shadow policy, ") for line in lines)
    document = pdp("status", "--address", service.address, "--json").document
    assert document["state"] == "SERVICE_STATE_SERVING"
    assert document["revision"] == service.announced["revision"]
    assert document["degraded_reasons"] == []


def test_a_degraded_service(pdp: Run, serve: Run, bundle: Path) -> None:
    """A service whose newest bundle does not load ends with 1 and tells the reason and every problem, escaped."""
    service = serve("--bundle", bundle, "--no-watch")
    (bundle / "policies" / "wrong.cedar").write_text("permit (principal, action, resource) \x1b[2J\n")
    service.send(signal.SIGHUP)
    service.wait_for("reloaded")
    outcome = pdp("status", "--address", service.address)
    assert outcome.status == 1
    assert outcome.out.startswith("degraded\n  because the bundle does not load: 1 problem, ")
    assert "\n  policies/wrong.cedar:1:" in outcome.out
    assert "\x1b" not in outcome.out
    assert pdp("status", "--address", service.address, "--json").document["state"] == "SERVICE_STATE_DEGRADED"


def test_no_administration_there(pdp: Run, serve: Run, bundle: Path) -> None:
    """Where AdminService is not served the status is 2; where it has an address of its own, that one answers."""
    service = serve("--bundle", bundle, "--admin-listen", "127.0.0.1:0")
    outcome = pdp("status", "--address", service.address)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"what listens at `{service.address}` does not serve this call" in outcome.err
    assert pdp("status", "--address", service.announced["admin_addresses"][0]).status == 0


def test_nobody_there(pdp: Run, tmp_path: Path) -> None:
    """Where nothing listens the status is 2, not 1."""
    outcome = pdp("status", "--address", f"unix:{tmp_path}/nothing")
    assert (outcome.status, outcome.out) == (2, "")
    assert f"no service can be reached at `unix:{tmp_path}/nothing`" in outcome.err
