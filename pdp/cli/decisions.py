"""What all questions have in common: who asks, what is asked, and who answers."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.message import Message

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1.decision_service_pb2_grpc import DecisionServiceStub
from pdp.bundle.snapshot import Snapshot
from pdp.cedar.model import EntityUid
from pdp.cli.bundles import load_bundle, read_config
from pdp.cli.documents import read_file
from pdp.cli.failure import CommandError
from pdp.cli.remote import ask, connected, refusal
from pdp.cli.terminal import problem_line, tell, tell_guest
from pdp.errors import BundleError, DeadlineExceededError, InvalidRequestError, PdpError
from pdp.status import status_of

_Answer = TypeVar("_Answer", bound=Message)


def subject_of(arguments: Namespace) -> decision_pb2.Subject:
    """Who asks. Raises CommandError where that is not clear."""
    acting_for = arguments.on_behalf_of
    if arguments.token_file is None:
        on_behalf_of = uid_message(acting_for) if acting_for is not None else None
        return decision_pb2.Subject(entity=uid_message(arguments.subject), on_behalf_of=on_behalf_of)
    if acting_for is not None:
        raise CommandError("`--on-behalf-of` belongs to `--subject`; a token names itself whom it acts for")
    if arguments.bundle is not None:
        raise CommandError("tokens are verified by a service; with `--bundle`, name the `--subject`")
    return decision_pb2.Subject(token=read_file(arguments.token_file).decode("utf-8", "replace").strip())


def uid_message(uid: EntityUid) -> decision_pb2.EntityUid:
    """An entity for the wire."""
    return decision_pb2.EntityUid(type=uid.type, id=uid.id)


def tool_call(arguments: Namespace, arguments_json: bytes) -> decision_pb2.ToolCall:
    """The tool call that is asked about."""
    server, tool = arguments.tool
    return decision_pb2.ToolCall(
        server=server, tool=tool, arguments_json=arguments_json, session_id=arguments.session_id or ""
    )


def answered(
    request: Message,
    arguments: Namespace,
    rpc: Callable[[DecisionServiceStub], Callable[..., _Answer]],
    by_bundle: Callable[[Snapshot], _Answer],
) -> _Answer:
    """The answer to `request`: of the bundle that the command line names, or else of a service to its `rpc`.

    Raises CommandError where there is none.
    """
    if arguments.bundle is not None:
        with _answering_bundle(arguments) as snapshot:
            return by_bundle(snapshot)
    with connected(arguments) as channel:
        return ask(rpc(DecisionServiceStub(channel)), request, arguments)


def deadline_ns(arguments: Namespace) -> int:
    """Until when the answer of a bundle is waited for, as a time of `time.monotonic_ns`."""
    return time.monotonic_ns() + int(arguments.timeout * 1e9)


@contextmanager
def _answering_bundle(arguments: Namespace) -> Iterator[Snapshot]:
    """The bundle that is to answer in place of a service. What its modules log meanwhile is told afterwards.

    Raises CommandError: a bundle that does not load says nothing, and neither does one that is asked a malformed
    question.
    """
    logged: list[tuple[str, int, str]] = []
    try:
        snapshot = load_bundle(
            arguments.bundle, read_config(arguments), lambda name, level, text: logged.append((name, level, text))
        )
    except BundleError as error:
        for problem in error.problems:
            tell(problem_line(problem, sys.stderr))
        raise CommandError(f"`{arguments.bundle}` does not load, so there is no decision") from error
    logged.clear()  # by trial calls, while it was loaded
    try:
        yield snapshot
    except (InvalidRequestError, DeadlineExceededError) as error:
        raise _bundle_refusal(error, arguments) from error
    finally:
        for entry in logged:
            tell_guest(*entry)


def _bundle_refusal(error: PdpError, arguments: Namespace) -> CommandError:
    """The failure that a service with this bundle would report for what is wrong with a question."""
    status = status_of(error)
    assert status is not None, "what is wrong with a question has a status"
    return refusal(status, f"the bundle `{arguments.bundle}`")
