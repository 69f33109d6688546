"""`pdp intercept`: one payload through the interceptors of a running service, or of a bundle in this process."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from collections.abc import Iterator

from pdp import wire
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp._gen.pdp.v1 import decision_service_pb2_grpc, interceptor_pb2
from pdp.bundle.layout import printable
from pdp.cli.decisions import asked_bundle, bundle_refusal, decision_line, is_allow, origin_line, subject_of, tool_call
from pdp.cli.documents import message_document, read_documents
from pdp.cli.failure import CommandError
from pdp.cli.remote import ask, connected, enum_name
from pdp.cli.terminal import answer, answer_json, duration_text, painted, tell_guest
from pdp.errors import DeadlineExceededError, InvalidRequestError
from pdp.sandbox.chain import intercept
from pdp.sandbox.model import Phase
from pdp.servicers.ids import decision_ids
from pdp.shadow import interception_in_shadow

_COLORS = {
    interceptor_pb2.VERDICT_PASS: "green",
    interceptor_pb2.VERDICT_TRANSFORM: "yellow",
    interceptor_pb2.VERDICT_DENY: "red",
    interceptor_pb2.VERDICT_FAILED: "red",
}

#: A payload beyond this is shown without its end; `--json` has all of it.
_SHOWN_CHARACTERS = 2_000
#: A payload of more lines than this is shown as it is.
_SHOWN_LINES = 40

#: What JSON text is made of; any other character stands for itself.
_PARTS = re.compile(r'"(?:[^"\\]|\\.)*+"|\{\s*\}|\[\s*\]|[][{}:,]|[^][{}:,\s"]++|\S', re.DOTALL)


def run(arguments: Namespace) -> int:
    """Ask and print the answer; 0 if it is an allow, 1 if it is a deny. Raises CommandError where there is none."""
    request = _request(arguments)
    if arguments.bundle is not None:
        response = _ask_bundle(request, arguments)
    else:
        with connected(arguments) as channel:
            stub = decision_service_pb2_grpc.DecisionServiceStub(channel)
            response = ask(stub.Intercept, request, arguments)
    if arguments.json:
        answer_json(message_document(response))
    else:
        for line in _lines(response):
            answer(line)
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


def _ask_bundle(request: pb.InterceptRequest, arguments: Namespace) -> pb.InterceptResponse:
    """What a service with this bundle would answer; what the modules log is told."""
    logged: list[tuple[str, int, str]] = []
    snapshot = asked_bundle(arguments, lambda name, level, text: logged.append((name, level, text)))
    logged.clear()  # by trial calls, while it was loaded
    try:
        query = wire.read_intercept(request)
        result = intercept(snapshot.chain, query, time.monotonic_ns() + int(arguments.timeout * 1e9))
        if snapshot.in_shadow:
            result = interception_in_shadow(result, request.result_json or request.tool_call.arguments_json)
    except (InvalidRequestError, DeadlineExceededError) as error:
        raise bundle_refusal(error, arguments) from error
    finally:
        for entry in logged:
            tell_guest(*entry)
    return wire.write_interception(result, query.phase, decision_ids()(), snapshot.revision)


def _lines(response: pb.InterceptResponse) -> Iterator[str]:
    yield decision_line(response)
    for outcome in response.interceptors:
        yield f"  {_outcome_text(outcome)}"
    if is_allow(response):
        yield f"  mutated: {painted('yes', 'yellow') if response.mutated else 'no'}"
        payload = response.WhichOneof("payload")
        if payload is not None:
            yield f"  {payload.removesuffix('_json')}:"
            for line in _payload_lines(getattr(response, payload)):
                yield f"    {printable(line)}"
    yield origin_line(response)


def _outcome_text(outcome: interceptor_pb2.InterceptorOutcome) -> str:
    verdict = enum_name(interceptor_pb2.Verdict, outcome.verdict, "VERDICT_").lower()
    shadow = outcome.mode == interceptor_pb2.INTERCEPTOR_MODE_SHADOW
    mark = ", shadow: changes nothing" if shadow else ""
    text = f"{painted(verdict, _COLORS.get(outcome.verdict, 'red'))} `{printable(outcome.name)}`"
    text += painted(f" ({duration_text(outcome.duration.ToNanoseconds())}{mark})", "dim")
    if outcome.annotations_json:
        text += f" states {printable(outcome.annotations_json.decode('utf-8', 'backslashreplace'))}"
    causes = [printable(outcome.reason)] if outcome.reason else []
    if outcome.error_class:
        causes.insert(0, enum_name(interceptor_pb2.ErrorClass, outcome.error_class, "ERROR_CLASS_").lower())
    return ": ".join([text, *causes])


def _payload_lines(payload: bytes) -> list[str]:
    text = payload.decode("utf-8", "backslashreplace")
    if len(text) > _SHOWN_CHARACTERS:
        return [f"{text[:_SHOWN_CHARACTERS]}… ({len(payload)} bytes; `--json` shows them all)"]
    lines = _indented(text)
    return lines if len(lines) <= _SHOWN_LINES else [text]


def _indented(text: str) -> list[str]:
    """JSON text with a line for each member and item, and every name and value as it was written.

    To read it and write it anew would change numbers. Text that is no JSON gives lines too.
    """
    lines, depth = [""], 0
    for match in _PARTS.finditer(text):
        part = match.group()
        if part in ("}", "]"):
            depth = max(depth - 1, 0)
            lines.append("  " * depth)
        lines[-1] += part
        if part in ("{", "["):
            depth += 1
        if part in ("{", "[", ","):
            lines.append("  " * depth)
        elif part == ":":
            lines[-1] += " "
    return lines
