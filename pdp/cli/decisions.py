"""What all questions for a decision have in common: who asks, what is asked, and how the answer reads."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TypeAlias

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1.decision_service_pb2 import AuthorizeResponse, InterceptResponse
from pdp.bundle.interceptor_modules import GuestLog
from pdp.bundle.layout import printable
from pdp.bundle.snapshot import Snapshot
from pdp.cedar.model import EntityUid
from pdp.cli.bundles import load_bundle, read_config
from pdp.cli.failure import CommandError
from pdp.cli.remote import enum_name, refusal
from pdp.cli.terminal import painted, problem_line, tell
from pdp.errors import BundleError, PdpError
from pdp.status import status_of

Answer: TypeAlias = AuthorizeResponse | InterceptResponse


def subject_of(arguments: Namespace) -> decision_pb2.Subject:
    """Who asks."""
    return decision_pb2.Subject(entity=uid_message(arguments.subject))


def uid_message(uid: EntityUid) -> decision_pb2.EntityUid:
    """An entity for the wire."""
    return decision_pb2.EntityUid(type=uid.type, id=uid.id)


def tool_call(arguments: Namespace, arguments_json: bytes) -> decision_pb2.ToolCall:
    """The tool call that is asked about."""
    server, tool = arguments.tool
    return decision_pb2.ToolCall(
        server=server, tool=tool, arguments_json=arguments_json, session_id=arguments.session_id or ""
    )


def asked_bundle(arguments: Namespace, guest_log: GuestLog = lambda name, level, text: None) -> Snapshot:
    """The bundle that is to answer in place of a service. Raises CommandError: one that does not load says nothing."""
    try:
        return load_bundle(arguments.bundle, read_config(arguments), guest_log)
    except BundleError as error:
        for problem in error.problems:
            tell(problem_line(problem, sys.stderr))
        raise CommandError(f"`{arguments.bundle}` does not load, so there is no decision") from error


def bundle_refusal(error: PdpError, arguments: Namespace) -> CommandError:
    """The failure that a service with this bundle would report for what is wrong with a question."""
    status = status_of(error)
    assert status is not None, "what is wrong with a question has a status"
    return refusal(status, f"the bundle `{arguments.bundle}`")


def is_allow(response: Answer) -> bool:
    """Whether the answer is an allow; whatever else it is, an unknown value too, is a deny."""
    return response.decision == decision_pb2.DECISION_ALLOW


def decision_line(response: Answer) -> str:
    """The decision, and why it is a denial."""
    if is_allow(response):
        return painted("ALLOW", "green")
    code = enum_name(decision_pb2.DenialCode, response.denial.code, "DENIAL_CODE_")
    return f"{painted('DENY', 'red')} {code}: {printable(response.denial.message)}"


def origin_line(response: Answer) -> str:
    """Where to find the decision again, and what gave it."""
    return painted(f"  decision {printable(response.decision_id)}, revision {printable(response.revision)}", "dim")
