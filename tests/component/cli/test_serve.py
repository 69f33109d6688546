"""`pdp serve` as a process."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pdp.app import App
from pdp.bundle.store import ReloadResult
from pdp.cli.serving import _reload
from pdp.cli.signals import Signals

Run = Callable[..., Any]

pytestmark = pytest.mark.process

PATIENCE_SECONDS = 60


def asked(pdp: Run, command: str) -> Any:
    """What the command line answers to a printed command."""
    words = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True)
    program, *arguments = words.stdout.splitlines()
    assert program == "pdp"
    return pdp(*arguments)


def watch(channel: grpc.Channel) -> Any:
    """The health service's stream; the types of its stub do not have it."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Watch


def test_from_start_to_stop(pdp: Run, serve: Run, bundle: Path) -> None:
    """It tells where it listens and how to ask; SIGTERM ends it with 0; standard output has the decisions alone."""
    service = serve("--bundle", bundle)
    assert int(service.address.removeprefix("127.0.0.1:")) > 0
    answer = asked(pdp, service.announced["try_this"])
    assert (answer.status, answer.err) == (0, "")
    service.send(signal.SIGTERM)
    status, out = service.end()
    assert status == 0
    [line] = out.splitlines()
    record = json.loads(line)
    assert (record["kind"], record["decision"]) == ("authorize", "ALLOW")
    assert answer.out.splitlines()[-1].startswith(f"  decision {record['decision_id']}, ")
    assert [event["event"] for event in service.events[-2:]] == ["stopping", "stopped"]


def test_people_get_text(pdp: Run, start: Run, bundle: Path) -> None:
    """In the console format, what is served and what to ask is text, and asking it works."""
    process = start("--bundle", bundle, "--listen", "127.0.0.1:0", log_format="console")
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if lines[-2:-1] == ["ask it something:\n"]:
            break
    assert any(line.startswith(f"serving `{bundle}` on `127.0.0.1:") for line in lines)
    assert asked(pdp, lines[-1].strip()).status == 0
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0


def test_unix_sockets(pdp: Run, serve: Run, bundle: Path, tmp_path: Path) -> None:
    """A unix socket has the configured mode, answers beside a port, and is gone afterwards."""
    path = tmp_path / "pdp.sock"
    service = serve("--bundle", bundle, "--listen", f"unix:{path}", "--listen", "127.0.0.1:0")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert asked(pdp, service.announced["try_this"]).status == 0
    assert f"--address unix:{path} " in service.announced["try_this"]
    service.send(signal.SIGTERM)
    assert service.end()[0] == 0
    assert not path.exists()


def test_sighup_reads_the_bundle_again(pdp: Run, serve: Run, bundle: Path) -> None:
    """SIGHUP puts a changed bundle into force; a broken one is told and leaves the last one in force."""
    service = serve("--bundle", bundle, "--no-watch")
    ask = ("authorize", "--address", service.address, "--subject", 'Agent::"support-bot"')
    search = (*ask, "--tool", "helpdesk/search_tickets")
    (bundle / "policies" / "no.cedar").write_text("forbid (principal, action, resource);\n")
    assert pdp(*search).status == 0
    service.send(signal.SIGHUP)
    assert service.wait_for("reloaded")["changed"] is True
    assert pdp(*search).status == 1
    (bundle / "policies" / "no.cedar").write_text("forbid (")
    service.send(signal.SIGHUP)
    assert service.wait_for("reloaded")["changed"] is False
    assert any("policies/no.cedar:1:" in event.get("place", "") for event in service.events)
    assert pdp(*search).status == 1
    service.send(signal.SIGTERM)
    assert service.end()[0] == 0


def test_a_changed_bundle_is_noticed(serve: Run, bundle: Path) -> None:
    """Without a signal, a change of the bundle's files is noticed and told."""
    service = serve("--bundle", bundle)
    (bundle / "policies" / "no.cedar").write_text("forbid (principal, action, resource);\n")
    assert service.wait_for("bundle loaded")["policies"] == 6


def test_wrong_configuration_starts_nothing(start: Run, bundle: Path, tmp_path: Path) -> None:
    """All mistakes of flags, environment and file are told at once, the status is 2, and nothing was begun."""
    (tmp_path / "pdp.toml").write_text("[limits]\nbatch_requests = 0\n")
    process = start("--config", tmp_path / "pdp.toml", "--listen", "0.0.0.0:0", "--threads", "x")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "error: `bundle.source` is missing; name a bundle with `--bundle PATH`"
    assert all(line.startswith("error: `") for line in lines)
    assert not (tmp_path / "state").exists()


def test_a_broken_bundle_at_the_start(start: Run, broken: Path) -> None:
    """A bundle that does not load, with no good copy, ends with 1 and every problem with its place, told once."""
    process = start("--bundle", broken, "--listen", "127.0.0.1:0")
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    lines = err.splitlines()
    assert all(": error: " in line for line in lines)
    assert len(lines) == len(set(lines))
    assert any(line.startswith("policies/wrong.cedar:1:1: error: ") for line in lines)
    assert any(line.startswith("entities/wrong.json:2:3: error: ") for line in lines)


def test_the_last_good_copy_serves(pdp: Run, serve: Run, bundle: Path) -> None:
    """A restart with a broken bundle serves the last good copy and says that it is degraded."""
    service = serve("--bundle", bundle)
    revision = service.announced["revision"]
    service.send(signal.SIGTERM)
    assert service.end()[0] == 0
    (bundle / "policies" / "support.cedar").write_text("permit (")
    again = serve("--bundle", bundle)
    assert again.announced["revision"] == revision
    assert any("last good copy" in reason for reason in again.announced["degraded"])
    assert asked(pdp, again.announced["try_this"]).status == 0
    assert pdp("status", "--address", again.address).status == 1


@pytest.mark.parametrize(("second", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_at_once(serve: Run, bundle: Path, second: signal.Signals, status: int) -> None:
    """While a call in flight is waited for, a further signal ends the process with 128 and its number."""
    service = serve("--bundle", bundle, "--drain-seconds", "600")
    with grpc.insecure_channel(service.address) as channel:
        watching = watch(channel)(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        service.send(signal.SIGTERM)
        assert service.wait_for("stopping")["signal"] == "SIGTERM"
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        service.send(second)
        assert service.end()[0] == status


def test_signals_before_the_service_serves() -> None:
    """Before there is anything to finish, a signal to stop ends the program with 128 and its number; SIGHUP waits."""
    signals = Signals()
    signals.interrupt(signal.SIGHUP, None)
    with pytest.raises(SystemExit) as stop:
        signals.interrupt(signal.SIGTERM, None)
    assert stop.value.code == 143
    signals.take(signal.SIGHUP)
    signals.begin()
    signals.interrupt(signal.SIGTERM, None)
    assert signals.wait() is signal.SIGHUP


WAITING = """
import signal, threading, time
from pdp.cli.signals import received

def send():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

with received() as signals:
    signals.begin()
    threading.Thread(target=send).start()
    print(signals.wait().name)
"""


def test_a_signal_that_another_thread_gets_is_noticed() -> None:
    """A signal wakes who waits for it also if it does not interrupt that thread, as when it arrives just before."""
    result = subprocess.run(
        [sys.executable, "-c", WAITING], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "SIGTERM\n", "")


def test_addresses_that_are_taken(start: Run, bundle: Path, tmp_path: Path) -> None:
    """An address in use, or a path that is no socket, is a wrong configuration and is left as it was."""
    (tmp_path / "file").write_text("mine")
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        for address in (f"127.0.0.1:{used.getsockname()[1]}", f"unix:{tmp_path}/file", f"unix:{tmp_path}/file/below"):
            process = start("--bundle", bundle, "--listen", address)
            out, err = process.communicate()
            assert (process.returncode, out) == (2, "")
            assert f"error: cannot listen on `{address}`: " in err
            assert "Traceback" not in err
    assert (tmp_path / "file").read_text() == "mine"


def test_decisions_go_to_a_file(pdp: Run, serve: Run, bundle: Path, tmp_path: Path) -> None:
    """A path for decision lines is enough to have them there, appended, and not on standard output."""
    path = tmp_path / "decisions.jsonl"
    path.write_text("before\n")
    service = serve("--bundle", bundle, "--decision-log-path", path)
    assert asked(pdp, service.announced["try_this"]).status == 0
    service.send(signal.SIGTERM)
    assert service.end() == (0, "")
    first, second = path.read_text().splitlines()
    assert first == "before"
    assert json.loads(second)["decision"] == "ALLOW"


def test_no_decision_log(pdp: Run, serve: Run, bundle: Path) -> None:
    """The sink `none` writes no decision anywhere."""
    service = serve("--bundle", bundle, "--decision-log", "none")
    assert asked(pdp, service.announced["try_this"]).status == 0
    service.send(signal.SIGTERM)
    assert service.end() == (0, "")


def test_a_decision_log_that_cannot_be_opened(start: Run, bundle: Path, tmp_path: Path) -> None:
    """A path that cannot be written is a wrong configuration."""
    process = start("--bundle", bundle, "--listen", "127.0.0.1:0", "--decision-log-path", tmp_path)
    _, err = process.communicate()
    assert process.returncode == 2
    assert f"error: the decision log cannot be written to `{tmp_path}`: is a directory" in err


def test_warnings_are_logged(serve: Run, bundle: Path) -> None:
    """What a bundle's author should look at is in the log of a service that serves it."""
    (bundle / "polices").mkdir()
    service = serve("--bundle", bundle)
    warnings = [event for event in service.events if event["level"] == "warning"]
    assert [event["place"].split(":")[0] for event in warnings] == ["polices"]


def test_the_printed_question_fits_any_bundle(pdp: Run, serve: Run, bundle: Path) -> None:
    """Also for odd names, or without tools, schema and entities, the printed question is answered by a decision."""
    for name in ("tools", "schema.cedarschema", "policies", "bundle.toml"):
        path = bundle / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    odd = 'it\'s "$(x)" \\ \x1b[2J'
    entities = [{"uid": {"type": "Agent", "id": odd}, "attrs": {}, "parents": []}]
    (bundle / "entities" / "agents.json").write_text(json.dumps(entities))
    service = serve("--bundle", bundle)
    assert service.announced["try_this"].isprintable()
    answer = asked(pdp, service.announced["try_this"])
    assert answer.out.startswith("DENY NO_MATCHING_POLICY: ")
    service.send(signal.SIGTERM)
    _, out = service.end()
    assert json.loads(out)["subject"] == {"type": "Agent", "id": odd}


def test_a_bug_while_reloading_does_not_stop_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody expected while a bundle is read again is logged, and the service goes on."""

    class FailingApp(App):
        def __init__(self) -> None:
            """Nothing runs here."""

        def reload(self) -> ReloadResult:
            raise RuntimeError("made up")

    _reload(FailingApp())
    assert "made up" in capsys.readouterr().out
