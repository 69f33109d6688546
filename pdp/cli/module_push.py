"""`pdp module push`: an interceptor into the bundle of a running service."""

from __future__ import annotations

import hashlib
from argparse import Namespace

from pdp._gen.pdp.v1 import admin_service_pb2_grpc
from pdp._gen.pdp.v1.interceptor_pb2 import InterceptorBinding, InterceptorMode, OnError
from pdp.bundle.layout import printable
from pdp.cli.documents import read_module
from pdp.cli.module_binding import binding_message, module_name, put_parts
from pdp.cli.module_change import report_change
from pdp.cli.remote import ask, connected

#: How the reasons of refused modules begin.
_REFUSED = "MODULE_REFUSED_"


def run(arguments: Namespace) -> int:
    """Push and tell the new revision; 1 if the module is refused, or the bundle would not load with it.

    Raises CommandError for everything else that came in between.
    """
    module = read_module(arguments.file)
    name = module_name(arguments.file) if arguments.name is None else arguments.name
    binding = binding_message(arguments, name, arguments.tools, arguments.phases)
    binding.MergeFrom(_push_options(arguments))
    # What arrives must be what was read here.
    binding.sha256 = hashlib.sha256(module).hexdigest()
    with connected(arguments) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        response = ask(stub.PutInterceptor, put_parts(binding, module), arguments, (_REFUSED,))
    return report_change(response, arguments, "pushed", f"`{printable(name)}`, sha256 {printable(response.sha256)}")


def _push_options(arguments: Namespace) -> InterceptorBinding:
    """What only a pushed binding has."""
    options = InterceptorBinding(order=arguments.order, prewarm=arguments.prewarm)
    if arguments.mode is not None:
        options.mode = InterceptorMode.Value(f"INTERCEPTOR_MODE_{arguments.mode.upper()}")
    if arguments.on_error is not None:
        options.on_error = OnError.Value(f"ON_ERROR_{arguments.on_error.upper()}")
    return options
