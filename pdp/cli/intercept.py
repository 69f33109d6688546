"""`pdp intercept`: one payload through the interceptors of a running service, or of a bundle in this process."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from pdp import wire
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.snapshot import Snapshot
from pdp.cli.answers import decision_line, is_allow, origin_line, outcome_lines, payload_part, show
from pdp.cli.decisions import answered, deadline_ns, subject_of, tool_call
from pdp.cli.documents import read_documents
from pdp.cli.failure import CommandError
from pdp.sandbox.chain import intercept
from pdp.sandbox.model import Phase
from pdp.servicers.ids import decision_ids
from pdp.shadow import interception_in_shadow


def run(arguments: Namespace) -> int:
    """Ask and print the answer; 0 if it is an allow, 1 if it is a deny. Raises CommandError where there is none."""
    request = _request(arguments)
    response = answered(request, arguments, lambda stub: stub.Intercept, partial(_by_bundle, request, arguments))
    show(response, _lines(response), arguments)
    return 0 if is_allow(response) else 1


def _request(arguments: Namespace) -> pb.InterceptRequest:
    phase: Phase = arguments.phase or ("request" if arguments.result is None else "response")
    if phase == "response" and arguments.result is None:
        raise CommandError("`--phase response` needs `--result`")
    if phase == "request" and (arguments.result is not None or arguments.result_is_error):
        raise CommandError("`--result` and `--result-is-error` belong to `--phase response`")
    documents = read_documents(arguments, ("arguments", "result", "context"))
    return pb.InterceptRequest(
        phase=wire.PHASE_NUMBERS[phase],
        subject=subject_of(arguments),
        tool_call=tool_call(arguments, documents["arguments"]),
        result_json=documents["result"],
        result_is_error=arguments.result_is_error,
        context_json=documents["context"],
        request_id=arguments.request_id or "",
        decision_id=arguments.decision_id or "",
    )


def _by_bundle(request: pb.InterceptRequest, arguments: Namespace, snapshot: Snapshot) -> pb.InterceptResponse:
    """What a service with this bundle would answer."""
    query = wire.read_intercept(request)
    result = intercept(snapshot.chain, query, deadline_ns(arguments))
    if snapshot.in_shadow:
        result = interception_in_shadow(result, request.result_json or request.tool_call.arguments_json)
    return wire.write_interception(result, query.phase, decision_ids()(), snapshot.revision)


def _lines(response: pb.InterceptResponse) -> Iterator[str]:
    yield decision_line(response)
    yield from outcome_lines(response)
    if is_allow(response):
        yield from payload_part(response, response.WhichOneof("payload"))
    yield origin_line(response)
