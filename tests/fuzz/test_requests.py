"""Random requests to every RPC, in this process and over the wire.

`PDP_FUZZ_SECONDS` has each test go on for so long with other requests. A failure prints the seed and the number of the
request: `PDP_FUZZ_SEED=seed` makes the same ones again.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.asked_world import fed
from tests.fuzz.feeding import Feeder, in_process
from tests.fuzz.running import chosen_seed, require_no_bug, steps

_SHORT, _STEP = 1_500, 500
#: How much more memory there may be at the end than after the first requests: nothing should stay of any.
_GROWTH = 1.5


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _report(feeder: Feeder, seed: int) -> None:
    print(f"seed {seed}: {feeder.ends.total()} requests")  # noqa: T201 - what `-s` is for
    for end, count in sorted(feeder.ends.items()):
        print(f"  {end}: {count}")  # noqa: T201


def test_no_request_is_a_bug_or_a_wrong_allow(world: str, tmp_path: Path, logs: list[MutableMapping[str, Any]]) -> None:
    """Whatever is asked of any RPC: no INTERNAL, no line that cannot be written, no allow that plain Cedar denies, and
    memory stays level."""
    seed, settled = chosen_seed(), 0
    with fed(tmp_path, world) as (service, key):
        feeder = Feeder(in_process(service), key, world)
        for numbers in steps(_SHORT, _STEP):
            feeder.feed(seed, numbers)
            require_no_bug(logs)
            if numbers.stop == 20_000:
                settled = _resident_bytes()
        require_no_bug(logs)
        if settled:
            assert _resident_bytes() < settled * _GROWTH
    _report(feeder, seed)
    assert (feeder.ends["Authorize ALLOW"] > 0) == (world == "open")
    assert feeder.ends["Decide DENIAL_CODE_INVALID_ARGUMENTS"] > 0


def test_a_wrong_allow_is_seen(tmp_path: Path) -> None:
    """What a service allows where nothing may be allowed fails the test, with the request that shows it."""
    with fed(tmp_path, "open") as (service, key), pytest.raises(AssertionError, match="seed 1, request"):
        Feeder(in_process(service), key, "closed").feed(1, range(_SHORT))


def test_a_request_can_be_made_again(tmp_path: Path) -> None:
    """A seed and a number make the same request, whatever was made before; only keys are new each time."""
    with fed(tmp_path, "closed") as (service, key):
        first, second = (Feeder(in_process(service), key, "closed") for _ in range(2))
        assert first.request(7, 3)[0] == second.request(7, 3)[0]
        numbers = [number for number in range(200) if b"eyJ" not in b"".join(first.request(7, number)[1])]
        again = {number: second.request(7, number)[1] for number in reversed(numbers)}
        assert all(first.request(7, number)[1] == again[number] for number in numbers)
        assert len(numbers) > 20
