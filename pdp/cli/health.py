"""`pdp health`: whether a service answers calls, for what starts and stops services."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from pdp.cli.remote import ask, connected, enum_name
from pdp.cli.terminal import answer, answer_json

_SERVING = health_pb2.HealthCheckResponse.SERVING


def run(arguments: Namespace) -> int:
    """Ask and print; 0 if the service answers calls, 1 if it does not. Raises CommandError without an answer."""
    with connected(arguments) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types do not have its methods
        status = ask(stub.Check, health_pb2.HealthCheckRequest(service=arguments.service), arguments).status
    name = enum_name(health_pb2.HealthCheckResponse.ServingStatus, status, "")
    if arguments.json:
        answer_json({"status": name})
    else:
        answer(name.lower().replace("_", " "))
    return 0 if status == _SERVING else 1
