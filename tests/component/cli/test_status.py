"""`pdp status`."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdp._gen.pdp.v1 import admin_service_pb2, interceptor_pb2
from pdp.sandbox.counters import UNHEALTHY_AFTER
from tests.bundles import PERMIT_ALL, manifest, tool, write_bundle
from tests.component.cli.conftest import PDP, on_terminal
from tests.component.cli.fakes import faked
from tests.modules import answering, deny, looping, transform
from tests.waiting import wait_until

Run = Callable[..., Any]

ASK = ("intercept", "--subject", 'Agent::"bot"', "--tool", "srv/read")


@pytest.mark.process
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


@pytest.mark.process
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


@pytest.mark.process
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


def test_what_interceptors_did(pdp: Run, guarded: Run, running: Run) -> None:
    """Every interceptor is shown with its calls by what came of them, how long they took, and how they failed."""
    bundle = guarded(
        denies=(answering(deny()), {"mode": "shadow"}),
        fails=(looping(), {"fuel": 100_000, "on_error": "allow"}),
        idle=(answering(None, deny()), {"phases": ["response"]}),
        new=(answering(transform(arguments={})), {"may_transform": True}),
    )
    address = running(bundle).address
    assert pdp(*ASK, "--address", address).status == 0
    assert pdp(*ASK, "--address", address, "--session-id", "s" * 200).status == 0
    outcome = pdp("status", "--address", address)
    assert (outcome.status, outcome.err) == (0, "")
    text = re.sub(r"mean \d+(\.\d)? (us|ms)", "mean TIME", outcome.out)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", "MOMENT", text)
    assert [line for line in text.splitlines() if line.startswith("  interceptor ")] == [
        "  interceptor `denies` (shadow): 2 calls, 2 denied, mean TIME",
        "  interceptor `fails`: 2 calls, 1 passed, 1 failed (fuel), mean TIME, last failure MOMENT",
        "  interceptor `idle`: 0 calls",
        "  interceptor `new`: 2 calls, 2 transformed, mean TIME",
    ]
    statuses = pdp("status", "--address", address, "--json").document["interceptors"]
    assert [(status["name"], status["calls"], status["denied"]) for status in statuses][:2] == [
        ("denies", "2", "2"),
        ("fails", "2", "0"),
    ]


def test_an_unhealthy_interceptor(pdp: Run, guarded: Run, running: Run) -> None:
    """One that keeps failing is called unhealthy, in red on a terminal, and the exit status stays as it was."""
    bundle = guarded(fails=(looping(), {"fuel": 100_000, "on_error": "allow"}))
    address = running(bundle).address
    for _ in range(UNHEALTHY_AFTER):
        assert pdp(*ASK, "--address", address, "--session-id", "s" * 200).status == 0
    outcome = pdp("status", "--address", address)
    assert outcome.status == 0
    assert f"  interceptor `fails`: unhealthy, 5 calls, 5 failed (fuel {UNHEALTHY_AFTER}), mean " in outcome.out
    assert pdp("status", "--address", address, "--json").document["interceptors"][0]["healthy"] is False
    shown = on_terminal(PDP, "status", "--address", address).decode()
    assert "  interceptor `fails`: \x1b[31munhealthy, 5 calls" in shown
    assert "unhealthy, 5 calls" in pdp("module", "list", "--address", address).out


def authorize(address: str, arguments: str) -> tuple[str, ...]:
    """The words that ask a service about a call."""
    return (
        "authorize", "--address", address, "--subject", 'Agent::"bot"', "--tool", "srv/read", "--arguments", arguments
    )  # fmt: skip


def test_what_is_not_enforced(pdp: Run, tmp_path: Path, running: Run) -> None:
    """Shadow policies are shown with matches and flips; without any, and with everything enforced, nothing is said."""
    small = '@id("small") permit(principal, action, resource) when { context.input has n && context.input.n < 10 };'
    watch = '@id("watch") @enforcement("shadow") forbid(principal, action, resource);'
    tools = manifest(tool("read", {"n": {"type": "integer"}}))
    bundle = write_bundle(tmp_path / "bundle", {"policies/a.cedar": small + watch, "tools/srv.json": tools})
    address = running(bundle).address
    quiet = pdp("status", "--address", address).out
    assert not re.search("shadow policy `|candidate|ENFORCED", quiet)
    for number in (1, 2, 99):
        pdp(*authorize(address, f'{{"n": {number}}}'))
    outcome = pdp("status", "--address", address)
    assert outcome.status == 0
    assert "  shadow policy `watch`: 3 matches, 2 flips" in outcome.out.splitlines()


def test_nothing_enforced_is_said_first(pdp: Run, tmp_path: Path, running: Run) -> None:
    """A bundle that is all in shadow is called so right below the state, in red on a terminal; the status stays 0."""
    files = {"bundle.toml": 'enforcement = "shadow"\n', "policies/a.cedar": PERMIT_ALL}
    address = running(write_bundle(tmp_path / "bundle", files)).address
    outcome = pdp("status", "--address", address)
    assert outcome.status == 0
    text = "NOTHING IS ENFORCED: every call is allowed, and decisions are only reported"
    assert outcome.out.splitlines()[:2] == ["serving", text]
    assert f"\x1b[31m{text}\x1b[0m" in on_terminal(PDP, "status", "--address", address).decode()


def test_a_candidate(pdp: Run, tmp_path: Path, running: Run) -> None:
    """A candidate is shown with revision and source, what became of the calls, and the policies behind differences."""
    tools = manifest(tool("read", {"n": {"type": "integer"}}))
    grown = '@id("grown") permit(principal, action, resource) when { context.input has n && context.input.n > 10 };'
    files = {"policies/a.cedar": '@id("all") permit(principal, action, resource);', "tools/srv.json": tools}
    bundle = write_bundle(tmp_path / "bundle", files)
    following = write_bundle(tmp_path / "next", {**files, "bundle.toml": 'name = "next"', "policies/a.cedar": grown})
    service = running(bundle, bundle={"candidate": str(following), "candidate_share": 1.0})
    for number in (1, 2, 99):
        pdp(*authorize(service.address, f'{{"n": {number}}}'))
    request = admin_service_pb2.GetStatusRequest()
    wait_until(lambda: service.admin.GetStatus(request).shadow.candidate.compared == 3, "three calls are compared")
    lines = pdp("status", "--address", service.address).out.splitlines()
    revision = pdp("check", following, "--json").document["revision"]
    at = lines.index(f"  candidate `next`, revision {revision}, {following}")
    assert lines[at + 1 : at + 3] == [
        "    3 compared, 0 newly allowed, 2 newly denied, 0 otherwise different, 0 skipped",
        "    `all`: 2 flips",
    ]


def test_a_candidate_that_does_not_load(pdp: Run, tmp_path: Path, running: Run) -> None:
    """A candidate that does not load is called so with the reason, and the service serves."""
    bundle = write_bundle(tmp_path / "bundle", {"policies/a.cedar": PERMIT_ALL})
    following = write_bundle(tmp_path / "next", {"policies/a.cedar": "nonsense;"})
    address = running(bundle, bundle={"candidate": str(following)}).address
    outcome = pdp("status", "--address", address)
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    at = lines.index("  candidate does not load")
    assert lines[at + 1].startswith("    because the bundle does not load: 1 problem, ")


def test_what_is_not_enforced_does_not_reach_the_terminal(pdp: Run) -> None:
    """Control characters in what is said of shadow and candidate come out as escapes."""
    policy = admin_service_pb2.PolicyFlips(policy_id="\x1b[2J\n", flips=1, matches=1)
    candidate = admin_service_pb2.CandidateStatus(
        revision="\x1b", bundle_name="\u202e", source="\r", degraded_reasons=["\x07"], policies=[policy]
    )
    status = admin_service_pb2.GetStatusResponse(
        state=admin_service_pb2.SERVICE_STATE_SERVING,
        shadow=admin_service_pb2.ShadowStatus(policies=[policy], candidate=candidate),
    )
    with faked("AdminService", GetStatus=status) as address:
        lines = pdp("status", "--address", address).out.splitlines()
    assert lines[-5:] == [
        r"  shadow policy `\x1b[2J\n`: 1 match, 1 flip",
        r"  candidate `\u202e`, revision \x1b, \r",
        r"    because \x07",
        "    0 compared, 0 newly allowed, 0 newly denied, 0 otherwise different, 0 skipped",
        r"    `\x1b[2J\n`: 1 flip",
    ]


def test_what_a_service_says_does_not_reach_the_terminal(pdp: Run) -> None:
    """Control characters in names come out as escapes, and classes of failure that are new as numbers."""
    failures = admin_service_pb2.InterceptorFailures.FromString(b"\x08\x63\x10\x02")
    status = admin_service_pb2.GetStatusResponse(
        state=admin_service_pb2.SERVICE_STATE_SERVING,
        interceptors=[
            admin_service_pb2.InterceptorStatus(name="\x1b[2J\u202e", calls=2, failures=[failures]),
            admin_service_pb2.InterceptorStatus(mode=interceptor_pb2.INTERCEPTOR_MODE_SHADOW, healthy=True),
        ],
    )
    with faked("AdminService", GetStatus=status) as address:
        outcome = pdp("status", "--address", address)
    assert all(line.isprintable() for line in outcome.out.splitlines())
    assert outcome.out.splitlines()[-2:] == [
        r"  interceptor `\x1b[2J\u202e`: unhealthy, 2 calls, 2 failed (99 2), mean 0 us",
        "  interceptor `` (shadow): 0 calls",
    ]
