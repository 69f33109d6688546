"""Services that give one answer to everything, whatever a real one would say."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf.message import Message


def _answering(response: Message) -> grpc.RpcMethodHandler[bytes, bytes]:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        return response.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(answer, None, None)


@contextmanager
def faked(service: str, **responses: Message) -> Iterator[str]:
    """The address of a `service` (of `pdp.v1`) whose RPCs give these answers, by their names."""
    methods = {name: _answering(response) for name, response in responses.items()}
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"pdp.v1.{service}", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
