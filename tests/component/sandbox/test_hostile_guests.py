"""Hostile guests: each ends as it should, whichever way it is called, and the next call of another module is served."""

from __future__ import annotations

import pytest
import wasmtime._func as host_functions

from pdp.sandbox import core_runner
from pdp.sandbox.instances import PublicInstance, RawInstance
from pdp.sandbox.model import ModuleRefusedError
from tests.component.sandbox import guests
from tests.component.sandbox.guests import Guest

GUESTS = guests.hostile()
CALLED = [guest for guest in GUESTS if guest.load == "ok"]
REFUSED = [guest for guest in GUESTS if guest.load != "ok"]


def _named(guest: Guest) -> str:
    return guest.name


@pytest.mark.parametrize("guest", CALLED, ids=_named)
def test_call_ends_as_expected(guest: Guest) -> None:
    """A guest that loads ends each call, twice each way, with the class or the verdict that its first line names."""
    loaded = guests.load(guests.binary(guest), limits=guest.limits, grants=guest.grants)
    for way, runner in guests.both_ways(loaded).items():
        for _ in range(2):
            ended, reason = guests.outcome(runner, call_ms=guest.call_ms)
            assert (way, ended) == (way, guest.call), reason
            assert guest.says in reason
            assert guests.outcome(guests.good().runner) == ("pass", "")
            assert host_functions.LAST_EXCEPTION is None


@pytest.mark.parametrize("guest", REFUSED, ids=_named)
def test_load_is_refused_as_expected(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that must not load is refused with the class that its first line names, and the reason says why."""
    for way in (RawInstance, PublicInstance):
        monkeypatch.setattr(core_runner, "instance_type", lambda way=way: way)
        with pytest.raises(ModuleRefusedError) as refused:
            guests.load(guests.binary(guest), limits=guest.limits, grants=guest.grants)
        assert (way, refused.value.error_class.value) == (way, guest.load), refused.value.reason
        assert guest.says in refused.value.reason
        assert guests.outcome(guests.good().runner) == ("pass", "")
        assert host_functions.LAST_EXCEPTION is None
        if "compile" in refused.value.reason or guest.name.startswith("component"):
            break  # no instance was made, or there is one way only


def test_every_class_of_failure_has_a_guest() -> None:
    """No class of failure is without a guest that ends with it."""
    assert {guest.load for guest in GUESTS} | {guest.call for guest in GUESTS} == {
        "ok", "-", "pass", "bad_output", "deadline", "fuel", "guest_error", "load", "memory", "too_large", "trap",
    }  # fmt: skip
