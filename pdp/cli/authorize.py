"""`pdp authorize`: one question, to a running service or to a bundle in this process."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format

from pdp import wire
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc
from pdp.bundle.layout import printable
from pdp.cedar.model import EntityUid
from pdp.cli.bundles import load_bundle, read_config
from pdp.cli.failure import CommandError
from pdp.cli.remote import ask, connected, enum_name, refusal
from pdp.cli.terminal import answer, answer_json, painted, problem_line, tell
from pdp.errors import BundleError, InvalidRequestError
from pdp.servicers.ids import decision_ids
from pdp.status import status_of

_DOCUMENTS = ("arguments", "context", "entities")


def run(arguments: Namespace) -> int:
    """Ask and print the answer; 0 if it is an allow, 1 if it is a deny. Raises CommandError where there is none."""
    request = _request(arguments)
    if arguments.bundle is not None:
        response = _ask_bundle(request, arguments)
    else:
        with connected(arguments) as channel:
            stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
            response = ask(stub.Authorize, request, arguments)
    if arguments.json:
        answer_json(response_form(response))
    else:
        for line in _lines(response):
            answer(line)
    # Whatever is not an allow, an unknown value too, is a deny.
    return 0 if response.decision == decision_pb2.DECISION_ALLOW else 1


def response_form(response: decision_service_pb2.AuthorizeResponse) -> dict[str, object]:
    """The response in proto JSON under the names of the protos; lists are there even if they are empty."""
    return json_format.MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _request(arguments: Namespace) -> decision_service_pb2.AuthorizeRequest:
    _require_consistent(arguments)
    documents = {name: _document(getattr(arguments, name)) for name in _DOCUMENTS}
    request = decision_service_pb2.AuthorizeRequest(
        subject=decision_pb2.Subject(entity=_uid(arguments.subject)),
        context_json=documents["context"],
        entities_json=documents["entities"],
        request_id=arguments.request_id or "",
    )
    if arguments.tool is not None:
        server, tool = arguments.tool
        request.tool_call.CopyFrom(
            decision_pb2.ToolCall(
                server=server,
                tool=tool,
                arguments_json=documents["arguments"],
                session_id=arguments.session_id or "",
            )
        )
    else:
        request.action_on_resource.CopyFrom(
            decision_pb2.ActionOnResource(action=_uid(arguments.action), resource=_uid(arguments.resource))
        )
    return request


def _require_consistent(arguments: Namespace) -> None:
    if arguments.tool is not None and arguments.resource is not None:
        raise CommandError("`--resource` belongs to `--action`; the resource of a tool call is its server")
    if arguments.action is not None:
        if arguments.resource is None:
            raise CommandError("`--action` needs `--resource`")
        for name in ("arguments", "session_id"):
            if getattr(arguments, name) is not None:
                raise CommandError(f"`--{name.replace('_', '-')}` belongs to `--tool`")
    if sum(getattr(arguments, name) == "-" for name in _DOCUMENTS) > 1:
        raise CommandError("standard input can be read only once: give `-` to one option")


def _uid(uid: EntityUid) -> decision_pb2.EntityUid:
    return decision_pb2.EntityUid(type=uid.type, id=uid.id)


def _document(given: str | None) -> bytes:
    """The bytes of a document as given: the text itself, `@file`, or `-` for standard input. Not looked into."""
    if given is None:
        return b""
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandError(f"`{given[1:]}` cannot be read: {cause.lower()}") from error


def _ask_bundle(
    request: decision_service_pb2.AuthorizeRequest, arguments: Namespace
) -> decision_service_pb2.AuthorizeResponse:
    """What a service with this bundle would answer."""
    try:
        snapshot = load_bundle(arguments.bundle, read_config(arguments))
    except BundleError as error:
        for problem in error.problems:
            tell(problem_line(problem, sys.stderr))
        raise CommandError(f"`{arguments.bundle}` does not load, so there is no decision") from error
    try:
        decision = snapshot.authorizer.authorize(wire.read_authorize(request))
    except InvalidRequestError as error:
        status = status_of(error)
        assert status is not None, "an invalid request has a status"
        raise refusal(status, f"the bundle `{arguments.bundle}`") from error
    response = decision_service_pb2.AuthorizeResponse()
    wire.write_authorization(decision, decision_ids()(), snapshot.revision, response)
    return response


def _lines(response: decision_service_pb2.AuthorizeResponse) -> Iterator[str]:
    if response.decision == decision_pb2.DECISION_ALLOW:
        yield painted("ALLOW", "green")
    else:
        code = enum_name(decision_pb2.DenialCode, response.denial.code, "DENIAL_CODE_")
        yield f"{painted('DENY', 'red')} {code}: {printable(response.denial.message)}"
    for policy in response.determining_policies:
        effect = enum_name(decision_pb2.Effect, policy.effect, "EFFECT_").lower()
        yield f"  {effect} `{printable(policy.policy_id)}`"
        for name, value in sorted(policy.annotations.items()):
            if name != "id":
                yield f"    @{printable(name)}: {printable(value)}"
    for error in response.policy_errors:
        yield f"  {painted('failed', 'yellow')} `{printable(error.policy_id)}`: {printable(error.message)}"
    if response.HasField("shadow"):
        yield from _shadow_lines(response.shadow)
    yield painted(f"  decision {printable(response.decision_id)}, revision {printable(response.revision)}", "dim")


def _shadow_lines(shadow: decision_pb2.ShadowReport) -> Iterator[str]:
    would_be = enum_name(decision_pb2.Decision, shadow.would_be_decision, "DECISION_")
    yield f"  with the shadow policies: {painted(would_be, 'yellow')}"
    for policy_id in shadow.matched_policies:
        effect = ", which changes the decision" if policy_id in shadow.flipping_policies else ""
        yield f"    `{printable(policy_id)}` matches{effect}"
