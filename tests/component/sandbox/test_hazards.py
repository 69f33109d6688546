"""The hazards of running WebAssembly in this process, each reproduced or shown to be contained."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import wasmtime
import wasmtime._func as host_functions
import wasmtime.component._enter as component_functions

import pdp
from pdp.sandbox import compiler
from pdp.sandbox.model import ErrorClass, ModuleRefusedError, SandboxOptions
from pdp.sandbox.sandbox import Sandbox, _engine
from tests.component.sandbox import guests
from tests.modules import answering
from tests.waiting import LIMIT_SECONDS

PACKAGE = Path(pdp.__file__).parent


def _outcome_in_time(name: str) -> str:
    """What a guest's call ends with; the test fails where it does not end at all."""
    guest = guests.hostile_guest(name)
    loaded = guests.load(guests.binary(guest), limits=guest.limits, grants=guest.grants)
    ended: list[str] = []
    calling = threading.Thread(
        target=lambda: ended.append(guests.outcome(loaded.runner, call_ms=guest.call_ms)[0]), daemon=True
    )
    calling.start()
    calling.join(LIMIT_SECONDS)
    assert ended, "the call goes on"
    return ended[0]


@pytest.mark.parametrize("name", ["loop_hook_deadline", "loop_host_calls", "component_loop_hook_deadline"])
def test_hazard_1_deadline_fires_beside_busy_threads(name: str) -> None:
    """A guest without end is ended by its deadline while other threads keep the interpreter busy."""
    stop = threading.Event()

    def be_busy() -> None:
        while not stop.is_set():
            sum(range(1_000))

    busy = [threading.Thread(target=be_busy, daemon=True) for _ in range(4)]
    for thread in busy:
        thread.start()
    try:
        assert _outcome_in_time(name) == "deadline"
    finally:
        stop.set()
        for thread in busy:
            thread.join()


@pytest.mark.parametrize("kind", ["core", "component"])
def test_hazard_2_store_without_limits_runs_nothing(kind: str) -> None:
    """A store of either engine that nobody gave fuel, or a deadline, runs not even a start function."""
    engine = _engine("core" if kind == "core" else "component", guests.sandbox().options).engine
    module = wasmtime.Module(engine, "(module (func $start) (start $start))")
    for fuel, says in ((0, "all fuel consumed"), (1_000, "interrupt")):
        store = wasmtime.Store(engine)
        if fuel:
            store.set_fuel(fuel)
        with pytest.raises(wasmtime.Trap, match=says):
            wasmtime.Instance(store, module, [])


def test_hazard_3_no_exception_of_the_host_is_kept() -> None:
    """After a log that raised in one thread's call, nothing comes out of another thread's call that fails."""

    def fail(_level: int, _text: str) -> None:
        raise RuntimeError

    flooding = guests.load(guests.binary(guests.hostile_guest("log_flood"))).runner
    trapping = guests.load(guests.binary(guests.hostile_guest("trap_unreachable"))).runner
    component = guests.load(guests.binary(guests.hostile_guest("component_unreachable"))).runner
    other = threading.Thread(target=lambda: guests.outcome(flooding, log=fail))
    other.start()
    other.join()
    assert (host_functions.LAST_EXCEPTION, component_functions.LAST_EXCEPTION) == (None, None)
    assert guests.outcome(trapping)[0] == "trap"
    assert guests.outcome(component)[0] == "trap"


def test_hazard_4_nothing_of_the_runtimes_own_wasi_is_used() -> None:
    """No code names what lends a guest the runtime's own WASI, and a guest that wants to sleep is not put to sleep."""
    lends = ("define_wasi", "WasiConfig", "set_wasi", "add_wasi", "wasi_http")
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        assert [word for word in lends if word in source] == [], path
    assert _outcome_in_time("poll_does_not_sleep") == "pass"


def _hungry(functions: int) -> bytes:
    """A module of many small functions that call each other; its machine code is forty times as long as itself."""
    function = b"\x08\0" + b"\x10\0" * 3 + b"\x0b"
    count = bytes([functions & 0x7F | 0x80, functions >> 7 & 0x7F | 0x80, functions >> 14])
    sections = ((1, b"\x01\x60\0\0"), (3, count + b"\0" * functions), (10, count + function * functions))
    content = bytearray(b"\0asm\x01\0\0\0")
    for number, section in sections:
        size = len(section)
        content += bytes([number, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + section
    return bytes(content)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (SandboxOptions(compile_bytes=96 << 20), "within 96 MiB of memory"),
        (SandboxOptions(compile_seconds=0.25), "within 0.25 seconds"),
    ],
    ids=["memory", "time"],
)
def test_hazard_5_hungry_module_is_refused(options: SandboxOptions, says: str) -> None:
    """A module that takes a compiler too much memory or time is refused, and others are served on."""
    with pytest.raises(ModuleRefusedError) as refused:
        Sandbox(options).inspect(_hungry(20_000))
    assert refused.value.error_class is ErrorClass.LOAD
    assert says in refused.value.reason
    assert guests.outcome(guests.good().runner) == ("pass", "")


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("import os; os.abort()", "ended by signal 6"),
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("raise SystemExit('oh')", "failed with status 1: oh"),
        ("print('+', end='')", "cannot be loaded"),
        ("print('?')", "failed with status 0"),
        ("import os, sys; os.close(0); print('+' * 100_000)", "cannot be loaded"),
        ("print('-' + chr(27) + '[2J')", "\\x1b[2J"),
    ],
)
def test_hazard_5_compiler_that_dies_is_a_refusal(does: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the compiling process ends, whatever it says, the module is refused and the service goes on."""
    assert guests.outcome(guests.good().runner) == ("pass", "")
    monkeypatch.setattr(compiler, "_START", does)
    with pytest.raises(ModuleRefusedError) as refused:
        Sandbox(SandboxOptions()).inspect(answering())
    assert says in refused.value.reason
    assert guests.outcome(guests.good().runner) == ("pass", "")


def test_hazard_5_compiler_that_cannot_be_started_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an interpreter to start, modules are refused, and nothing is compiled in the service itself."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ModuleRefusedError, match="cannot be started: no such file"):
        Sandbox(SandboxOptions()).inspect(answering())


def test_hazard_5_compiler_gets_nothing_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiling process has an empty environment, no open files of the service, and limits on all that it does."""
    tells = (
        "import os, resource, sys; from pdp.sandbox import compile_child; "
        "sys.path[:0] = __import__('json').loads(sys.argv.pop(1)); compile_child._limit(1 << 30, 3); "
        "names = ('RLIMIT_AS', 'RLIMIT_CPU', 'RLIMIT_CORE', 'RLIMIT_FSIZE'); "
        "print('-', sorted(set(os.environ) - {'LC_CTYPE'}), sorted(map(int, os.listdir('/proc/self/fd')))[3:-1], "
        "[resource.getrlimit(getattr(resource, name))[1] for name in names], os.getcwd())"
    )
    monkeypatch.setenv("PDP_TOKEN", "a made-up secret")
    monkeypatch.setattr(compiler, "_START", f"import json, sys; sys.path[:0] = json.loads(sys.argv[1]); {tells}")
    with (PACKAGE / "errors.py").open() as file:
        os.set_inheritable(file.fileno(), True)
        with pytest.raises(ModuleRefusedError) as refused:
            Sandbox(SandboxOptions()).inspect(answering())
    assert refused.value.reason.split(": ", 1)[1].strip() == f"[] [] {[1 << 30, 3, 0, 0]} /"


STACK = """
import sys, threading
from tests.component.sandbox import guests
guest = guests.hostile_guest(sys.argv[1])
runners = guests.both_ways(guests.load(guests.binary(guest), limits=guest.limits, grants=guest.grants))
threading.stack_size(int(sys.argv[2]) * 1024)
log = lambda level, text: repr([str(level), text])
calls = lambda: print(*(guests.outcome(runner, log=log)[0] for runner in runners.values()))
thread = threading.Thread(target=calls)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("name", ["recursion", "recursion_with_host_calls", "component_recursion"])
@pytest.mark.parametrize("kilobytes", [384, 512])
def test_hazard_7_recursion_on_a_small_stack_is_a_trap(name: str, kilobytes: int) -> None:
    """A recursion without end is a trap, and not the end of the process, on a thread with a small stack."""
    command = [sys.executable, "-c", STACK, name, str(kilobytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert set(done.stdout.split()) == {"trap"}


@pytest.mark.parametrize("name", ["bulk_fill_deadline", "bulk_copy_deadline", "bulk_table_fill_deadline"])
def test_hazard_8_bulk_operations_end_with_the_deadline(name: str) -> None:
    """A guest that fills or moves all that it may have, again and again, is ended by its deadline."""
    assert _outcome_in_time(name) == "deadline"


def test_hazard_9_a_transform_that_is_no_json_goes_nowhere() -> None:
    """New arguments that are not JSON, as a real module in the wild gives them, are a failure and no payload."""
    cut = b'{"verdict":"transform","arguments":{"text":"<EMAIL>}}'
    for runner in guests.driven_runners(guests.driven(cut)):
        ended, reason = guests.outcome(runner)
        assert (ended, "not acceptable JSON" in reason) == ("bad_output", True)


def test_hazard_10_calls_of_many_threads_do_not_mix() -> None:
    """Of calls that run at the same time, each gets its own answer."""
    mixed: list[guests.Outcome] = []

    def call(number: int) -> None:
        reply = b'{"verdict":"deny","reason":"%d"}' % number
        for runner in guests.driven_runners(guests.driven(reply)):
            mixed.extend(end for _ in range(50) if (end := guests.outcome(runner)) != ("deny", str(number)))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []


def test_hazard_11_each_kind_has_its_engine() -> None:
    """There is one engine for each kind in a process, and a component that core settings would not compile works."""
    options = guests.sandbox().options
    core, component = _engine("core", options), _engine("component", options)
    assert core.engine is not component.engine
    assert core.settings.fingerprint() != component.settings.fingerprint()
    assert _engine("core", SandboxOptions()) is core
    assert _outcome_in_time("component_passes_text_inside") == "pass"


def test_hazard_11_an_engine_is_made_once() -> None:
    """Threads that need an engine at the same time get the same: code of one engine aborts the process in another."""
    options = SandboxOptions(max_instances=4)
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.append(_engine("core", options))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, made))) == 1


def test_more_calls_than_instances_fail_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all instances are in use, a call fails as `load`, and is served again when one is free."""
    sandbox = Sandbox(SandboxOptions(max_instances=1))
    monkeypatch.setattr(guests, "sandbox", lambda: sandbox)
    looping = guests.load(guests.binary(guests.hostile_guest("loop_hook_deadline")), limits=guests.FOREVER).runner
    good = guests.load(answering()).runner
    started = time.monotonic()
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(guests.outcome(looping, call_ms=700)[0]))
    thread.start()
    refused = 0
    while thread.is_alive() and time.monotonic() - started < LIMIT_SECONDS:
        outcome = guests.outcome(good)
        assert outcome == ("pass", "") or outcome[0] == "load"
        refused += outcome[0] == "load"
        time.sleep(0.02)
    assert (ended, refused > 0) == (["deadline"], True)
    assert guests.outcome(good) == ("pass", "")


TRAPPING = """
import faulthandler, sys
from tests.component.sandbox import guests
faulthandler.enable()
for name in ("trap_load_out_of_bounds", "trap_divide_by_zero", "recursion"):
    runners = guests.both_ways(guests.load(guests.binary(guests.hostile_guest(name))))
    print(*(guests.outcome(runner)[0] for runner in runners.values()))
"""


def test_traps_are_no_crashes_of_the_interpreter() -> None:
    """Traps come as signals; with Python's own handler of crashes, where that was there first, they still are traps.

    Enabled after an engine was made, that handler would end the process at the next trap; so no code here does.
    """
    done = subprocess.run(
        [sys.executable, "-c", TRAPPING], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert (done.returncode, set(done.stdout.split())) == (0, {"trap"}), done.stderr[-2_000:]
    for path in PACKAGE.rglob("*.py"):
        assert "faulthandler" not in path.read_text("utf-8"), path
