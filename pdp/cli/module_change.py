"""What became of a change to a service's interceptors."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TypeAlias

from pdp._gen.pdp.v1.admin_service_pb2 import DeleteInterceptorResponse, PutInterceptorResponse
from pdp.bundle.layout import printable
from pdp.cli.documents import message_document
from pdp.cli.remote import read_problems
from pdp.cli.terminal import answer, answer_json, painted, problem_line

Change: TypeAlias = PutInterceptorResponse | DeleteInterceptorResponse


def report_change(response: Change, arguments: Namespace, done: str, what: str) -> int:
    """Print what became of it; 1 if the bundle would not load afterwards, so that nothing changed.

    `done` is the word for a success, `what` is the rest of the sentence, printable.
    """
    problems = read_problems(response.problems)
    refused = any(problem.severity == "error" for problem in problems)
    if arguments.json:
        answer_json(message_document(response))
        return int(refused)
    for problem in problems:
        answer(problem_line(problem, sys.stdout))
    if refused:
        answer(f"{painted('refused', 'red')}: {what}: the bundle would not load, and nothing changed")
    elif response.changed:
        answer(f"{painted(done, 'green')}: {what}")
    else:
        answer(f"{painted('unchanged', 'yellow')}: {what}")
    answer(painted(f"  revision {printable(response.revision)}", "dim"))
    return int(refused)
