"""`python -m bench.echo RESPONSE`: a gRPC server that does nothing but the wire.

It reads an AuthorizeRequest and writes the AuthorizeResponse that it finds in the file RESPONSE, with the threads and
options of the service: what remains is what gRPC and protobuf cost in this language. It stops when stdin ends.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from pdp._gen.pdp.v1 import decision_service_pb2
from pdp.config import ServerConfig


def main() -> None:
    """Serve until stdin ends."""
    response = decision_service_pb2.AuthorizeResponse.FromString(Path(sys.argv[1]).read_bytes())

    def echo(
        request: decision_service_pb2.AuthorizeRequest, context: grpc.ServicerContext
    ) -> decision_service_pb2.AuthorizeResponse:
        return response

    handler = grpc.unary_unary_rpc_method_handler(
        echo,
        decision_service_pb2.AuthorizeRequest.FromString,
        decision_service_pb2.AuthorizeResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(ServerConfig().threads), options=[("grpc.so_reuseport", 0)])
    server.add_registered_method_handlers("pdp.v1.DecisionService", {"Authorize": handler})
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    sys.stdout.write(json.dumps({"address": address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    main()
