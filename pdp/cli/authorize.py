"""`pdp authorize`: one question, to a running service or to a bundle in this process."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from pdp import wire
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.cli.answers import decision_line, is_allow, origin_line, policy_lines, shadow_lines, show
from pdp.cli.decisions import answered, subject_of, tool_call, uid_message
from pdp.cli.documents import read_documents
from pdp.cli.failure import CommandError
from pdp.servicers.ids import decision_ids
from pdp.shadow import authorization_in_shadow


def run(arguments: Namespace) -> int:
    """Ask and print the answer; 0 if it is an allow, 1 if it is a deny. Raises CommandError where there is none."""
    request = _request(arguments)
    response = answered(request, arguments, lambda stub: stub.Authorize, partial(_by_bundle, request))
    show(response, _lines(response), arguments)
    return 0 if is_allow(response) else 1


def _request(arguments: Namespace) -> pb.AuthorizeRequest:
    _require_consistent(arguments)
    documents = read_documents(arguments, ("arguments", "context", "entities"))
    request = pb.AuthorizeRequest(
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


def _by_bundle(request: pb.AuthorizeRequest, snapshot: Snapshot) -> pb.AuthorizeResponse:
    """What a service with this bundle would answer."""
    decision = snapshot.authorizer.authorize(wire.read_authorize(request))
    if snapshot.in_shadow:
        decision = authorization_in_shadow(decision)
    response = pb.AuthorizeResponse()
    wire.write_authorization(decision, decision_ids()(), snapshot.revision, response)
    return response


def _lines(response: pb.AuthorizeResponse) -> Iterator[str]:
    yield decision_line(response)
    yield from policy_lines(response)
    yield from shadow_lines(response)
    yield origin_line(response)
