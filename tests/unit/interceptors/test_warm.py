"""Instances that are made ahead."""

from __future__ import annotations

import gc
import itertools
import time

import pytest

from pdp.sandbox.model import CallLimits, ErrorClass, GuestFailureError, SandboxOptions
from pdp.sandbox.sandbox import Sandbox, Terms
from pdp.sandbox.warm import WarmInstances
from tests.modules import module
from tests.waiting import wait_until


def test_each_is_taken_once_and_replaced() -> None:
    """What is taken is never given again, and another one takes its place."""
    numbers = itertools.count()
    warm = WarmInstances(2, lambda: next(numbers), lambda number: None)
    assert warm.take() is None
    warm.replenish()
    seen: set[int] = set()
    for _ in range(10):
        wait_until(lambda: len(warm._ready) == 2, "both are ready")
        taken = warm.take()
        assert taken is not None
        assert taken not in seen
        seen.add(taken)
        warm.replenish()


def test_none_is_made_unless_asked_for() -> None:
    """With a size of nothing, nothing is made."""
    warm = WarmInstances(0, lambda: pytest.fail("made"), lambda number: None)
    warm.replenish()
    assert warm.take() is None


def test_what_is_left_is_dropped() -> None:
    """Instances that nobody took are freed with the pool."""
    dropped: list[int] = []
    warm = WarmInstances(3, lambda: 7, dropped.append)
    warm.fill()
    del warm
    gc.collect()
    assert dropped == [7, 7, 7]


def test_a_failure_leaves_one_less() -> None:
    """Where none can be made, calls make their own."""

    def fail() -> int:
        raise GuestFailureError(ErrorClass.TRAP, "x")

    warm = WarmInstances(3, fail, lambda number: None)
    warm.fill()
    assert warm.take() is None


COUNTING = """(module (memory (export "memory") 2) (global $calls (mut i32) (i32.const 0))
    (func (export "pdp_abi_v1")) (func (export "pdp_alloc") (param i32) (result i32) (i32.const 1024))
    (data (i32.const 16) "{\\22verdict\\22:\\22pass\\22}")
    (func (export "_initialize") (local i32)
        (loop $work (local.set 0 (i32.add (local.get 0) (i32.const 1)))
            (br_if $work (i32.lt_u (local.get 0) (i32.const 100000)))))
    (func (export "pdp_on_request") (param i32 i32) (result i64)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.ne (global.get $calls) (i32.const 1)) (then (unreachable)))
        (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 18))))"""


@pytest.mark.parametrize("prewarm", [0, 1, 4])
def test_no_instance_serves_two_calls(prewarm: int) -> None:
    """A module that would notice a second call in one instance never does, and has all its fuel for each."""
    sandbox = Sandbox(SandboxOptions())
    terms = Terms(("request",), CallLimits(timeout_ms=1_000, fuel=1_200_000), prewarm=prewarm)
    runner = sandbox.load(module(COUNTING), terms, {}, lambda level, text: None).runner
    for _ in range(50):
        answer = runner.run("request", b"{}", sandbox.call(time.monotonic_ns() + 10**9, lambda level, text: None))
        assert answer == b'{"verdict":"pass"}'
