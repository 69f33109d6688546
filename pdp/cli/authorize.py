"""`pdp authorize`: one question, to a running service or to a bundle in this process."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from pdp import wire
from pdp._gen.pdp.v1 import decision_pb2, decision_service_pb2, decision_service_pb2_grpc
from pdp.bundle.layout import printable
from pdp.cli.decisions import (
    asked_bundle,
    bundle_refusal,
    decision_line,
    is_allow,
    origin_line,
    subject_of,
    tool_call,
    uid_message,
)
from pdp.cli.documents import message_document, read_documents
from pdp.cli.failure import CommandError
from pdp.cli.remote import ask, connected, enum_name
from pdp.cli.terminal import answer, answer_json, painted
from pdp.errors import InvalidRequestError
from pdp.servicers.ids import decision_ids
from pdp.shadow import authorization_in_shadow


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
        answer_json(message_document(response))
    else:
        for line in _lines(response):
            answer(line)
    return 0 if is_allow(response) else 1


def _request(arguments: Namespace) -> decision_service_pb2.AuthorizeRequest:
    _require_consistent(arguments)
    documents = read_documents(arguments, ("arguments", "context", "entities"))
    request = decision_service_pb2.AuthorizeRequest(
        subject=subject_of(arguments),
        context_json=documents["context"],
        entities_json=documents["entities"],
        request_id=arguments.request_id or "",
    )
    if arguments.tool is not None:
        request.tool_call.CopyFrom(tool_call(arguments, documents["arguments"]))
    else:
        request.action_on_resource.CopyFrom(
            decision_pb2.ActionOnResource(
                action=uid_message(arguments.action), resource=uid_message(arguments.resource)
            )
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


def _ask_bundle(
    request: decision_service_pb2.AuthorizeRequest, arguments: Namespace
) -> decision_service_pb2.AuthorizeResponse:
    """What a service with this bundle would answer."""
    snapshot = asked_bundle(arguments)
    try:
        decision = snapshot.authorizer.authorize(wire.read_authorize(request))
        if snapshot.in_shadow:
            decision = authorization_in_shadow(decision)
    except InvalidRequestError as error:
        raise bundle_refusal(error, arguments) from error
    response = decision_service_pb2.AuthorizeResponse()
    wire.write_authorization(decision, decision_ids()(), snapshot.revision, response)
    return response


def _lines(response: decision_service_pb2.AuthorizeResponse) -> Iterator[str]:
    yield decision_line(response)
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
    yield origin_line(response)


def _shadow_lines(shadow: decision_pb2.ShadowReport) -> Iterator[str]:
    would_be = enum_name(decision_pb2.Decision, shadow.would_be_decision, "DECISION_")
    yield f"  with the shadow policies: {painted(would_be, 'yellow')}"
    for policy_id in shadow.matched_policies:
        effect = ", which changes the decision" if policy_id in shadow.flipping_policies else ""
        yield f"    `{printable(policy_id)}` matches{effect}"
