"""`python -m bench.echo ORDER`: a gRPC server that does nothing but the wire.

ORDER is JSON: a `method` of DecisionService, and `response`, a file. The server reads the method's request message and
writes the response message that it finds in the file, with the threads and options of the service: what remains is what
gRPC and protobuf cost in this language. It stops when stdin ends.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pdp._gen.pdp.v1 import decision_service_pb2
from pdp.config import ServerConfig


def main() -> None:
    """Serve until stdin ends."""
    order = json.loads(sys.argv[1])
    method = decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"].methods_by_name[order["method"]]
    request_class = GetMessageClass(method.input_type)
    response = GetMessageClass(method.output_type).FromString(Path(order["response"]).read_bytes())

    def echo(request: Message, context: grpc.ServicerContext) -> Message:
        return response

    handler = grpc.unary_unary_rpc_method_handler(echo, request_class.FromString, type(response).SerializeToString)
    server = grpc.server(ThreadPoolExecutor(ServerConfig().threads), options=[("grpc.so_reuseport", 0)])
    server.add_registered_method_handlers("pdp.v1.DecisionService", {method.name: handler})
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    sys.stdout.write(json.dumps({"address": address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    main()
