"""`pdp module remove`: an interceptor out of the bundle of a running service."""

from __future__ import annotations

from argparse import Namespace

from pdp._gen.pdp.v1 import admin_service_pb2_grpc
from pdp._gen.pdp.v1.admin_service_pb2 import DeleteInterceptorRequest
from pdp.bundle.layout import printable
from pdp.cli.module_change import report_change
from pdp.cli.remote import ask, connected


def run(arguments: Namespace) -> int:
    """Remove and tell the new revision; 1 if there is none of that name, or the bundle would not load without it.

    Raises CommandError for everything else that came in between.
    """
    request = DeleteInterceptorRequest(name=arguments.name)
    with connected(arguments) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        response = ask(stub.DeleteInterceptor, request, arguments, ("NOT_FOUND",))
    return report_change(response, arguments, "removed", f"`{printable(arguments.name)}`")
