"""`pdp decide`: both layers on one tool call, by a running service or by a bundle in this process."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from pdp import wire
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.cli.answers import (
    decision_line,
    is_allow,
    origin_line,
    outcome_lines,
    payload_part,
    policy_lines,
    shadow_lines,
    show,
)
from pdp.cli.decisions import answered, deadline_ns, subject_of, tool_call
from pdp.cli.documents import read_documents
from pdp.decide import decide
from pdp.servicers.ids import decision_ids
from pdp.shadow import decision_in_shadow


def run(arguments: Namespace) -> int:
    """Ask and print the answer; 0 if it is an allow, 1 if it is a deny. Raises CommandError where there is none."""
    request = _request(arguments)
    response = answered(request, arguments, lambda stub: stub.Decide, partial(_by_bundle, request, arguments))
    show(response, _lines(response), arguments)
    return 0 if is_allow(response) else 1


def _request(arguments: Namespace) -> pb.DecideRequest:
    documents = read_documents(arguments, ("arguments", "context", "entities"))
    return pb.DecideRequest(
        subject=subject_of(arguments),
        tool_call=tool_call(arguments, documents["arguments"]),
        context_json=documents["context"],
        entities_json=documents["entities"],
        request_id=arguments.request_id or "",
    )


def _by_bundle(request: pb.DecideRequest, arguments: Namespace, snapshot: Snapshot) -> pb.DecideResponse:
    """What a service with this bundle would answer."""
    query = wire.read_decide(request)
    decided = decide(snapshot.authorizer, snapshot.chain, query, deadline_ns(arguments))
    if snapshot.in_shadow:
        decided = decision_in_shadow(decided, query.arguments)
    return wire.write_decision(decided, decision_ids()(), snapshot.revision)


def _lines(response: pb.DecideResponse) -> Iterator[str]:
    yield decision_line(response)
    yield from policy_lines(response)
    yield from outcome_lines(response)
    yield from shadow_lines(response)
    if is_allow(response):
        yield from payload_part(response, "arguments_json")
    yield origin_line(response)
