"""What the host lends: it is bounded, it never raises, and it belongs to the call that is being made."""

from __future__ import annotations

import threading

import pytest
import wasmtime._func as host_functions

from pdp.sandbox import host
from tests.component.sandbox import guests
from tests.modules import answering, module

LOG_LIMIT = 16 * 1024

#: Logs the request's bytes from the 40th on, ten of them, a hundred times; `REQUEST` has the call's own letter there.
TALKING = """(module
  (import "pdp" "log" (func $log (param i32 i32 i32)))
  (import "pdp" "random" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\\22verdict\\22:\\22pass\\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64) (local $times i32)
    (loop
      (call $log (i32.const 1) (i32.add (local.get $ptr) (i32.const 40)) (i32.const 10))
      (br_if 0 (i32.lt_u (local.tee $times (i32.add (local.get $times) (i32.const 1))) (i32.const 100))))
    (i64.const 0x40000000012)))"""


def _logged(name: str) -> list[tuple[int, str]]:
    """What a guest logs in one call."""
    guest = guests.hostile_guest(name)
    loaded = guests.load(guests.binary(guest), grants=guest.grants)
    lines: list[tuple[int, str]] = []
    for runner in guests.both_ways(loaded).values():
        lines.clear()
        assert guests.outcome(runner, log=lambda level, text: lines.append((level, text)))[0] == "pass"
    return lines


@pytest.mark.parametrize("name", ["log_flood", "log_whole_memory", "fd_write_overlapping_vectors"])
def test_log_of_a_call_is_bounded(name: str) -> None:
    """One call logs 16 KiB exactly, however much it says; the rest is cut off."""
    assert sum(len(text.encode()) for _, text in _logged(name)) == LOG_LIMIT


@pytest.mark.parametrize("name", ["log_no_text", "fd_write_empty_flood", "log_hostile_ranges"])
def test_no_text_is_no_line(name: str) -> None:
    """Empty text, and text from outside of the memory, is not logged at all."""
    assert _logged(name) == []


def test_text_that_is_no_unicode_is_replaced() -> None:
    """Bytes that are no UTF-8 are logged as replacement characters."""
    assert _logged("log_no_unicode") == [(3, "\ufffd" * 100)]


def test_start_function_may_log() -> None:
    """What a start function says goes to the log of the call that it was started for."""
    assert _logged("host_in_start") == [(1, '{"verdict":"pass"}')]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit, MemoryError])
def test_log_that_fails_is_nothing_to_the_guest(error: type[BaseException]) -> None:
    """An exception in the log neither ends the call nor stays behind for another one."""

    def fail(_level: int, _text: str) -> None:
        raise error

    guest = guests.hostile_guest("log_flood")
    loaded = guests.load(guests.binary(guest))
    for runner in guests.both_ways(loaded).values():
        assert guests.outcome(runner, log=fail) == ("pass", "")
        assert host_functions.LAST_EXCEPTION is None


def test_what_is_logged_belongs_to_the_call_of_its_thread() -> None:
    """Of calls that run at the same time, each logs its own text and nothing else."""
    runner = guests.load(module(TALKING), grants=("log", "random")).runner
    mixed: list[list[str]] = []

    def heard(request: bytes) -> list[str]:
        texts: list[str] = []
        guests.outcome(runner, request=request, log=lambda _level, text: texts.append(text))
        return texts

    def call(letter: str) -> None:
        request = guests.REQUEST.replace(b"r" * 1_100, letter.encode() * 1_100)
        mixed.extend(texts for _ in range(20) if (texts := heard(request)) != [letter * 10] * 100)

    threads = [threading.Thread(target=call, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []


def test_nothing_is_left_of_a_call() -> None:
    """After a call, whatever its end, there is no current call."""
    for name in ("log_flood", "exit_in_hook", "recursion_with_host_calls"):
        guest = guests.hostile_guest(name)
        guests.outcome(guests.load(guests.binary(guest), grants=guest.grants).runner)
        assert host.current.call is None


def test_exit_of_one_call_is_nothing_to_the_next() -> None:
    """A module that ended itself passes its next call, and so does another that has imports."""
    exiting = guests.load(guests.binary(guests.hostile_guest("exit_and_reply")))
    talking = guests.load(module(TALKING), grants=("log", "random"))
    assert guests.outcome(exiting.runner)[0] == "trap"
    assert guests.outcome(exiting.runner, request=b'{"short":true}') == ("pass", "")
    assert guests.outcome(talking.runner) == ("pass", "")
    assert guests.outcome(guests.load(answering()).runner) == ("pass", "")


def test_every_type_has_a_function() -> None:
    """Every import that the host has a type for can be linked, and answers without raising."""
    for wasi, names in ((False, host._PDP_TYPES), (True, host._WASI_TYPES)):
        module_name = host.WASI if wasi else host.PDP
        letters = {"i": "i32", "I": "i64"}
        imports, calls = [], []
        for name, (parameters, results) in names.items():
            if name == "proc_exit":
                continue
            kinds = " ".join(letters[letter] for letter in parameters)
            gives = f"(result {letters[results]})" if results else ""
            imports.append(f'(import "{module_name}" "{name}" (func ${name} (param {kinds}) {gives}))')
            for value in ("0", "-1"):
                call = f"(call ${name} {' '.join(f'({letters[letter]}.const {value})' for letter in parameters)})"
                calls.append(f"(drop {call})" if results else call)
        wat = f"""(module {"".join(imports)} (memory (export "memory") 1) (func (export "pdp_abi_v1"))
            (func (export "pdp_alloc") (param i32) (result i32) (i32.const 4096))
            (func (export "pdp_on_request") (param i32 i32) (result i64) {"".join(calls)}
                (i64.const 0)))"""
        failed = guests.refusal(module(wat), grants=("log", "now_ms", "random"))
        assert failed == ("guest_error", "its trial request failed: `pdp_on_request` answered 0, which gives no reason")
        assert host_functions.LAST_EXCEPTION is None
